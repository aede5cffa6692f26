"""A proxy between a client and a server that can stop forwarding: a stalled network."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.support.queue_processes import PATIENCE

_PIECE = 1 << 16


class Gate:
    """Stands before a server: `Gate("/run/engine.sock")`, or `Gate(("127.0.0.1", 5000))`, listening on the same kind.

    When a client sends data that match `hold`, these and all later data of the connection are held back, and `held` is
    set. `open` forwards everything again, also the data that were held.
    """

    def __init__(self, server: str | tuple[str, int], folder: Path) -> None:
        self._server = server
        self._family = socket.AF_UNIX if isinstance(server, str) else socket.AF_INET
        self._listener = socket.socket(self._family)
        self._listener.bind(str(folder / "gate") if isinstance(server, str) else ("127.0.0.1", 0))
        self._listener.listen()
        self._hold: re.Pattern[bytes] | None = None
        self.held, self._opened = threading.Event(), threading.Event()
        self._sockets: list[socket.socket] = []

    @property
    def address(self) -> str:
        """`unix:///tmp/…/gate`, or `127.0.0.1:5123`."""
        name = self._listener.getsockname()
        return f"unix://{name}" if isinstance(name, str) else f"{name[0]}:{name[1]}"

    def hold(self, pattern: bytes) -> None:
        self._hold = re.compile(pattern)

    def wait_until_held(self) -> None:
        """Returns when data are held."""
        assert self.held.wait(PATIENCE), "no data matched"

    def open(self) -> None:
        self._hold = None
        self._opened.set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.open()
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(self._family)
                server.connect(self._server)
                self._sockets += [client, server]
                threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, asks: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE):
                if asks and self._hold and self._hold.search(data):
                    self.held.set()
                    self._opened.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
