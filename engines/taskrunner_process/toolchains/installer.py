"""Installer: one installation at a time, in the background."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import attrs

from taskrunner.errors import TaskFailed, TaskFailedInternally
from taskrunner.files.private import make_private_folder
from taskrunner_process.toolchains.commands import ToolCommands

log = logging.getLogger(__name__)

INSTALL_LIMIT = 6 * 3600.0
"""Seconds. Xcode takes an hour over a slow line."""

TRY_AGAIN = 600.0
"""Seconds after a failure until the same version is installed again: each run that asks for it would start it."""


@attrs.define(eq=False)
class Installer:
    """Installs what runs have asked for. Used from the event loop."""

    commands: ToolCommands
    _running: asyncio.Task[None] | None = None
    _what: str = ""
    """The version that is being installed."""
    _failed: dict[str, float] = attrs.field(factory=dict)
    """Until when it is not tried again, on the loop's clock."""

    def log_of(self, what: str) -> Path:
        return self.commands.home / "toolchains" / f"{what.replace(' ', '-')}.log"

    def request(self, what: str, command: Sequence[str]) -> str:
        """Begins to install `what`, such as `xcode 15.2`, unless something is being installed. Says what follows."""
        if self._running and not self._running.done():
            return "it is being installed" if what == self._what else f"it waits until {self._what} has been installed"
        if self._failed.get(what, 0.0) > asyncio.get_running_loop().time():
            return f"it could not be installed: see {self.log_of(what)}"
        self._what = what
        self._running = asyncio.create_task(self._install(what, command), name=f"installing {what}")
        return "its installation has begun"

    async def close(self) -> None:
        """Ends an installation that runs."""
        if self._running:
            self._running.cancel()
            await asyncio.wait([self._running])

    async def _install(self, what: str, command: Sequence[str]) -> None:
        log.warning("installing %s: its output is in %s", what, self.log_of(what))
        try:
            output = self._open_log(what)
            status = await self.commands.run(f"installing-{what.replace(' ', '-')}", command, output, INSTALL_LIMIT)
            problem = f"the command has ended with {status}" if status else ""
        except TimeoutError:
            problem = f"it took longer than {INSTALL_LIMIT:g} s"
        except (OSError, TaskFailed, TaskFailedInternally) as error:
            problem = str(error)
        if problem:
            self._failed[what] = asyncio.get_running_loop().time() + TRY_AGAIN
            log.warning("%s could not be installed: %s; its output is in %s", what, problem, self.log_of(what))
        else:
            log.warning("%s is installed", what)

    def _open_log(self, what: str) -> int:
        path = self.log_of(what)
        make_private_folder(path.parent)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
