"""Waking processes that wait for a change of a file: a folder of datagram sockets, one for each waiter.

A process that has changed the file sends a datagram to every socket of the topic. A datagram is advice only: it may be
lost, and it only makes its receiver read the file. Every error here is therefore ignored, and waiters poll as well.
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
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.queues.ledger.database import Canceled, Changes, Topic

MAX_PATH = 100
"""Bytes of a socket's path that every system takes (Linux: 107, macOS: 103)."""

OPEN_FILES = Path("/proc/self/fd")
"""Linux: the open files of this process, by their descriptors."""

MAX_NAME = len("status-") + 12

MAX_DATAGRAM = 2048
"""Bytes of a datagram that every system takes (the limit is macOS's)."""

BIND_LIMIT = 5.0
"""Seconds to make a socket's file, including the wait for the transaction that is under way."""

MAX_MESSAGE = 200
"""Characters of a message in a datagram, so that it fits in any script; the rest is cut."""


class SocketFolder:
    """The folder of sockets, by a path that is short enough for a socket's address."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        self._alias: Path | None = None

    def address(self, name: str) -> str:
        """Raises OSError."""
        return str(self._short() / name)

    def names(self, topic: Topic) -> Iterator[str]:
        return (name for name in os.listdir(self.path) if name.startswith(topic))  # noqa: PTH208  names are enough

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._alias:
            shutil.rmtree(self._alias.parent, ignore_errors=True)

    def _short(self) -> Path:
        """The limit holds for the text of an address, not for where it leads. What a process has open is short, and a
        killed one leaves nothing of it."""
        if len(os.fsencode(self.path)) + 1 + MAX_NAME <= MAX_PATH:
            return self.path
        if not OPEN_FILES.is_dir():
            return self._link()
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return OPEN_FILES / str(self._descriptor)

    def _link(self) -> Path:
        if self._alias is None:
            self._alias = Path(tempfile.mkdtemp(prefix="tr-")) / "w"
            self._alias.symlink_to(self.path.absolute())
        return self._alias


class WakeupSender:
    """Sends the changes of a transaction to the waiting processes. Used from one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._folder = SocketFolder(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def publish(self, changes: Changes) -> None:
        for canceled in changes.canceled:
            self._send("work", _encode(canceled))
        if changes.work:
            self._send("work", b"")
        if changes.status:
            self._send("status", b"")

    def close(self) -> None:
        self._socket.close()
        self._folder.close()

    def _send(self, topic: Topic, message: bytes) -> None:
        with suppress(OSError):
            for name in self._folder.names(topic):
                self._send_one(self._folder.address(name), message)

    def _send_one(self, address: str, message: bytes) -> None:
        try:
            self._socket.sendto(message, address)
        except ConnectionRefusedError:  # its process is dead
            _remove(address)
        except OSError:  # it was closed just now, or its buffer is full
            pass


class WakeupReceiver:
    """A socket of this process in the folder, from `open` to `close`. Its name begins with its topic.

    `on_wakeup` is called from the event loop: with a cancellation, or with None for a plain wake-up. `executor` makes
    the socket's file.
    """

    def __init__(
        self, path: Path, topic: Topic, on_wakeup: Callable[[Canceled | None], None], executor: Executor
    ) -> None:
        self._folder, self._topic, self._on_wakeup = SocketFolder(path), topic, on_wakeup
        self._executor = executor
        self._opening = asyncio.Lock()
        self._socket: socket.socket | None = None
        self._address = ""
        self._closed = False

    async def open(self) -> None:
        """A second call does nothing, unless the first failed: without a socket, a waiter polls."""
        async with self._opening:
            if self._socket is None and not self._closed:
                with suppress(OSError):  # OverLimit is one
                    await self._open()

    def close(self) -> None:
        """Receives no more. A second call does nothing."""
        self._closed = True
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def remove(self) -> None:
        """Removes the file of a closed socket. Blocks. Raises nothing."""
        if self._address:
            _remove(self._address)
        self._folder.close()

    async def _open(self) -> None:
        receiving = await run_blocking(
            self._bind, limit=BIND_LIMIT, doing="binding a socket", discard=_discard, executor=self._executor
        )
        if self._closed:
            self._executor.submit(_discard, receiving)
            return
        self._socket, self._address = receiving, receiving.getsockname()
        asyncio.get_running_loop().add_reader(receiving.fileno(), self._read)

    def _bind(self) -> socket.socket:
        for folder in (self._folder.path.parent, self._folder.path):  # a waiter may come before the database
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        receiving = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiving.setblocking(False)
        try:
            receiving.bind(self._folder.address(f"{self._topic}-{secrets.token_hex(6)}"))
        except OSError:
            receiving.close()
            raise
        return receiving

    def _read(self) -> None:
        """Everything that has come: many wake-ups need one read of the file."""
        received: set[Canceled | None] = set()
        with suppress(BlockingIOError):
            while self._socket:
                received.add(_decode(self._socket.recv(MAX_DATAGRAM)))
        for canceled in received:
            self._on_wakeup(canceled)


def _discard(receiving: socket.socket) -> None:
    address = receiving.getsockname()
    receiving.close()
    _remove(address)


def _remove(address: str) -> None:
    with suppress(OSError):
        os.unlink(address)  # noqa: PTH108  an address is a text


def _encode(canceled: Canceled) -> bytes:
    short = attrs.evolve(canceled, message=canceled.message[:MAX_MESSAGE])
    return json.dumps(attrs.astuple(short), ensure_ascii=False).encode("utf-8", "replace")


def _decode(message: bytes) -> Canceled | None:
    """None: a plain wake-up. What cannot be decoded is one, too."""
    try:
        worker_id, task_id, text = json.loads(message)
    except (ValueError, TypeError):
        return None
    return Canceled(str(worker_id), str(task_id), str(text))
