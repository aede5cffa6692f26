"""Git servers that do harm: each answers a client as its script says, on a socket of 127.0.0.1."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, Self

Script = Callable[["Client"], None]

ADVERTISED = b"version 2\n", b"agent=hostile\n", b"ls-refs\n", b"fetch=shallow\n", b"object-format=sha1\n"
TIP = "1" * 40
REFS = f"{TIP} HEAD\n".encode(), f"{TIP} refs/heads/main\n".encode()


def line(data: bytes) -> bytes:
    """A packet of git's protocol."""
    return b"%04x" % (len(data) + 4) + data


def lines(*data: bytes) -> bytes:
    """Packets with a flush packet behind them."""
    return b"".join(map(line, data)) + b"0000"


def head(kind: int, size: int) -> bytes:
    """The head of an object in a pack."""
    data = [kind << 4 | size & 15]
    size >>= 4
    while size:
        data[-1] |= 0x80
        data.append(size & 0x7F)
        size >>= 7
    return bytes(data)


def number(value: int) -> bytes:
    """A size in a delta."""
    data = bytearray()
    while value >> 7:
        data.append(0x80 | value & 0x7F)
        value >>= 7
    return bytes([*data, value])


def object_id(kind: bytes, data: bytes) -> bytes:
    return hashlib.sha1(b"%s %d\0%s" % (kind, len(data), data), usedforsecurity=False).digest()


def ref_delta(base: bytes, delta: bytes) -> bytes:
    """A delta of the object with this id, as it stands in a pack."""
    return head(7, len(delta)) + base + zlib.compress(delta, 9)


def whole(kind: int, data: bytes) -> bytes:
    return head(kind, len(data)) + zlib.compress(data, 9)


def pack_of(*objects: bytes) -> bytes:
    data = struct.pack(">4s2I", b"PACK", 2, len(objects)) + b"".join(objects)
    return data + hashlib.sha1(data, usedforsecurity=False).digest()


class Client:
    """A connection to a server, which speaks git's own protocol."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def greet(self) -> None:
        """Reads the request, and says what this server can do."""
        self.request()
        self.send(lines(*ADVERTISED))

    def request(self) -> list[bytes]:
        """The packets up to a flush packet, or one packet of the greeting."""
        found = []
        while (size := int(self._file.read(4) or b"0000", 16)) != 0:
            if size > 4:
                found.append(self._file.read(size - 4))
            if found[-1:] and found[0].startswith(b"git-upload-pack"):
                break
        return found

    def send(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()

    def send_refs(self, refs: Iterable[bytes] = REFS) -> None:
        self.request()
        for ref in refs:
            self.send(line(ref))
        self.send(b"0000")

    def begin_pack(self) -> None:
        self.request()
        self.send(line(b"shallow-info\n") + line(f"shallow {TIP}\n".encode()) + b"0001" + line(b"packfile\n"))

    def send_pack(self, pieces: Iterable[bytes]) -> None:
        """Answers a fetch."""
        self.begin_pack()
        for piece in pieces:
            for at in range(0, len(piece), 60_000):
                self.send(line(b"\x01" + piece[at : at + 60_000]))
        self.send(b"0000")

    def serve(self, pieces: Iterable[bytes]) -> None:
        """The whole conversation."""
        self.greet()
        self.send_refs()
        self.send_pack(pieces)


class HostileServer:
    """Answers each connection by a script, in a thread."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self.url = f"git://127.0.0.1:{self.port}/web"
        self.gone = threading.Semaphore(0)
        """Released each time that a client has closed its connection in the middle of an answer."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rwb") as file:
                self._script(Client(file))
        except OSError:
            self.gone.release()


def forever(data: bytes) -> Iterator[bytes]:
    while True:
        yield data
