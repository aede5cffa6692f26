"""A host of one's own: its worker must go when a file appears, as on machines whose cloud says so that way."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taskrunner import Host, Leave

LOOK_EVERY = 1.0
"""Seconds between two looks."""


class FileHost(Host):
    """The file's text is why; a file that says `now` hands back what runs."""

    def __init__(self, notice: Path) -> None:
        self._notice = notice

    @property
    def identity(self) -> Mapping[str, str]:
        return {"host": socket.gethostname()}

    def load_config(self) -> Mapping[str, Any]:
        return {"capacity": 1}

    def should_shutdown_now(self) -> bool:
        return self._notice.exists()

    async def shutting_down(self) -> Leave:
        while not self.should_shutdown_now():  # noqa: ASYNC110  nobody tells when a file appears
            await asyncio.sleep(LOOK_EVERY)
        why = self._notice.read_text().strip() or "the notice appeared"
        self._notice.unlink()
        return Leave(immediate=why == "now", why=why)
