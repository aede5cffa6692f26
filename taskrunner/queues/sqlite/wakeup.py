"""Waking processes that wait for a file: a folder of datagram sockets, one for each who waits.

Whoever has changed the file sends a datagram to every socket that wants to hear of it. It is advice: a datagram may be
lost, and one that nobody could have sent is not believed blindly, it only makes its reader look. So every error here is
swallowed: who waits looks again after a while anyway.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import attrs

from taskrunner.queues.ledger.database import Canceled, News, Wish

LONGEST_PATH = 100
"""Bytes of a socket's path that every system takes (Linux: 107, macOS: 103)."""

LONGEST_NAME = len("status-") + 12
LARGEST = 2048
"""Bytes of a datagram that every system takes (the limit is macOS's)."""

LONGEST_MESSAGE = 200
"""Characters of a message in one, so that it fits whatever they are; the rest is cut."""


class Folder:
    """The folder of sockets, under a name that is short enough for a socket's address."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._alias: Path | None = None

    def address(self, name: str) -> str:
        return str(self._short() / name)

    def names(self, wish: Wish) -> Iterator[str]:
        return (name for name in os.listdir(self.path) if name.startswith(wish))  # noqa: PTH208  names are all we need

    def close(self) -> None:
        if self._alias:
            shutil.rmtree(self._alias.parent, ignore_errors=True)

    def _short(self) -> Path:
        if len(os.fsencode(self.path)) + 1 + LONGEST_NAME <= LONGEST_PATH:
            return self.path
        if self._alias is None:  # the limit is on the text of an address; what a symbolic link leads to may be longer
            self._alias = Path(tempfile.mkdtemp(prefix="tr-")) / "w"
            self._alias.symlink_to(self.path.absolute())
        return self._alias


class Ringer:
    """Tells the news of a transaction to who listens. Used from one thread."""

    def __init__(self, path: Path) -> None:
        self._folder = Folder(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def tell(self, news: News) -> None:
        for canceled in news.canceled:
            self._send("work", _encode(canceled))
        if news.work:
            self._send("work", b"")
        if news.status:
            self._send("status", b"")

    def close(self) -> None:
        self._socket.close()
        self._folder.close()

    def _send(self, wish: Wish, message: bytes) -> None:
        with suppress(OSError):
            for name in self._folder.names(wish):
                self._send_one(self._folder.address(name), message)

    def _send_one(self, address: str, message: bytes) -> None:
        try:
            self._socket.sendto(message, address)
        except ConnectionRefusedError:  # its process is dead
            with suppress(OSError):
                os.unlink(address)  # noqa: PTH108  an address is a text
        except OSError:  # it went away just now, or is too busy to be woken
            pass


class Listener:
    """A socket of our own in the folder, from `open` to `close`; calls back from the event loop.

    What it wants to hear of is the first part of its name.
    """

    def __init__(self, path: Path, wish: Wish, heard: Callable[[Canceled | None], None]) -> None:
        self._folder, self._wish, self._heard = Folder(path), wish, heard
        self._socket: socket.socket | None = None
        self._address = ""

    def open(self) -> None:
        """A second call does nothing, unless the first could not do anything either."""
        if self._socket is not None:
            return
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listening.setblocking(False)
        try:
            self._bind(listening)
        except OSError:
            listening.close()
            return
        self._socket = listening
        asyncio.get_running_loop().add_reader(listening.fileno(), self._read)

    def close(self) -> None:
        if self._socket is None:
            return
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._socket = None
        with suppress(OSError):
            os.unlink(self._address)  # noqa: PTH108  an address is a text
        self._folder.close()

    def _bind(self, listening: socket.socket) -> None:
        for folder in (self._folder.path.parent, self._folder.path):  # we may be here before the file
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._address = self._folder.address(f"{self._wish}-{secrets.token_hex(6)}")
        listening.bind(self._address)

    def _read(self) -> None:
        """All that has come: many rings need one look."""
        heard: set[Canceled | None] = set()
        with suppress(BlockingIOError):
            while self._socket:
                heard.add(_decode(self._socket.recv(LARGEST)))
        for news in heard:
            self._heard(news)


def _encode(canceled: Canceled) -> bytes:
    short = attrs.evolve(canceled, message=canceled.message[:LONGEST_MESSAGE])
    return json.dumps(attrs.astuple(short), ensure_ascii=False).encode("utf-8", "replace")


def _decode(message: bytes) -> Canceled | None:
    """None: only a ring, or nonsense."""
    try:
        worker_id, task_id, text = json.loads(message)
    except (ValueError, TypeError):
        return None
    return Canceled(str(worker_id), str(task_id), str(text))
