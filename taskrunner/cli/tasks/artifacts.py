"""`taskrunner artifacts`: lists or fetches the artifacts of a run."""

from __future__ import annotations

import hashlib
import json
import secrets
import tempfile
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import attrs
import click

from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.display.stdout import print_bytes
from taskrunner.cli.exit_status import NOTHING_DONE, USAGE
from taskrunner.cli.shared_options import (
    chosen_run,
    config_option,
    found_status,
    json_option,
    load_config,
    opened_store,
    queue_option,
    run_option,
    submitter,
)
from taskrunner.cli.verb import CommandError, check_stdout, verb
from taskrunner.errors import TaskFailedInternally
from taskrunner.files.archives.decompression import decompressed
from taskrunner.history.run_log import pruned_note, worker_home
from taskrunner.interfaces.artifacts import ArtifactStore, check_artifact_name
from taskrunner.interfaces.results import READ_SIZE
from taskrunner.model import Artifact, RunKey, TaskStatus

ENCODINGS = frozenset({"gzip", "zstd"})
"""What a task may have its artifacts compressed by."""


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
    r"""List the artifacts of a task, or fetch them.

    With NAME, that artifact goes to stdout, or into the folder of --output. With --output alone, all go there. What was
    compressed on its way into the store is decompressed.

    ID may be the beginning of an id, where only one task has it.

    \b
    Example:
      taskrunner artifacts hello
      taskrunner artifacts hello public/made.txt
      taskrunner artifacts hello --output results
    """
    settings = load_config(config_path, queue=queue)
    async with submitter(settings) as tasks:
        status = await found_status(tasks, task_id)
        run = chosen_run(status, run_id)
        async with opened_store(tasks, settings, worker_home(status, run)) as store:
            return await _show(store, status, run, name=name, output=output, as_json=as_json)


async def _show(
    store: ArtifactStore, status: TaskStatus, run: RunKey | None, *, name: str | None, output: str | None, as_json: bool
) -> int:
    task_id, gone = status.task_id, pruned_note(status, run)
    found = await store.list(run) if run else []
    if name is not None:
        found = [artifact for artifact in found if artifact.name == name]
    if run is None or (name is not None and not found):
        click.echo(f"taskrunner: {task_id} has no artifact{f' {name}' if name else ''}{gone}", err=True)
        return USAGE if name is not None else NOTHING_DONE
    if not found and (gone or not as_json):
        click.echo(f"taskrunner: {task_id} has no artifacts{gone}", err=True)
        return NOTHING_DONE
    if name is None and output is None:
        _list(found, as_json=as_json)
    elif output in (None, "-"):
        if name is None:
            raise CommandError("--output -: name the one artifact that is to go to stdout")
        check_stdout()
        await _print(store.get(run, name), found[0])
    else:
        await _fetch(store, run, found, Path(output or ""))
    return 0


def _list(found: list[Artifact], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([artifact_json(artifact) for artifact in found], indent=2))
        return
    width = max((len(artifact.name) for artifact in found), default=0)
    for artifact in found:
        packed = f"  {artifact.content_encoding}" if artifact.content_encoding else ""
        digest = f"  sha256 {artifact.sha256}" if artifact.sha256 else ""
        until = f"  until {artifact.expires.astimezone():%Y-%m-%d %H:%M}" if artifact.expires else ""
        click.echo(f"{printable(artifact.name):<{width}}  {artifact.size:>12,} bytes{packed}{digest}{until}")


def artifact_json(artifact: Artifact) -> dict[str, Any]:
    """As `--json` prints it."""
    return attrs.asdict(artifact) | {"expires": artifact.expires.isoformat() if artifact.expires else None}


async def _fetch(store: ArtifactStore, run: RunKey, found: list[Artifact], folder: Path) -> None:
    for artifact in found:
        target = _place(folder, artifact.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        await _save(store.get(run, artifact.name), artifact, target)
        click.echo(target)


def _place(folder: Path, name: str) -> Path:
    """The path of an artifact below a folder. Raises CommandError when it would be outside."""
    try:
        check_artifact_name(name)
    except ValueError as error:
        raise CommandError(str(error)) from None
    target = folder / name
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise CommandError(f"{target}: a link on the way leads out of {folder}: remove it, or take another folder")
    return target


async def _print(body: AsyncIterator[bytes], artifact: Artifact) -> None:
    if not artifact.content_encoding:
        await print_bytes(body)
        return
    with tempfile.TemporaryFile() as file:
        await _write_checked(body, artifact, file)
        await print_bytes(_decoded(file, artifact))


async def _save(body: AsyncIterator[bytes], artifact: Artifact, target: Path) -> None:
    """Writes the whole file or none. Replaces a file or link of that name, and does not follow the link.

    Raises: CommandError when the bytes are not those that were stored.
    """
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("x+b") as file:
            await _write_checked(body, artifact, file)
            if artifact.content_encoding:
                part.unlink()
                with part.open("xb") as plain:
                    async for piece in _decoded(file, artifact):
                        plain.write(piece)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


async def _write_checked(body: AsyncIterator[bytes], artifact: Artifact, file: IO[bytes]) -> None:
    """Raises CommandError when the bytes are not those that were stored."""
    digest = hashlib.sha256()
    async for piece in body:
        file.write(piece)
        digest.update(piece)
    if artifact.sha256 not in {None, digest.hexdigest()}:
        raise CommandError(f"{artifact.name} is damaged: its SHA-256 is not that of the stored one")


async def _decoded(file: IO[bytes], artifact: Artifact) -> AsyncIterator[bytes]:
    """The contents of a compressed artifact, of which `file` has all bytes. Raises CommandError."""
    if artifact.content_encoding not in ENCODINGS:
        raise CommandError(f"{artifact.name} is compressed by {artifact.content_encoding}, which is not known here")
    file.seek(0)
    try:
        reader = decompressed(cast("BinaryIO", file), artifact.content_encoding)
        while piece := reader.read(READ_SIZE):
            yield piece
    except TaskFailedInternally:
        raise CommandError(
            f"{artifact.name} is compressed by {artifact.content_encoding}: install taskrunner-worker[archives]"
        ) from None
    except (EOFError, OSError, zlib.error) as error:
        raise CommandError(f"{artifact.name} cannot be decompressed: {error}") from None
