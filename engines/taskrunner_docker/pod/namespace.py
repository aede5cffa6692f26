"""Listening inside the network namespace of a container, in this process.

A socket belongs to the namespace of the thread that makes it, for ever, whatever thread uses it. So a thread of its own
enters the namespace, makes the socket, and ends.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from pathlib import Path

_CLONE_NEWNET = 0x40000000


def listen_in_namespace(pid: int, address: str, port: int) -> socket.socket:
    """A TCP listener in the namespace of this process. Blocks for a millisecond. Raises OSError: PermissionError for a
    worker without the right to enter it."""
    result: list[socket.socket | OSError] = []

    def work() -> None:
        try:
            _enter(pid)
            result.append(_listen(address, port))
        except OSError as error:
            result.append(error)

    thread = threading.Thread(target=work, name="namespace", daemon=True)
    thread.start()
    thread.join()
    if isinstance(result[0], OSError):
        raise result[0]
    return result[0]


def _enter(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/proc/{pid}/ns/net").open() as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def _listen(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.bind((address, port))
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener
