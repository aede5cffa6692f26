"""`taskrunner logs` and `artifacts`: what tasks have left."""

from __future__ import annotations

import hashlib
import json
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import click

from taskrunner.cli.display.sanitize import WholeLines, harmless
from taskrunner.cli.options import (
    USAGE,
    Complaint,
    config_option,
    json_option,
    load_config,
    printable,
    queue_option,
    submitter,
    verb,
)
from taskrunner.config.environment import home
from taskrunner.interfaces.artifacts import LOG_NAME, ArtifactStore
from taskrunner.interfaces.queue import Submitter
from taskrunner.log.reader import follow, read
from taskrunner.model import Artifact, RunKey, TaskStatus
from taskrunner.state.journal import FINAL, RunFolder, read_journal
from taskrunner.state.worker_lock import dead_workers
from taskrunner.stores.folder import FolderStore, check_name

NOTHING_THERE = 1
"""The exit status when there is no log, or no artifact."""

run_option = click.option("--run", "run_id", type=click.IntRange(0), metavar="N", help="This run; otherwise the last.")


# ---- logs -----------------------------------------------------------------------------------------------


@click.command("logs")
@click.argument("task_id", metavar="ID")
@run_option
@click.option("-f", "--follow", "live", is_flag=True, help="Wait for more, until the task (or that run) is resolved.")
@click.option(
    "--offset", type=click.IntRange(0), default=0, metavar="BYTES", help="Leave out so much of its beginning."
)
@config_option
@queue_option
@verb
async def logs_verb(
    task_id: str, *, run_id: int | None, live: bool, offset: int, config_path: Path | None, queue: str | None
) -> int:
    r"""Print the log of a task: that of its last run, with lines of the worker's own marked [taskrunner].

    The bytes are printed as the task wrote them; on a terminal, whatever would give it orders is left out, but colours.

    With -f it waits for a task that is pending, goes on while it runs, and through the runs that follow when it is
    tried again.

    \b
    Example:
      taskrunner logs hello -f
      taskrunner logs hello --run 0 > first-try.log
    """
    async with submitter(load_config(config_path, queue=queue)) as tasks:
        status = await tasks.status(task_id)
        printed = await _print(
            _followed(tasks, status, run_id, offset) if live else _log_now(_run_of(status, run_id), offset)
        )
    if printed or live or offset:
        return 0
    click.echo(f"taskrunner: {task_id} is {status.state} and has no log" + _advice(status), err=True)
    return NOTHING_THERE


def _advice(status: TaskStatus) -> str:
    return "" if status.state == "resolved" else " yet: -f waits for it"


async def _print(pieces: AsyncIterator[bytes]) -> int:
    """Copies to stdout: untouched, but for what a terminal would obey. Returns how many bytes came."""
    size, lines, shown = 0, WholeLines(), sys.stdout.isatty()
    async for piece in pieces:
        _write(_for_terminal(lines.feed(piece)) if shown else piece)
        size += len(piece)
    _write(_for_terminal(lines.rest))
    return size


def _for_terminal(lines: bytes) -> bytes:
    return harmless(lines).encode() if lines else b""


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _run_of(status: TaskStatus, run_id: int | None) -> RunKey | None:
    """The run that is meant; None when there is none yet. Raises Complaint for one that there is not."""
    known = [run.run_id for run in status.runs]
    if run_id is not None and run_id not in known:
        has = f"it has {', '.join(map(str, known))}" if known else "it has none yet"
        raise Complaint(f"{status.task_id} has no run {run_id}: {has}")
    return RunKey(status.task_id, known[-1] if run_id is None else run_id) if known else None


async def _log_now(run: RunKey | None, offset: int) -> AsyncIterator[bytes]:
    """The log of a run as far as it is: from its folder, or else from the store."""
    if run is None:
        return
    path = RunFolder(home(), run).log
    if path.exists():
        async for piece in read(path, offset):
            yield piece
        return
    try:
        async for piece in _store().get(run, LOG_NAME, offset=offset):
            yield piece
    except FileNotFoundError:
        return


async def _followed(tasks: Submitter, status: TaskStatus, run_id: int | None, offset: int) -> AsyncIterator[bytes]:
    """The logs of a run, or of the last one and all that follow it, until the task is resolved."""
    if run_id is not None:
        run = _run_of(status, run_id)
        async for piece in _log_of(tasks, run, offset) if run else _log_now(None, offset):
            yield piece
        return
    first = max((run.run_id for run in status.runs), default=0)
    async for change in tasks.watch(status.task_id):
        for each in change.runs:
            if each.run_id >= first:
                async for piece in _log_of(tasks, RunKey(status.task_id, each.run_id), offset):
                    yield piece
                first, offset = each.run_id + 1, 0


async def _log_of(tasks: Submitter, run: RunKey, offset: int) -> AsyncIterator[bytes]:
    """The log of one run, until the queue says that it is over and its worker has written the last of it."""
    folder = RunFolder(home(), run)

    async def ended() -> bool:
        status = await tasks.status(run.task_id)
        known = [each for each in status.runs if each.run_id == run.run_id and each.resolved]
        return bool(known) and _is_closed(folder, known[0].worker_id)

    read_any = False
    async for piece in follow(folder.log, offset, ended=ended):
        read_any = True
        yield piece
    if not read_any:
        async for piece in _log_now(run, offset):
            yield piece


def _is_closed(folder: RunFolder, worker_id: str) -> bool:
    """Whether nobody writes a run's log any more: a run that was cancelled is over for its queue before its worker has
    stopped it."""
    records = read_journal(folder.journal)
    return not records or any(record.state == FINAL for record in records) or worker_id in dead_workers(home())


# ---- artifacts ------------------------------------------------------------------------------------------


@click.command("artifacts")
@click.argument("task_id", metavar="ID")
@click.argument("name", required=False)
@run_option
@click.option("--output", metavar="DIR", help="Fetch into this folder, under their names; `-` is stdout.")
@config_option
@queue_option
@json_option
@verb
async def artifacts_verb(
    task_id: str,
    *,
    name: str | None,
    run_id: int | None,
    output: str | None,
    config_path: Path | None,
    queue: str | None,
    as_json: bool,
) -> int:
    r"""List what a task has left, or fetch it.

    With NAME, that one goes to stdout, or into the folder that --output names. With --output alone, all go there.

    \b
    Example:
      taskrunner artifacts hello
      taskrunner artifacts hello public/made.txt
      taskrunner artifacts hello --output results
    """
    async with submitter(load_config(config_path, queue=queue)) as tasks:
        run = _run_of(await tasks.status(task_id), run_id)
    found = await _store().list(run) if run else []
    if name is not None:
        found = [artifact for artifact in found if artifact.name == name]
    if run is None or (name is not None and not found):
        click.echo(f"taskrunner: {task_id} has no artifact{f' {name}' if name else ''}", err=True)
        return USAGE if name is not None else NOTHING_THERE
    if name is None and output is None:
        _list(found, as_json=as_json)
    elif output in (None, "-"):
        if name is None:
            raise Complaint("--output -: name the one artifact that is to go to stdout")
        await _print(_store().get(run, name))
    else:
        await _fetch(_store(), run, found, Path(output or ""))
    return 0


def _store() -> ArtifactStore:
    return FolderStore(home() / "artifacts")


def _list(found: list[Artifact], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([attrs.asdict(artifact) for artifact in found], indent=2))
        return
    width = max((len(artifact.name) for artifact in found), default=0)
    for artifact in found:
        click.echo(f"{printable(artifact.name):<{width}}  {artifact.size:>12,} bytes  sha256 {artifact.sha256}")


async def _fetch(store: ArtifactStore, run: RunKey, found: list[Artifact], folder: Path) -> None:
    for artifact in found:
        target = _place(folder, artifact.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        await _save(store.get(run, artifact.name), artifact, target)
        click.echo(target)


def _place(folder: Path, name: str) -> Path:
    """Where an artifact goes below a folder. Raises Complaint when that would be elsewhere."""
    try:
        check_name(name)
    except ValueError as error:
        raise Complaint(str(error)) from None
    target = folder / name
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise Complaint(f"{target}: a link on the way leads out of {folder}: remove it, or take another folder")
    return target


async def _save(body: AsyncIterator[bytes], artifact: Artifact, target: Path) -> None:
    """Writes a file that is whole or not there. Replaces what has the name, and follows no link of that name.

    Raises: Complaint when it is not what was put.
    """
    digest = hashlib.sha256()
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            async for piece in body:
                file.write(piece)
                digest.update(piece)
        if digest.hexdigest() != artifact.sha256:
            raise Complaint(f"{artifact.name} is damaged: it has not the SHA-256 with which it was kept")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
