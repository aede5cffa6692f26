"""Bugs of platforms: the platform itself, and the engine until its start."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from taskrunner import CacheFolder, Engine, Execution, Health, MalformedPayload, RunContext, Unavailable
from taskrunner.amounts import Amounts
from tests.testing.planted.small_platform import (
    PLATFORMS,
    SmallEngine,
    SmallExecution,
    SmallPayload,
    SmallPlatform,
)
from tests.testing.planted.small_processes import RUN, kill_all, processes


def with_engine(engine: type[SmallEngine]) -> type[SmallPlatform]:
    """A platform whose engines are of this class, which also names it and cites the clause."""

    class WithEngine(SmallPlatform):
        def engine(self, context: RunContext, state: Path) -> SmallEngine:
            return engine(context, state)

    WithEngine.__name__, WithEngine.__doc__ = engine.__name__, engine.__doc__
    return WithEngine


def plant_engine(test: str, *, hangs: bool = False) -> Any:
    return lambda engine: PLATFORMS.caught_by(test, hangs=hangs)(with_engine(engine))


# ---- the platform ---------------------------------------------------------------------------------------


@PLATFORMS.caught_by("test_cleaning_up_ends_no_run_of_another_worker")
class CleansUpAfterEverybody(SmallPlatform):
    """Ends and removes what a dead worker has left."""

    def states(self, worker_id: str) -> list[Path]:
        return list(self.home.glob("*/*"))


@PLATFORMS.caught_by("test_cleaning_up_ends_no_run_of_another_worker")
class CleansUpByAPrefix(SmallPlatform):
    """Ends and removes what a dead worker has left."""

    def states(self, worker_id: str) -> list[Path]:
        return list(self.home.glob(f"{worker_id}*/*"))


@PLATFORMS.caught_by("test_cleaning_up_ends_no_run_of_another_worker")
class CleansUpByASuffix(SmallPlatform):
    """Ends and removes what a dead worker has left."""

    def states(self, worker_id: str) -> list[Path]:
        return list(self.home.glob(f"*{worker_id}/*"))


@PLATFORMS.caught_by("test_a_dead_worker_is_cleaned_up_while_another_works")
class CleansUpItsOwnRunsToo(SmallPlatform):
    """Ends and removes what a dead worker has left."""

    def states(self, worker_id: str) -> list[Path]:
        return super().states(worker_id) + super().states(self.worker_id)


@PLATFORMS.caught_by("test_what_a_dead_worker_left_is_found_once")
class CleansUpNothing(SmallPlatform):
    """Ends and removes what a dead worker has left: processes, containers, networks, images, folders."""

    async def clean_up_after(self, worker_id: str) -> list[str]:
        return []


@PLATFORMS.caught_by("test_what_a_dead_worker_left_is_found_once")
class CleansUpTheFoldersAlone(SmallPlatform):
    """Processes, containers, networks, images, folders."""

    async def clean_up_after(self, worker_id: str) -> list[str]:
        for state in self.states(worker_id):
            shutil.rmtree(state)
        return []


@PLATFORMS.caught_by("test_what_a_dead_worker_left_is_found_once")
class FindsTheSameAgain(SmallPlatform):
    """A second call finds nothing."""

    async def clean_up_after(self, worker_id: str) -> list[str]:
        lines = []
        for state in self.states(worker_id):
            await kill_all(RUN, str(state))
            lines.append(f"killed {state.name}")
        return lines


@PLATFORMS.caught_by("test_what_a_dead_worker_has_loaded_or_not_disposed_of_is_removed")
class CleansUpWhatRunsAlone(SmallPlatform):
    """Ends and removes what a dead worker has left."""

    def states(self, worker_id: str) -> list[Path]:
        return [state for state in super().states(worker_id) if processes(RUN, str(state))]


@PLATFORMS.caught_by("test_a_worker_that_stops_leaves_the_runs_of_another")
class EndsEverythingWhenItIsDisposedOf(SmallPlatform):
    """Releases everything. No engine of the platform is alive."""

    async def dispose(self) -> None:
        for state in self.home.glob("*/*"):
            await kill_all(RUN, str(state))


@PLATFORMS.caught_by("test_it_says_what_it_is")
class LeavesATaskBehind(SmallPlatform):
    """`dispose` releases everything."""

    async def new_engine(self, context: RunContext) -> Engine[SmallPayload]:
        return await super().new_engine(context)

    async def dispose(self) -> None:
        self.watching = asyncio.create_task(asyncio.sleep(1e5))


@PLATFORMS.caught_by("test_its_health_is_an_answer")
class RaisesInsteadOfAHealth(SmallPlatform):
    """Without an answer the platform is not fit. Raises nothing."""

    async def health(self) -> Health:
        raise ConnectionError("no daemon")


@PLATFORMS.caught_by("test_its_health_is_an_answer", hangs=True)
class NeverSaysHowItIs(SmallPlatform):
    """It returns within milliseconds what it knows."""

    async def health(self) -> Health:
        return await asyncio.get_running_loop().create_future()


@PLATFORMS.caught_by("test_its_health_is_an_answer")
class BlocksForItsHealth(SmallPlatform):
    """All methods are called from the worker's event loop."""

    async def health(self) -> Health:
        time.sleep(0.05)
        return await super().health()


@PLATFORMS.caught_by("test_a_service_that_is_down_is_unavailable", hangs=True)
class IsAlwaysFit(SmallPlatform):
    """Whether this platform can take a run now."""

    async def health(self) -> Health:
        return Health(fit=True)


@PLATFORMS.caught_by("test_a_service_that_is_down_is_unavailable")
class IsNotFitWithoutAReason(SmallPlatform):
    """What is wrong and what to do, when it is not."""

    async def health(self) -> Health:
        return Health(fit=not self.is_down())


@PLATFORMS.caught_by("test_a_service_that_is_down_is_unavailable")
class MakesEnginesWhenItIsDown(SmallPlatform):
    """Raises: Unavailable, WorkerBroken."""

    async def new_engine(self, context: RunContext) -> Engine[SmallPayload]:
        if self.is_down():
            raise FileNotFoundError("/var/run/daemon.sock")
        return await super().new_engine(context)


@PLATFORMS.caught_by("test_a_payload_that_is_malformed_is_refused_by_check")
class ChecksNothing(SmallPlatform):
    """MalformedPayload with every complaint."""

    @classmethod
    def check(cls, payload: SmallPayload) -> None:
        pass


@PLATFORMS.caught_by("test_a_payload_that_is_malformed_is_refused_by_check")
class ComplainsWithoutAComplaint(SmallPlatform):
    """MalformedPayload with every complaint."""

    @classmethod
    def check(cls, payload: SmallPayload) -> None:
        if not payload.command:
            raise MalformedPayload


@PLATFORMS.caught_by("test_every_run_has_an_engine_of_its_own")
class HasOneEngine(SmallPlatform):
    """Returns an engine for one run."""

    one: SmallEngine | None = None

    async def new_engine(self, context: RunContext) -> Engine[SmallPayload]:
        self.one = self.one or SmallEngine(context, self.home / self.worker_id / "run")
        return self.one


@PLATFORMS.caught_by("test_a_cache_outlives_an_engine_that_is_discarded")
class EmptiesACacheThatItOpens(SmallPlatform):
    """It is empty at first, and later as a run has left it. Called more than once for a folder."""

    def new_cache_folder(self, name: str, path: Path) -> CacheFolder:
        for entry in path.iterdir():
            entry.unlink()
        return super().new_cache_folder(name, path)


@PLATFORMS.caught_by("test_a_cache_outlives_an_engine_that_is_discarded")
class KeepsCachesInItsOwnPlace(SmallPlatform):
    """Kept in the folder `path`."""

    def new_cache_folder(self, name: str, path: Path) -> CacheFolder:
        place = self.home / "caches" / name
        place.mkdir(parents=True, exist_ok=True)
        return super().new_cache_folder(name, place)


@PLATFORMS.caught_by("test_a_run_that_has_ended_is_not_recovered")
class RecoversWhatIsGone(SmallPlatform):
    """TaskFailed (`lost`: it is gone)."""

    async def recover(self, handle: str, context: RunContext, log_offset: int) -> Execution:
        return SmallExecution(context, Path(handle), log_offset)


@PLATFORMS.caught_by("test_a_run_that_is_recovered_goes_on")
class RepeatsTheLogOfARecoveredRun(SmallPlatform):
    """That log holds the first `log_offset` bytes, which are not written again."""

    async def recover(self, handle: str, context: RunContext, log_offset: int) -> Execution:
        return await super().recover(handle, context, 0)


@PLATFORMS.caught_by("test_a_run_that_is_recovered_goes_on")
class LosesTheLogBeforeTheRecovery(SmallPlatform):
    """Where later ones are lost, a line of the log says so."""

    async def recover(self, handle: str, context: RunContext, log_offset: int) -> Execution:
        return await super().recover(handle, context, (Path(handle) / "output").stat().st_size)


@PLATFORMS.caught_by("test_a_run_that_is_recovered_goes_on")
class StartsARecoveredRunAgain(SmallPlatform):
    """It goes on as before."""

    async def recover(self, handle: str, context: RunContext, log_offset: int) -> Execution:
        await kill_all(RUN, handle)
        return await super().recover(handle, context, log_offset)


@PLATFORMS.not_caught("a power cut needs a machine that is turned off")
class LosesTheStateInAPowerCut(SmallPlatform):
    """What outlives the worker is below `home/<its name>`."""


# ---- the engine -----------------------------------------------------------------------------------------


@plant_engine("test_a_run_does_not_see_the_environment_of_the_worker")
class PassesOnTheEnvironmentOfTheWorker(SmallEngine):
    """With these environment variables; none of the worker's own reaches the run."""

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        return {**os.environ, **super().environment(env)}


@plant_engine("test_no_command_line_shows_a_secret")
class SetsVariablesOnTheCommandLine(SmallEngine):
    """No process list shows their values."""

    def arguments(self, env: Mapping[str, str]) -> list[str]:
        shell, option, script, *rest = super().arguments(env)
        exports = [f"export {name}={shlex.quote(value)}\n" for name, value in env.items()]
        return [shell, option, "".join(exports) + script, *rest]

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        return super().environment({})


@plant_engine("test_no_command_line_shows_a_secret")
class LogsTheVariables(SmallEngine):
    """Secrets among them."""

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> Execution:
        self.context.log.say(f"starting with {dict(env)}")
        return await super().start(env, stdin=stdin)


@plant_engine("test_the_environment_reaches_the_run")
class DropsEmptyVariables(SmallEngine):
    """With these environment variables."""

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        return super().environment({name: value for name, value in env.items() if value})


@plant_engine("test_the_environment_reaches_the_run")
class PassesVariablesInAFileOfLines(SmallEngine):
    """With these environment variables."""

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        return super().environment({name: value.partition("\n")[0] for name, value in env.items()})


@plant_engine("test_a_run_does_not_see_the_environment_of_another")
class AddsVariablesForEver(SmallEngine):
    """With these environment variables."""

    all_variables: dict[str, str] = {}

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        self.all_variables.update(env)
        return super().environment(self.all_variables)


@plant_engine("test_without_an_input_the_standard_input_is_empty")
class PassesOnTheStandardInputOfTheWorker(SmallEngine):
    """Without, it is what the payload says, or empty."""

    def standard_input(self) -> int | None:
        return None


@plant_engine("test_an_input_stays_open_until_it_is_closed")
class TakesNoInput(SmallEngine):
    """With `stdin`, the standard input stays open and is the execution's `stdin`."""

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> Execution:
        return await super().start(env)


@PLATFORMS.caught_by("test_an_input_stays_open_until_it_is_closed")
class DeniesItsInput(SmallPlatform):
    """Whether its engines can keep the standard input of a run open."""

    takes_stdin = False


@plant_engine("test_two_runs_at_once_do_not_disturb_each_other")
class WorksInOneFolder(SmallEngine):
    """A fresh empty folder that is the run's alone."""

    def __init__(self, context: RunContext, state: Path) -> None:
        super().__init__(attrs.evolve(context, folder=state.parent), state)


@plant_engine("test_a_start_that_is_cancelled_is_undone")
class LeavesAProcessWhenItsStartIsCancelled(SmallEngine):
    """Any of these coroutines may be cancelled: it then undoes what it has begun."""

    async def launch(self, env: Mapping[str, str], stdin: int | None) -> None:
        await super().launch(env, stdin)
        for _ in range(50):  # asyncio kills a process whose start is cancelled; from here on nobody does
            await asyncio.sleep(0)

    async def undo_start(self, writing: int | None) -> None:
        pass

    async def discard(self) -> None:
        shutil.rmtree(self.state, ignore_errors=True)


@plant_engine("test_an_engine_after_load_is_discarded")
class LeavesWhatItHasLoaded(SmallEngine):
    """Releases everything, when nothing has run."""

    async def discard(self) -> None:
        pass


@plant_engine("test_an_engine_before_load_is_discarded")
class IsDiscardedOnce(SmallEngine):
    """May be called again."""

    async def discard(self) -> None:
        shutil.rmtree(self.state)


@plant_engine("test_a_load_that_is_cancelled_is_undone")
class LoadsOnAfterACancellation(SmallEngine):
    """It then undoes what it has begun."""

    going_on: list[asyncio.Task[None]] = []

    async def load(self, payload: SmallPayload) -> None:
        task = asyncio.create_task(self.load_slowly(payload))
        self.going_on.append(task)
        await asyncio.shield(task)

    async def load_slowly(self, payload: SmallPayload) -> None:
        await asyncio.sleep(0.05)
        await super().load(payload)


@plant_engine("test_what_cannot_start_is_discarded")
class LeaksPipesOfWhatCannotStart(SmallEngine):
    """When it raises, the engine is not consumed, and is discarded."""

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> Execution:
        os.pipe()
        return await super().start(env, stdin=stdin)


@plant_engine("test_what_cannot_start_is_discarded")
class RaisesTheErrorOfTheSystem(SmallEngine):
    """Raises: MalformedPayload, NotSupported, TaskFailed, TaskFailedInternally, Unavailable."""

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> Execution:
        subprocess.run([self.command[0], "--version"], check=False, capture_output=True)
        return await super().start(env, stdin=stdin)


@plant_engine("test_a_run_leaves_no_file_open")
class LeaksADescriptorOfEachRun(SmallEngine):
    """Releases everything."""

    async def launch(self, env: Mapping[str, str], stdin: int | None) -> None:
        os.dup(0)
        await super().launch(env, stdin)


@plant_engine("test_a_cache_outlives_an_engine_that_is_discarded")
class RemovesTheCachesOfADiscardedEngine(SmallEngine):
    """The caller owns the folder."""

    async def attach_cache(self, folder: CacheFolder, target: str, *, read_only: bool = False) -> None:
        self.cache = folder
        await super().attach_cache(folder, target, read_only=read_only)

    async def discard(self) -> None:
        await super().discard()
        await self.cache.delete()


@plant_engine("test_a_target_is_used_once_and_lies_inside")
class AttachesOutsideOfTheFolder(SmallEngine):
    """Raises: MalformedPayload (a bad target)."""

    async def attach_cache(self, folder: CacheFolder, target: str, *, read_only: bool = False) -> None:
        if ".." in target:
            return
        await super().attach_cache(folder, target, read_only=read_only)


@plant_engine("test_a_target_is_used_once_and_lies_inside")
class ReplacesACache(SmallEngine):
    """Once for each target."""

    async def attach_cache(self, folder: CacheFolder, target: str, *, read_only: bool = False) -> None:
        with suppress(FileNotFoundError):
            (self.context.folder / target).unlink()
        await super().attach_cache(folder, target, read_only=read_only)


@plant_engine("test_several_caches_have_places_of_their_own")
class AttachesOneCache(SmallEngine):
    """Makes a cache folder visible to the run at `target`."""

    attached = False

    async def attach_cache(self, folder: CacheFolder, target: str, *, read_only: bool = False) -> None:
        if not self.attached:
            self.attached = True
            await super().attach_cache(folder, target, read_only=read_only)


@plant_engine("test_a_read_only_cache_is_not_changed")
class AttachesAReadOnlyCacheForWriting(SmallEngine):
    """`read_only`."""

    async def attach_cache(self, folder: CacheFolder, target: str, *, read_only: bool = False) -> None:
        await super().attach_cache(folder, target)


@plant_engine("test_a_run_does_not_change_what_it_has_mounted")
class LinksToAMount(SmallEngine):
    """Neither the engine nor the run changes it."""

    def copy(self, path: Path, place: Path) -> None:
        place.symlink_to(path)


@plant_engine("test_a_run_reads_what_it_has_mounted")
class MountsFoldersAlone(SmallEngine):
    """`path` is a file of the worker's machine ..., or a folder with such files."""

    def copy(self, path: Path, place: Path) -> None:
        if path.is_dir():
            super().copy(path, place)


@plant_engine("test_a_mount_has_a_place_of_its_own")
class MountsWithinAMount(SmallEngine):
    """Raises: MalformedPayload (... one within another or around it)."""

    async def attach_mount(self, path: Path, target: str) -> None:
        self.mounts.clear()
        await super().attach_mount(path, target)


@plant_engine("test_a_mount_is_beside_the_caches")
class MountsWithinACache(SmallEngine):
    """Raises: MalformedPayload (a bad target)."""

    async def attach_mount(self, path: Path, target: str) -> None:
        await super().attach_mount(path, str((self.context.folder / target).resolve()))


@plant_engine("test_a_mount_outlives_an_engine_that_is_discarded")
class RemovesTheMountsOfADiscardedEngine(SmallEngine):
    """The caller owns it, and releases it after `discard`."""

    async def attach_mount(self, path: Path, target: str) -> None:
        self.content = path
        await super().attach_mount(path, target)

    async def discard(self) -> None:
        await super().discard()
        shutil.rmtree(self.content)


@plant_engine("test_an_attachment_that_is_left_out_is_not_supported")
class PretendsToHaveProxies(SmallEngine):
    """Raises: NotSupported."""

    async def attach_proxy(self, name: str, handler: object) -> None:
        pass


@plant_engine("test_a_kill_ends_what_ignores_signals", hangs=True)
class IgnoresNoSignal(SmallEngine):
    """Ends the run now, with everything that it started."""

    def execution(self, env: Mapping[str, str], stdin: int | None) -> Execution:
        class Terminated(SmallExecution):
            async def end_all(self) -> None:
                await kill_all(RUN, str(self.state), signal.SIGTERM)

        return Terminated(self.context, self.state, 0, self.environment(env), stdin)


@PLATFORMS.caught_by("test_a_run_is_kept_to_its_memory")
class RunsWithoutItsLimits(SmallPlatform):
    """Whether its engines keep a run to the memory, CPUs and processes of its task's `resources`, or refuse it"""

    def refuse(self, resources: Amounts) -> None:
        pass


@PLATFORMS.caught_by("test_a_run_is_kept_to_its_processes")
class KeepsTheMemoryAlone(SmallPlatform):
    """Whether its engines keep a run to the memory, CPUs and processes of its task's `resources`, or refuse it"""

    def refuse(self, resources: Amounts) -> None:
        super().refuse(Amounts(memory=resources.memory))


@PLATFORMS.caught_by("test_a_run_is_kept_to_its_memory")
class DoesNotSayWhichLimitItCannotKeep(SmallPlatform):
    """Whether its engines keep a run to the memory, CPUs and processes of its task's `resources`, or refuse it with
    Unavailable where they cannot."""

    def refuse(self, resources: Amounts) -> None:
        if resources.items:
            raise Unavailable("it does not work here")


@PLATFORMS.not_caught("a load that is quick has nothing to report, and the kit cannot tell")
class ReportsNoProgress(SmallPlatform):
    """`load` writes to the log what it does, and reports progress."""
