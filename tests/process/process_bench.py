"""A process platform on one kind of group, and which processes are alive."""

from __future__ import annotations

import secrets
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import psutil

from taskrunner.amounts import Amounts
from taskrunner.errors import TaskrunnerError, Unavailable
from taskrunner.interfaces.execution import Execution
from taskrunner.interfaces.log import Log
from taskrunner.interfaces.platform import PlatformContext, RunContext
from taskrunner.interfaces.results import Results
from taskrunner.interfaces.source import SourceOptions
from taskrunner.model import CacheSpec, Progress, RunKey, Source, Task
from taskrunner.testing.conformance.platform.harness import joined
from taskrunner.testing.fakes.caches import FakeCaches
from taskrunner.testing.fakes.log import MemoryLog
from taskrunner_process import ProcessPayload, ProcessPlatform
from taskrunner_process.accounts.lease import Accounts
from taskrunner_process.engine import ProcessEngine
from taskrunner_process.groups.available import available_groups
from taskrunner_process.groups.owner import owner_name
from taskrunner_process.groups.process_group import ProcessGroups


def kinds_of_group() -> list[str]:
    names = []
    for groups in available_groups("probe"):
        names.append(groups.name)
        groups.close()
    return names


def limiting_kinds() -> list[str]:
    """Those that can keep a run to its memory, CPUs and processes: version 1 or 2 of control groups, whichever has the
    controllers of this machine."""
    names = []
    for groups in available_groups("probe"):
        with suppress(Unavailable):
            groups.new_limit("probe", Amounts(memory=64 << 20, cpus=1, pids=9))
            names.append(groups.name)
        groups.close()
    return names


KINDS = kinds_of_group()
LIMITING = limiting_kinds() or ["no kind of group can limit a run here"]
GROUPS = [kind for kind in KINDS if kind.startswith("cgroup")]


def groups_of(kind: str, home: Path, worker_id: str = "w1") -> ProcessGroups:
    for groups in available_groups(owner_name(worker_id, home)):
        if groups.name == kind:
            return groups
        groups.close()
    raise LookupError(kind)


def token() -> str:
    """A number of seconds to sleep that no other process of this machine has."""
    return f"1000000.{secrets.randbelow(10**12):012}"


def alive(word: str) -> list[int]:
    """The processes that have this word among their arguments and are no zombies."""
    found = []
    for process in psutil.process_iter(["cmdline", "status", "pid"]):
        info = process.info
        if any(word in part for part in info["cmdline"] or ()) and info["status"] != psutil.STATUS_ZOMBIE:
            found.append(info["pid"])
    return found


def descriptors() -> set[str]:
    """The numbers of the file descriptors that this process has open."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def living_in(home: Path) -> list[int]:
    """The processes whose own home lies in that folder, as that of every run does."""
    found = []
    for process in psutil.process_iter(["environ", "status", "pid"]):
        info = process.info
        if str(home) in (info["environ"] or {}).get("HOME", "") and info["status"] != psutil.STATUS_ZOMBIE:
            found.append(info["pid"])
    return found


@attrs.define
class Bench:
    platform: ProcessPlatform
    home: Path
    log: Log = attrs.field(factory=MemoryLog)
    count: int = 0
    source: Source | None = None
    """Of every run."""
    source_options: SourceOptions = attrs.field(default=SourceOptions().of_operator())
    reported: list[Progress] = attrs.field(factory=list)
    resources: Amounts = attrs.field(factory=Amounts)
    """Of every run."""

    async def engine(
        self, *command: str, stdin: str = "", separate_stderr: bool = False, caches: tuple[CacheSpec, ...] = ()
    ) -> ProcessEngine:
        return await self.loaded(ProcessPayload(command, stdin, separate_stderr), caches=caches)

    async def loaded(
        self, payload: ProcessPayload, *, caches: tuple[CacheSpec, ...] = (), env: Mapping[str, str] | None = None
    ) -> ProcessEngine:
        self.count += 1
        folder = self.home / f"run{self.count}"
        folder.mkdir()
        task = Task(
            f"task{self.count}",
            "process",
            caches=caches,
            env=env or {},
            source=self.source,
            resources=self.resources,
        )
        context = RunContext(
            task,
            RunKey(task.id, 0),
            folder,
            self.log,
            FakeCaches(self.home),
            lambda s: s.literal,
            self.reported.append,
            self.source_options,
        )
        engine = await self.platform.new_engine(context)
        self.platform.check(payload)
        await engine.load(payload)
        return engine

    async def start(
        self, *command: str, stdin: str = "", separate_stderr: bool = False, env: Mapping[str, str] | None = None
    ) -> Execution:
        engine = await self.engine(*command, stdin=stdin, separate_stderr=separate_stderr)
        try:
            return await engine.start(env or {})
        except TaskrunnerError:
            await engine.discard()
            raise

    async def run(self, *command: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Results:
        return await (await self.start(*command, stdin=stdin, env=env)).wait()

    async def shell(self, script: str, env: Mapping[str, str] | None = None) -> Results:
        return await self.run("sh", "-c", script, env=env)

    @property
    def text(self) -> str:
        assert isinstance(self.log, MemoryLog)
        return self.log.text

    @property
    def folder(self) -> Path:
        """Of the last run."""
        return self.home / f"run{self.count}"


@asynccontextmanager
async def bench_on(
    kind: str, home: Path, *, accounts: Accounts | None = None, worker_id: str = "w1", log: Log | None = None
) -> AsyncIterator[Bench]:
    context = PlatformContext(worker_id, home, lambda secret: secret.literal)
    platform = ProcessPlatform(context, groups_of(kind, home, worker_id), accounts)
    try:
        yield Bench(platform, home, log or MemoryLog())
    finally:
        await platform.dispose()


async def contents(results: Results, path: str) -> bytes:
    return await joined((await results.archive_file(path)).read())


def executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
