"""What one fetch holds open, so that it can be ended from outside at any moment."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading


class Cut(Exception):
    """The fetch was cancelled. Never leaves this package."""


class Wire:
    """The sockets and programs of one fetch. `cut` is called from another thread, all else from the fetching one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._programs: list[subprocess.Popen[bytes]] = []
        self._cut = False

    def check(self) -> None:
        """Raises Cut once the wire is cut. Stands before everything that would leave a trace."""
        if self._cut:
            raise Cut

    def hold(self, connection: socket.socket) -> socket.socket:
        """Ends this connection when the wire is cut. Returns it, or closes it and raises Cut.

        It keeps a duplicate: TLS moves the connection into another object, and shutting down any of them ends it.
        """
        with self._lock:
            if self._cut:
                connection.close()
                raise Cut
            self._sockets.append(connection.dup())
            return connection

    def hold_program(self, program: subprocess.Popen[bytes]) -> None:
        """Ends this program when the wire is cut, and at the latest with `close`."""
        with self._lock:
            self._programs.append(program)
            if self._cut:
                program.kill()

    def cut(self) -> None:
        """Ends everything now. A read or write that waits gets an error. A second call does nothing."""
        with self._lock:
            self._cut = True
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for program in self._programs:
                program.kill()

    def close(self) -> None:
        """The fetch is over: nothing of it stays open or running."""
        with self._lock:
            for connection in self._sockets:
                connection.close()
            for program in self._programs:
                program.kill()
                program.wait()
            self._sockets.clear()
            self._programs.clear()
