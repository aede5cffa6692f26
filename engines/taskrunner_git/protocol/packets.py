"""Error packets of a server."""

from __future__ import annotations

from collections.abc import Callable

from taskrunner_git.failures import ServerRefused


def raise_error_packets(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """The same reader, but an error packet raises ServerRefused: dulwich ignores one in the place of a pack."""

    def checked(size: int) -> bytes:
        data = read(size)
        if data.startswith(b"ERR "):
            raise ServerRefused(data[4:].decode("utf-8", "replace"))
        return data

    return checked
