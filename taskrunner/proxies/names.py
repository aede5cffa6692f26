"""The host names of what is attached to one run."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Literal

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.limits import HOST_HINT, HOST_PATTERN


def check_host_name(kind: Literal["proxies", "services"], name: str, used: Container[str]) -> None:
    """Raises MalformedPayload for a text that is no host name, and for one that is `used` in this run."""
    if not re.fullmatch(HOST_PATTERN, name):
        raise MalformedPayload(Complaint(kind, f"{name!r} cannot be a host name", HOST_HINT))
    if name in used:
        fix = "give each service and each proxy of a run a name of its own"
        raise MalformedPayload(Complaint(kind, f"the name {name} is used already", fix))
