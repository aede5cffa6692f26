"""Asks a registry whether it wants fewer requests, where Docker hides that.

Docker reports the protocol's code in the body of a refusal (`DENIED`), and no status. A registry, or a proxy before it,
that answers 429 with another code would look like one that refuses the image for ever.
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from ipaddress import ip_address

import urllib3

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner_docker.registry.references import DOCKER_HUB, Reference

_TIMEOUT = 5.0
"""Seconds for each of the two steps, connection and answer. Nobody waits for it but a run that has failed."""
_LIMIT = 30.0
_HUB = "registry-1.docker.io"


async def wants_fewer_requests(image: str) -> bool:
    """Whether the image's registry answers 429 at this moment. The request has no credentials: those that limit rates
    count requests before they look at a login. False as well when the registry is out of reach from here."""
    url = _url(Reference.parse(image))
    try:
        return await run_blocking(partial(_is_429, url), limit=_LIMIT, doing=f"asking {url}")
    except OverLimit:
        return False


def _url(name: Reference) -> str:
    host = _HUB if name.registry == DOCKER_HUB else name.registry
    scheme = "http" if _is_local(host) else "https"
    return f"{scheme}://{host}/v2/{name.path}/manifests/{name.digest or name.tag or 'latest'}"


def _is_local(host: str) -> bool:
    """Docker speaks HTTP with registries on its own machine."""
    name = host.rpartition(":")[0] or host
    try:
        return name == "localhost" or ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_429(url: str) -> bool:
    with urllib3.PoolManager(timeout=urllib3.Timeout(connect=_TIMEOUT, read=_TIMEOUT), retries=False) as manager:
        try:
            answer = manager.request("HEAD", url, redirect=False, preload_content=False)
        except (urllib3.exceptions.HTTPError, OSError):
            return False
        answer.close()
        return answer.status == HTTPStatus.TOO_MANY_REQUESTS
