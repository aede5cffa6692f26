"""A host, a queue and a store of a package of its own, each with options.

The queue is a folder into which somebody drops tasks as JSON files; the answer to `ID.json` is `ID.answer`. It is for
one worker at a time.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit

import attrs

from taskrunner import (
    Capabilities,
    Claim,
    Complaint,
    ConfigError,
    FolderStore,
    Host,
    Leave,
    PluginContext,
    Queue,
    QueueContext,
    Resolution,
    Secret,
)

LOOK_EVERY = 0.2
"""Seconds between two looks at a folder."""


@attrs.frozen
class DropHostOptions:
    """The table `[host.drop]`."""

    notice: str
    """A file. When it appears, the worker finishes its runs and stops."""
    capacity: int = 1
    """The slots of this machine."""


class DropHost(Host):
    options = DropHostOptions

    def __init__(self, options: DropHostOptions) -> None:
        self._options, self._notice = options, Path(options.notice)

    @classmethod
    async def open(cls, options: DropHostOptions, context: PluginContext) -> Self:
        if not Path(options.notice).parent.is_dir():
            raise ConfigError(f"notice: {options.notice} is in no folder (make it, or name another file)")
        return cls(options)

    @property
    def identity(self) -> Mapping[str, str]:
        return {"host": socket.gethostname(), "rack": "drop"}

    def load_config(self) -> Mapping[str, Any]:
        return {"capacity": self._options.capacity}

    async def shutting_down(self) -> Leave:
        while not self._notice.exists():
            await asyncio.sleep(LOOK_EVERY)
        why = self._notice.read_text().strip()
        self._notice.unlink()
        return Leave(immediate=False, why=why or "the notice appeared", time_left=3600)


@attrs.frozen
class DropQueueOptions:
    """The table `[queue.drop]`."""

    token: Secret | None = None
    """What the `token` of each task must be. Without it, every task is taken."""
    keep_answers: bool = True
    """Whether answers are written."""


class DropQueue(Queue):
    """The tasks of a folder: `drop:///var/spool/tasks`."""

    capabilities = Capabilities(priorities=False, cancel="on-reclaim")
    options = DropQueueOptions

    def __init__(self, folder: Path, options: DropQueueOptions, context: QueueContext, token: str) -> None:
        self._folder, self._options, self._worker_id, self._token = folder, options, context.worker_id, token

    @classmethod
    async def open(cls, options: DropQueueOptions, context: QueueContext) -> Self:
        folder = Path(unquote(urlsplit(context.url).path))
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {folder} (make it)")
        token = context.reveal(options.token) if options.token else ""
        return cls(folder, options, context, token)

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        while not (found := sorted(self._folder.glob("*.json"))[:n]) and loop.time() < end:
            await asyncio.sleep(LOOK_EVERY)
        return [self._take(path) for path in found if self._may_run(path)]

    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
        return claim

    async def resolve(self, claim: Claim, resolution: Resolution) -> Literal["applied", "already-so"]:
        if self._options.keep_answers:
            (self._folder / f"{claim.task_id}.answer").write_text(f"{resolution}\n")
        return "applied"

    async def release(self, claim: Claim, *, delay: float, reason: str, message: str = "") -> float:
        (self._folder / f"{claim.task_id}.taken").rename(self._folder / f"{claim.task_id}.json")
        return 0.0

    def _may_run(self, path: Path) -> bool:
        if not self._token or json.loads(path.read_text()).get("token") == self._token:
            return True
        path.rename(path.with_suffix(".refused"))
        return False

    def _take(self, path: Path) -> Claim:
        document = json.loads(path.read_text())
        document.pop("token", None)
        path.rename(path.with_suffix(".taken"))
        return Claim(path.stem, 0, document, self._worker_id, token=path.stem)


@attrs.frozen
class DropStoreOptions:
    """The table `[store.drop]`."""

    path: str
    """The folder that gets artifacts and logs."""
    public: bool = False
    """Whether all users of the machine may read it."""


class DropStore(FolderStore):
    options = DropStoreOptions

    @classmethod
    async def open(cls, options: DropStoreOptions, context: PluginContext) -> Self:
        Path(options.path).mkdir(mode=0o755 if options.public else 0o700, parents=True, exist_ok=True)
        return cls(Path(options.path))

    @classmethod
    def check_options(cls, options: DropStoreOptions) -> list[Complaint]:
        return [] if options.path.startswith("/") else [Complaint("path", "is not a full path", "begin it with /")]
