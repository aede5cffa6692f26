"""The sockets and programs of one blocking call, so that another thread can end it at any moment.

A thread that waits for a socket or a program cannot be interrupted from outside. The socket can be shut down and the
program killed: then the read returns at once with an error.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading


class Interrupted(ConnectionAbortedError):
    """The call was given up: its connections are closed."""


class Connections:
    """The sockets and programs of one call. `interrupt` may be called from any thread; all else by the call's own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._programs: list[subprocess.Popen[bytes]] = []
        self._interrupted = False

    @property
    def interrupted(self) -> bool:
        """Whether the call was given up."""
        return self._interrupted

    def check(self) -> None:
        """Called before each step that has a lasting effect. Raises Interrupted once the call was given up."""
        if self._interrupted:
            raise Interrupted("the call was given up")

    def hold(self, connection: socket.socket) -> socket.socket:
        """Registers a connection, open or not, to be ended when the call is interrupted. Returns the connection.

        A duplicate is kept: TLS moves a connection into another object, and shutting down any of them ends it.
        Raises: Interrupted, with the connection closed.
        """
        with self._lock:
            if self._interrupted:
                connection.close()
                raise Interrupted("the call was given up")
            self._sockets.append(connection.dup())
            return connection

    def hold_program(self, program: subprocess.Popen[bytes]) -> None:
        """Registers a program, to be killed when the call is interrupted, and at the latest by `close`."""
        with self._lock:
            self._programs.append(program)
            if self._interrupted:
                program.kill()

    def interrupt(self) -> None:
        """Ends all of them now: a read or write that waits gets an error. A second call does nothing."""
        with self._lock:
            self._interrupted = True
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for program in self._programs:
                program.kill()

    def close(self) -> None:
        """Closes every socket and ends every program of the call. May be called again."""
        with self._lock:
            for connection in self._sockets:
                connection.close()
            for program in self._programs:
                program.kill()
                program.wait()
            self._sockets.clear()
            self._programs.clear()
