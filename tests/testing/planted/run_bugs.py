"""Bugs of platforms: a run after its start, commands beside it, and its results."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import signal
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from taskrunner import Exec, Execution, FolderResults, Input, Results, RunContext
from taskrunner.interfaces.execution import NO_VARIABLES, Size
from taskrunner.interfaces.results import Entry
from tests.testing.planted.small_exec import SmallExec
from tests.testing.planted.small_platform import (
    KILLED,
    PLATFORMS,
    SmallEngine,
    SmallExecution,
    SmallPlatform,
    SmallResults,
)
from tests.testing.planted.small_processes import EXEC, INTERVAL, RUN, PipeInput, kill, kill_all, processes


def with_execution(execution: type[SmallExecution]) -> type[SmallPlatform]:
    """A platform whose executions are of this class, which also names it and cites the clause."""

    class WithExecution(SmallEngine):
        def execution(self, env: Mapping[str, str], stdin: int | None) -> Execution:
            return execution(self.context, self.state, 0, self.environment(env), stdin)

    class WithEngine(SmallPlatform):
        def engine(self, context: RunContext, state: Path) -> SmallEngine:
            return WithExecution(context, state)

    WithEngine.__name__, WithEngine.__doc__ = execution.__name__, execution.__doc__
    return WithEngine


def plant_execution(test: str, *, hangs: bool = False) -> Any:
    return lambda execution: PLATFORMS.caught_by(test, hangs=hangs)(with_execution(execution))


def plant_exec(test: str, *, hangs: bool = False) -> Any:
    """Plants a class of commands beside the main one."""

    def plant(command: type[SmallExec]) -> type[SmallPlatform]:
        class WithExec(SmallExecution):
            async def start_exec(
                self, argv: Sequence[str], env: dict[str, str], folder: Path, tty: Size | None
            ) -> SmallExec:
                return await command.start(argv, env, folder, tty)

        WithExec.__name__, WithExec.__doc__ = command.__name__, command.__doc__
        return PLATFORMS.caught_by(test, hangs=hangs)(with_execution(WithExec))

    return plant


def plant_results(test: str, *, hangs: bool = False) -> Any:
    """Plants a class of results."""

    def plant(results: type[SmallResults]) -> type[SmallPlatform]:
        class WithResults(SmallExecution):
            def results(self, code: int) -> Results:
                return results(self.context, self.state, code)

        WithResults.__name__, WithResults.__doc__ = results.__name__, results.__doc__
        return PLATFORMS.caught_by(test, hangs=hangs)(with_execution(WithResults))

    return plant


# ---- the output -----------------------------------------------------------------------------------------


@plant_execution("test_the_last_words_of_a_run_are_kept")
class LosesTheTailOfTheLog(SmallExecution):
    """All output is in the log when `wait` returns."""

    async def copy_rest(self) -> None:
        pass


@plant_execution("test_a_last_line_without_an_end_is_kept")
class LosesALastLineWithoutAnEnd(SmallExecution):
    """Its output goes to the run's log."""

    def write(self, data: bytes) -> None:
        super().write(data[: data.rfind(b"\n") + 1])


@plant_execution("test_output_that_is_no_text_is_kept_as_it_is")
class TurnsOutputIntoText(SmallExecution):
    """Bytes as the task wrote them."""

    def write(self, data: bytes) -> None:
        self.offset += len(data)
        self.context.log.write(data.decode(errors="replace").replace("\r\n", "\n").encode(), "both")


@plant_execution("test_a_flood_of_output_is_kept_whole")
class KeepsAMebibyteOfOutput(SmallExecution):
    """Its output goes to the run's log."""

    def write(self, data: bytes) -> None:
        if self.offset < 1 << 20:
            self.context.log.write(data, "both")
        self.offset += len(data)


@plant_execution("test_output_comes_while_the_run_goes_on", hangs=True)
class WritesTheLogAtTheEnd(SmallExecution):
    """As it comes."""

    async def copy_output(self) -> None:
        if self.over:
            await super().copy_output()


@plant_execution("test_what_goes_to_the_standard_error_is_in_the_log")
class DropsTheStandardError(SmallExecution):
    """Its output goes to the run's log."""

    def write(self, data: bytes) -> None:
        self.offset += len(data)
        self.context.log.write(b"".join(line for line in data.splitlines(keepends=True) if b"error" not in line))


# ---- the end --------------------------------------------------------------------------------------------


@plant_execution("test_every_wait_gives_the_same_results")
class GivesNewResultsEachTime(SmallExecution):
    """Every call returns the same Results."""

    async def wait(self) -> Results:
        await super().wait()
        return self.results(self.exit_code())


@plant_execution("test_a_wait_that_is_cancelled_does_not_end_the_run")
class EndsWithACancelledWait(SmallExecution):
    """Cancelling it ends the wait, not the run."""

    async def wait(self) -> Results:
        return await self.end


@plant_execution("test_the_exit_code_is_reported")
class AlwaysSucceeds(SmallExecution):
    """The command's exit code."""

    def exit_code(self) -> int:
        return min(super().exit_code(), 1)


@plant_execution("test_a_kill_keeps_the_files_so_far")
class SaysTheSignalAsANegativeCode(SmallExecution):
    """128 plus the signal's number when a signal ended it."""

    def exit_code(self) -> int:
        code = super().exit_code()
        return -signal.SIGKILL if code == KILLED else code


@plant_execution("test_a_kill_keeps_the_files_so_far")
class LosesTheFilesOfAKilledRun(SmallExecution):
    """Keeps what it has made so far."""

    async def kill(self) -> Results:
        results = await super().kill()
        for path in self.context.folder.iterdir():
            path.unlink()
        return results


@plant_execution("test_a_kill_keeps_the_files_so_far")
class KillsTheFirstProcessAlone(SmallExecution):
    """With everything that it started."""

    async def end_all(self) -> None:
        (self.state / "status").write_text(str(KILLED))
        kill(sorted(processes(RUN, str(self.state)))[:1])


@plant_execution("test_a_kill_ends_what_has_left_the_session", hangs=True)
class KillsTheProcessGroup(SmallExecution):
    """With everything that it started."""

    async def end_all(self) -> None:
        pids = sorted(processes(RUN, str(self.state)))
        with suppress(ProcessLookupError):
            group = os.getpgid(pids[0]) if pids else 0
            while group and any(os.getpgid(pid) == group for pid in processes(RUN, str(self.state))):
                os.killpg(group, signal.SIGKILL)
                await asyncio.sleep(0.005)


@plant_execution("test_a_kill_after_the_end_gives_the_results_of_that_end")
class KillsWhatHasEnded(SmallExecution):
    """When the run has ended already, returns the Results of that end."""

    async def kill(self) -> Results:
        await self.wait()
        return self.results(KILLED)


@plant_execution("test_a_run_ends_with_its_command")
class LeavesWhatTheCommandHasStarted(SmallExecution):
    """What it has left running is ended."""

    async def end_all(self) -> None:
        if not (self.state / "status").exists():
            await super().end_all()


@plant_execution("test_a_run_ends_with_its_command", hangs=True)
class WaitsForTheLastProcess(SmallExecution):
    """Waits for the end."""

    def has_ended(self) -> bool:
        self.missed = 0 if processes(RUN, str(self.state)) else self.missed + 1
        return self.missed > 3


@plant_execution("test_after_an_abort_there_are_no_results")
class HasResultsAfterAnAbort(SmallExecution):
    """Bug (after `abort`)."""

    async def wait(self) -> Results:
        await asyncio.wait([self.end])
        return self.end.result()


@plant_execution("test_after_an_abort_there_are_no_results")
class AbortsOnce(SmallExecution):
    """May be called again."""

    async def abort(self) -> None:
        if self.aborted:
            raise RuntimeError("aborted already")
        await super().abort()


@plant_execution("test_after_an_abort_there_are_no_results")
class LeavesTheRunAliveAfterAnAbort(SmallExecution):
    """Ends the run now and removes everything."""

    async def abort(self) -> None:
        self.aborted = True


@plant_execution("test_a_run_that_has_ended_can_be_aborted")
class RemovesNothingWhenItIsAborted(SmallExecution):
    """`kill` and `dispose` in one call."""

    async def abort(self) -> None:
        self.aborted = True
        await self.end_all()
        await self.end


@plant_execution("test_a_run_whose_log_fails_is_removed_whole")
class AbortsWithTheErrorOfTheRun(SmallExecution):
    """A line for each thing that could not be removed."""

    async def abort(self) -> None:
        self.aborted = True
        await self.end_all()
        await (await self.end).dispose()


@plant_execution("test_an_input_that_is_open_does_not_hold_up_the_end", hangs=True)
class LastsUntilItsInputIsClosed(SmallExecution):
    """Waits for the end of the command."""

    async def run_to_end(self) -> Results:
        while self.input and self.input.number >= 0:
            await self.copy_output()
            await asyncio.sleep(INTERVAL)
        return await super().run_to_end()


@plant_execution("test_a_kill_frees_who_writes_to_the_input", hangs=True)
class LeavesWhoWritesToItsInput(SmallExecution):
    """`write` raises BrokenPipeError when there is no reader any more."""

    @property
    def stdin(self) -> Input:
        assert self.input
        return StuckInput(self.input.number)


@plant_execution("test_an_input_reaches_the_command_as_it_is")
class WritesLinesAsOnUnix(SmallExecution):
    """The standard input is the execution's `stdin`."""

    @property
    def stdin(self) -> Input:
        assert self.input
        return UnixInput(self.input.number)


class UnixInput(PipeInput):
    async def write(self, data: bytes) -> None:
        await super().write(data.replace(b"\r\n", b"\n"))


@plant_execution("test_a_run_is_recovered")
class HasNoHandle(SmallExecution):
    """Text by which `Platform.recover` finds the execution after a crash."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.handle = ""


@plant_execution("test_no_command_line_shows_a_secret")
class KeepsTheVariablesInItsHandle(SmallExecution):
    """Text, enough to recover it: it is written to the journal."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.handle = f"{self.state} {dict(self.env)}"


# ---- commands -------------------------------------------------------------------------------------------


@plant_execution("test_a_command_sees_the_files_of_its_run")
class StartsCommandsInTheFolderOfTheWorker(SmallExecution):
    """Starts one more command beside the main one. `cwd` is relative to the working folder of the run."""

    def exec_folder(self) -> Path:
        return Path.cwd()


@plant_execution("test_a_command_sees_the_files_of_its_run")
class IgnoresTheFolderOfACommand(SmallExecution):
    """`cwd` is relative to the working folder of the run."""

    async def new_exec(
        self, command: Sequence[str], *, tty: Size | None = None, env: Mapping[str, str] = NO_VARIABLES, cwd: str = ""
    ) -> Exec:
        return await super().new_exec(command, tty=tty, env=env)


@plant_execution("test_a_command_has_more_variables_than_its_run")
class StartsCommandsWithTheirOwnVariablesAlone(SmallExecution):
    """`env` is added to the run's environment, and overrides it."""

    async def start_exec(
        self, command: Sequence[str], env: dict[str, str], folder: Path, tty: Size | None
    ) -> SmallExec:
        own = {name: value for name, value in env.items() if self.env.get(name) != value or name in {"PATH", RUN}}
        return await super().start_exec(command, own, folder, tty)


@plant_execution("test_a_command_ends_with_its_run")
class StartsCommandsAfterTheEnd(SmallExecution):
    """TaskFailed (the run has ended)."""

    async def new_exec(
        self, command: Sequence[str], *, tty: Size | None = None, env: Mapping[str, str] = NO_VARIABLES, cwd: str = ""
    ) -> Exec:
        return await self.start_exec(command, {**self.env, **env}, self.exec_folder() / cwd, tty)


@plant_exec("test_a_command_does_not_see_the_environment_of_the_worker")
class PassesTheEnvironmentOfTheWorkerToCommands(SmallExec):
    """`env` is added to the run's environment."""

    @classmethod
    def environment(cls, env: dict[str, str], mark: str) -> dict[str, str]:
        return {**os.environ, **super().environment(env, mark)}


@plant_exec("test_a_command_ends_with_its_run", hangs=True)
class OutlivesItsRun(SmallExec):
    """It ends with the run at the latest."""

    @classmethod
    def environment(cls, env: dict[str, str], mark: str) -> dict[str, str]:
        complete = super().environment(env, mark)
        return {name: value for name, value in complete.items() if name != RUN}


@plant_exec("test_errors_of_a_command_are_apart_from_its_output")
class MixesErrorsWithOutput(SmallExec):
    """`stdout`, with a terminal that of stderr as well."""

    @property
    def stdout(self) -> AsyncIterator[bytes]:
        return self.read(self.errors)

    @property
    def stderr(self) -> AsyncIterator[bytes]:
        return self.read(None)


@plant_exec("test_a_command_prints_and_ends")
class LosesTheOutputOfACommand(SmallExec):
    """The output."""

    @property
    def stdout(self) -> AsyncIterator[bytes]:
        return self.read(None)


@plant_exec("test_what_a_command_copies_is_whole", hangs=True)
class ReadsAPartOfTheOutput(SmallExec):
    """The output. The caller reads it to its end."""

    async def read(self, number: int | None) -> AsyncIterator[bytes]:
        async for data in super().read(number):
            yield data
            if len(data) > 1 << 12:
                return


@plant_exec("test_a_signal_that_ended_a_command_is_a_negative_status")
class SaysTheSignalAsAnExitCode(SmallExec):
    """Minus the signal's number when a signal ended it."""

    async def wait(self) -> int:
        status = await super().wait()
        return 128 - status if status < 0 else status


@plant_exec("test_an_abort_ends_what_the_command_has_started")
class AbortsTheFirstProcess(SmallExec):
    """Kills the command and what it started."""

    async def abort(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.wait()


@plant_exec("test_a_command_is_aborted_and_the_run_goes_on")
class AbortsTheRunToo(SmallExec):
    """Kills the command and what it started."""

    async def abort(self) -> None:
        [mark] = {run_of(pid) for pid in processes(EXEC, self.mark)} or {""}
        await kill_all(RUN, mark)
        await super().abort()


def run_of(pid: int) -> str:
    variables = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return next(each.partition("=")[2] for each in variables if each.startswith(f"{RUN}="))


@plant_exec("test_only_a_terminal_has_a_size")
class ResizesAnything(SmallExec):
    """Raises NotSupported without one."""

    async def resize(self, rows: int, columns: int) -> None:
        with suppress(OSError):
            self.tty = True
            await super().resize(rows, columns)


@plant_exec("test_a_command_sees_the_size_of_its_terminal")
class KeepsTheFirstSize(SmallExec):
    """Sets the size of the terminal."""

    async def resize(self, rows: int, columns: int) -> None:
        if not (self.tty and self.transports and self.resized):
            self.resized = True
            await super().resize(rows, columns)

    resized = False


@plant_exec("test_an_abort_frees_who_writes_to_a_command", hangs=True)
class WaitsForARoomThatNeverComes(SmallExec):
    """Raises BrokenPipeError when there is no reader any more."""

    @property
    def stdin(self) -> Input:
        return StuckInput(self.input.number)


class StuckInput(PipeInput):
    async def write(self, data: bytes) -> None:
        try:
            await super().write(data)
        except BrokenPipeError:
            await asyncio.get_running_loop().create_future()


class DeafInput(PipeInput):
    async def write(self, data: bytes) -> None:
        with suppress(BrokenPipeError):
            await super().write(data)


@plant_exec("test_a_command_that_has_ended_reads_no_more")
class WritesToNobody(SmallExec):
    """Raises BrokenPipeError when there is no reader any more."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.input = DeafInput(self.input.number)


# ---- results --------------------------------------------------------------------------------------------


@plant_results("test_a_large_file_is_streamed")
class ReadsTheWholeFile(SmallResults):
    """Streams the contents."""

    async def archive_file(self, path: str) -> Entry:
        entry = await super().archive_file(path)
        whole = b"".join([chunk async for chunk in entry.read()])

        async def read() -> AsyncIterator[bytes]:
            file = io.BytesIO(whole)
            while chunk := file.read(1 << 18):
                yield chunk

        return attrs.evolve(entry, read=read)


@plant_results("test_a_large_file_is_archived_whole")
class ReadsOnePiece(SmallResults):
    """Streams the contents."""

    async def archive_file(self, path: str) -> Entry:
        entry = await super().archive_file(path)

        async def read() -> AsyncIterator[bytes]:
            yield await anext(entry.read())

        return attrs.evolve(entry, read=read)


@plant_results("test_a_link_out_of_the_folder_is_not_followed")
class FollowsEveryLink(SmallResults):
    """Links that lead out of the run's folder are not followed."""

    async def archive_file(self, path: str) -> Entry:
        return plain_entry(self.folder / path, Path(path).name)


@plant_results("test_a_path_does_not_leave_the_folder")
class LeavesTheFolderByDots(SmallResults):
    """One file of the run."""

    async def archive_file(self, path: str) -> Entry:
        if ".." in path:
            return plain_entry(self.folder / path, Path(path).name)
        return await super().archive_file(path)


def plain_entry(path: Path, name: str) -> Entry:
    if path.is_dir():
        raise IsADirectoryError(name)

    async def read() -> AsyncIterator[bytes]:
        yield path.read_bytes()

    return Entry(name, path.stat().st_size, read)


class PlainFolderResults(SmallResults):
    """All regular files below a folder, in the order of their names."""

    def paths(self, folder: Path) -> list[Path]:
        return sorted(path for path in folder.rglob("*") if path.is_file())

    async def archive_folder(self, path: str) -> AsyncIterator[Entry]:
        await anext(super().archive_folder(path), None)  # its errors
        for each in self.paths(self.folder / path):
            yield plain_entry(each, str(each.relative_to(self.folder / path)))


@plant_results("test_odd_names_are_names")
class LeavesOutHiddenFiles(PlainFolderResults):
    """All regular files below a folder."""

    def paths(self, folder: Path) -> list[Path]:
        return [path for path in super().paths(folder) if not path.name.startswith(".")]


@plant_results("test_a_folder_is_archived_in_the_order_of_its_names")
class ListsFilesBackwards(PlainFolderResults):
    """In the order of their names."""

    def paths(self, folder: Path) -> list[Path]:
        return super().paths(folder)[::-1]


@plant_results("test_a_folder_is_archived_in_the_order_of_its_names")
class ListsOneLevel(PlainFolderResults):
    """All regular files below a folder."""

    def paths(self, folder: Path) -> list[Path]:
        return [path for path in super().paths(folder) if path.parent == folder]


@plant_results("test_what_a_store_has_not_taken_is_read_again")
class ReadsOnce(SmallResults):
    """Streams the contents, from the beginning with each call."""

    async def archive_folder(self, path: str) -> AsyncIterator[Entry]:
        async for entry in super().archive_folder(path):
            yield attrs.evolve(entry, read=partial(next, iter([entry.read()])))


@plant_results("test_what_is_no_regular_file_is_left_out")
class ListsPipes(PlainFolderResults):
    """All regular files below a folder."""

    def paths(self, folder: Path) -> list[Path]:
        return sorted(path for path in folder.rglob("*") if not path.is_dir())


@plant_results("test_a_link_out_of_the_folder_is_not_followed")
class LeavesOutLinksSilently(SmallResults):
    """A link that leaves the run's folder is left out and named in the log."""

    def __init__(self, context: RunContext, state: Path, code: int) -> None:
        super().__init__(context, state, code)
        FolderResults.__init__(self, context.folder, SilentLog(), code)


class SilentLog:
    def say(self, text: str) -> None:
        pass


@plant_results("test_a_path_that_is_no_file_has_an_error_of_its_own")
class RaisesAKeyError(SmallResults):
    """Raises: FileNotFoundError, IsADirectoryError, PermissionError."""

    async def archive_file(self, path: str) -> Entry:
        try:
            return await super().archive_file(path)
        except FileNotFoundError:
            raise KeyError(path) from None


@plant_results("test_the_result_of_deliver_is_json")
class DeliversAPath(SmallResults):
    """Returns a description of it as JSON values."""

    async def deliver(self) -> Any:
        return {"image": self.folder}


@plant_results("test_how_a_run_ended_is_said_in_json_values")
class HasDetailsThatAreNoJson(SmallResults):
    """How it ran, as JSON values for the run's `result`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.details = {"folder": self.folder}  # type: ignore[dict-item]


@plant_results("test_results_are_disposed_of_once_or_twice")
class RemovesNothing(SmallResults):
    """Removes everything that is left of the run."""

    async def dispose(self) -> None:
        pass


@plant_results("test_results_are_disposed_of_once_or_twice")
class IsDisposedOfOnce(SmallResults):
    """May be called again."""

    gone = False

    async def dispose(self) -> None:
        if self.gone:
            raise FileNotFoundError(self.state)
        self.gone = True
        await super().dispose()


@plant_results("test_everything_is_archived_as_one_tar_stream")
class ArchivesNothing(SmallResults):
    """A folder with everything in it."""

    def add(self, tar: tarfile.TarFile, folder: Path) -> None:
        pass


@plant_results("test_everything_is_archived_as_one_tar_stream")
class ArchivesOnce(SmallResults):
    """Streams the contents, from the beginning with each call."""

    async def tar(self, folder: Path) -> AsyncIterator[bytes]:
        async for piece in super().tar(folder):
            yield piece
        shutil.rmtree(folder)


@plant_results("test_an_archive_is_of_the_folder_that_is_asked_for")
class ArchivesEverythingAlways(SmallResults):
    """Members are named relative to the folder."""

    def add(self, tar: tarfile.TarFile, folder: Path) -> None:
        super().add(tar, self.folder)


@plant_results("test_an_archive_is_of_the_folder_that_is_asked_for")
class ArchivesFilesAlone(SmallResults):
    """Folders, regular files, and symbolic links as links."""

    def add(self, tar: tarfile.TarFile, folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                tar.add(path, path.relative_to(folder))


@plant_results("test_an_archive_is_of_the_folder_that_is_asked_for")
class ArchivesAFile(SmallResults):
    """Raises NotADirectoryError."""

    async def archive(self, path: str = ".") -> Entry:
        return await (self.archive_file(path) if (self.folder / path).is_file() else super().archive(path))


@plant_results("test_an_archive_is_of_the_folder_that_is_asked_for")
class ArchivesTheMachine(SmallResults):
    """Raises PermissionError (a link that leaves)."""

    async def archive(self, path: str = ".") -> Entry:
        folder = (self.folder / path).resolve()
        return Entry(path, None, lambda: self.tar(folder)) if folder.is_dir() else await super().archive(path)


@plant_results("test_an_archive_is_streamed")
class ArchivesInMemory(SmallResults):
    """As one tar stream, never in memory."""

    async def tar(self, folder: Path) -> AsyncIterator[bytes]:
        yield b"".join([piece async for piece in super().tar(folder)])
