"""`taskrunner artifacts`: lists or fetches the artifacts of a run."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import click

from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.display.stdout import print_bytes
from taskrunner.cli.exit_status import NOTHING_DONE, USAGE
from taskrunner.cli.shared_options import (
    chosen_run,
    config_option,
    json_option,
    load_config,
    queue_option,
    run_option,
    submitter,
)
from taskrunner.cli.verb import CommandError, verb
from taskrunner.config.environment import home
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.model import Artifact, RunKey
from taskrunner.stores.folder import FolderStore, check_name


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

    With NAME, that artifact goes to stdout, or into the folder of --output. With --output alone, all go there.

    \b
    Example:
      taskrunner artifacts hello
      taskrunner artifacts hello public/made.txt
      taskrunner artifacts hello --output results
    """
    async with submitter(load_config(config_path, queue=queue)) as tasks:
        run = chosen_run(await tasks.status(task_id), run_id)
    found = await artifact_store().list(run) if run else []
    if name is not None:
        found = [artifact for artifact in found if artifact.name == name]
    if run is None or (name is not None and not found):
        click.echo(f"taskrunner: {task_id} has no artifact{f' {name}' if name else ''}", err=True)
        return USAGE if name is not None else NOTHING_DONE
    if name is None and output is None:
        _list(found, as_json=as_json)
    elif output in (None, "-"):
        if name is None:
            raise CommandError("--output -: name the one artifact that is to go to stdout")
        await print_bytes(artifact_store().get(run, name))
    else:
        await _fetch(artifact_store(), run, found, Path(output or ""))
    return 0


def artifact_store() -> ArtifactStore:
    """The store of the workers on this home."""
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
    """The path of an artifact below a folder. Raises CommandError when it would be outside."""
    try:
        check_name(name)
    except ValueError as error:
        raise CommandError(str(error)) from None
    target = folder / name
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise CommandError(f"{target}: a link on the way leads out of {folder}: remove it, or take another folder")
    return target


async def _save(body: AsyncIterator[bytes], artifact: Artifact, target: Path) -> None:
    """Writes the whole file or none. Replaces a file or link of that name, and does not follow the link.

    Raises: CommandError when the bytes are not those that were stored.
    """
    digest = hashlib.sha256()
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            async for piece in body:
                file.write(piece)
                digest.update(piece)
        if digest.hexdigest() != artifact.sha256:
            raise CommandError(f"{artifact.name} is damaged: its SHA-256 is not that of the stored one")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
