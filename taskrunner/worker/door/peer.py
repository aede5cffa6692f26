"""Who is at the other end of a socket of this machine."""

from __future__ import annotations

import os
import pwd
import socket
import struct

_CREDENTIALS = struct.Struct("iII")


def peer_name(connection: socket.socket) -> str:
    """The account and the process of a client, by the kernel: `user ada (process 4711)`."""
    if not hasattr(socket, "SO_PEERCRED"):
        return f"user {account_name(os.geteuid())}"  # the socket's file lets nobody else in
    options = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(options)
    return f"user {account_name(uid)} (process {pid})"


def account_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
