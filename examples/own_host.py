"""A host: its worker must stop when a file appears, which is how some clouds give notice."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from taskrunner import Host, Leave

LOOK_EVERY = 1.0
"""Seconds between two looks at the file."""


class FileHost(Host):
    """The text of the file is the reason; with the text `now`, the worker hands back its runs at once."""

    def __init__(self, notice: Path) -> None:
        self._notice, self._arrived, self._urgent = notice, False, False

    @property
    def identity(self) -> Mapping[str, str]:
        return {"host": socket.gethostname()}

    def load_config(self) -> Mapping[str, Any]:
        return {"capacity": 1}

    def should_shutdown_now(self) -> bool:
        return self._arrived or self._notice.exists()

    async def shutting_down(self) -> Leave:
        while not self._notice.exists():  # noqa: ASYNC110  a file gives no event
            await asyncio.sleep(LOOK_EVERY)
        why = self._notice.read_text().strip() or "the notice appeared"
        self._notice.unlink()
        self._arrived = True
        self._urgent = self._urgent or why == "now"  # a later notice may only be more urgent
        return Leave(immediate=self._urgent, why=why)
