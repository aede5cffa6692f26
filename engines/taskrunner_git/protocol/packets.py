"""Reading what a server sends."""

from __future__ import annotations

from collections.abc import Callable

from taskrunner_git.failures import ServerRefused


def attentive(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """The same reader, but an error packet raises ServerRefused. dulwich passes over one that comes where a pack should
    begin."""

    def listen(size: int) -> bytes:
        data = read(size)
        if data.startswith(b"ERR "):
            raise ServerRefused(data[4:].decode("utf-8", "replace"))
        return data

    return listen
