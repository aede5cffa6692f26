"""Further names of hosts for the commands of a build."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address, ip_address

from taskrunner.errors import Complaint

_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}))*")
MAX_HOSTS = 200
"""Their names and addresses are a part of the URL of a request."""


def complaints(hosts: Mapping[str, str], *, ipv6: bool = True) -> Iterator[Complaint]:
    """The mistakes. Docker 20.10 passes on IPv4 only."""
    for name, address in hosts.items():
        where = f"build.extra_hosts[{name!r}]"
        if not _NAME.fullmatch(name):
            yield Complaint(where, "is no name of a host", "write letters, digits, - and . only")
        try:
            is_ipv6 = isinstance(ip_address(address), IPv6Address)
        except ValueError:
            yield Complaint(where, f"{address!r} is no IP address", "write one such as 10.0.0.7, and no name")
            continue
        if is_ipv6 and not ipv6:
            yield Complaint(where, "is an IPv6 address, which this Docker takes in no build", "give an IPv4 address")
    if len(hosts) > MAX_HOSTS:
        yield Complaint("build.extra_hosts", f"has more than {MAX_HOSTS} names", "use a DNS server")
