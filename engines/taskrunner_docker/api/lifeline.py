"""One handle on all connections of a build, so that any thread can end it at once."""

from __future__ import annotations

import contextlib
import socket
import threading


class Lifeline:
    """Holds the sockets of one build. Cutting it wakes whoever waits on one of them; the owners close them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._cut = False

    @property
    def is_cut(self) -> bool:
        return self._cut

    def hold(self, connection: socket.socket) -> None:
        """Adds a socket, which may not be connected yet. Raises ConnectionAbortedError when the line is cut already."""
        with self._lock:
            if self._cut:
                raise ConnectionAbortedError("the build was given up")
            self._sockets.append(connection)

    def cut(self) -> None:
        """Ends all connections, now and for good. May be called from any thread, and again."""
        with self._lock:
            self._cut = True
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
