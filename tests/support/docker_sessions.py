"""The sessions of builds, as BuildKit sees them."""

from __future__ import annotations

import time

import docker

LIMIT = 60.0
"""Seconds for BuildKit to end a session whose connection is closed: 20.10 takes one."""


def wait_for_end(api: docker.APIClient, session_id: str) -> None:
    """Returns when another session can have this id. A request without an upgrade is refused, and while the session is
    open, for that reason."""
    until = time.monotonic() + LIMIT
    while "already exists" in (text := _refusal(api, session_id)):
        if time.monotonic() > until:
            raise TimeoutError(text)


def _refusal(api: docker.APIClient, session_id: str) -> str:
    answer = api._post(api._url("/session"), headers={"X-Docker-Expose-Session-Uuid": session_id})
    return str(answer.text)
