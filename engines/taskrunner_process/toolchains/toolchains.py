"""Toolchains: whether the machine has what a checkout asks for, and its installation when it has not."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import Reject, TaskFailedInternally
from taskrunner_process.payload import ToolchainOptions
from taskrunner_process.toolchains.commands import ToolCommands
from taskrunner_process.toolchains.installer import Installer
from taskrunner_process.toolchains.versions import VERSION, installed_at, wanted_version

LIST_LIMIT = 30.0
"""Seconds for the command that lists versions: each run waits for it."""

MAX_LIST = 64 << 10
"""Bytes of its output that are read."""

REJECT_DELAY = 60.0
"""Seconds until a queue offers the run again: most installations take minutes."""


@attrs.define(eq=False)
class Toolchains:
    """Those of one worker, by name."""

    options: Mapping[str, ToolchainOptions]
    commands: ToolCommands
    _installer: Installer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._installer = Installer(self.commands)

    async def require(self, checkout: Path) -> None:
        """Looks for the versions that a checkout asks for. What is missing is installed in the background, and the run
        is handed back meanwhile.

        Raises: Reject, TaskFailed (`toolchain-unknown`), TaskFailedInternally (the versions cannot be listed).
        """
        missing = [await self._missing(name, each, checkout) for name, each in self.options.items()]
        if any(missing):
            raise Reject(REJECT_DELAY, "; ".join(filter(None, missing)))

    async def close(self) -> None:
        await self._installer.close()

    async def _missing(self, name: str, toolchain: ToolchainOptions, checkout: Path) -> str:
        """What is missing, and what follows; empty when nothing is."""
        version = wanted_version(checkout, toolchain.file)
        if not version or version in (installed := await self._installed(name, toolchain)):
            return ""
        absent = f"this worker has no {name} {version}, which {toolchain.file} asks for"
        if not toolchain.install_command:
            return f"{absent} (it has {', '.join(installed) or 'none'})"
        command = [argument.replace("{version}", version) for argument in toolchain.install_command]
        return f"{absent}: {self._installer.request(f'{name} {version}', command)}"

    async def _installed(self, name: str, toolchain: ToolchainOptions) -> list[str]:
        if toolchain.installed_at:
            find = partial(installed_at, toolchain.installed_at)
            return await run_blocking(find, limit=LIST_LIMIT, doing=f"finding the versions of {name}")
        with tempfile.TemporaryFile() as output:
            try:
                status = await self.commands.run(
                    f"listing-{name}-{os.urandom(4).hex()}", toolchain.list_command, os.dup(output.fileno()), LIST_LIMIT
                )
            except TimeoutError:
                raise TaskFailedInternally(f"the versions of {name} were not listed within {LIST_LIMIT:g} s") from None
            text = os.pread(output.fileno(), MAX_LIST, 0).decode(errors="replace")
        if status:
            raise TaskFailedInternally(f"the versions of {name} cannot be listed: the command ended with {status}")
        return [line.strip() for line in text.splitlines() if VERSION.fullmatch(line.strip())]
