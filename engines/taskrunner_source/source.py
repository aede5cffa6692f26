"""The one call of an engine: `fetch_source` to read the files of a run, `checkout` to have them in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from taskrunner.errors import Complaint, MalformedPayload, TaskFailedInternally
from taskrunner.interfaces.platform import RunContext
from taskrunner_source.fetched import FetchedSource, Owner


async def fetch_source(context: RunContext) -> FetchedSource:
    """Fetches what the `source` of the task names, to be read without a checkout. Called in `load`.

    A mirror of a repository, and a downloaded archive, are caches of the engine that no task can name. An archive is
    unpacked into a folder `source` of the run's folder.

    Raises: MalformedPayload (the task has no source; there is no such secret), TaskFailed (`clone-failed`,
    `download-failed`, `source-refused`), TaskFailedInternally (the disk, a library is missing), Unavailable.
    """
    fetched: FetchedSource = await _kind(context).fetch(context)
    return fetched


async def checkout(
    context: RunContext,
    folder: Path,
    *,
    owner: Owner | None = None,
    ignored: Sequence[str] = (),
    moved: bool = False,
) -> str:
    """Fetches the source of the task and writes its files into `folder`. Those of a repository have a `.git` beside
    them, as after `git clone --depth 1`; those of an archive are what `tar -x` makes of it. Returns the id of the
    commit, or the SHA-256 of the archive. Called in `load`; the folder is empty, and nothing else writes to it
    meanwhile.

    `owner` gets all that is written. `ignored` are paths in the folder that `git status` is not to report, such as
    those of caches. `moved` says that the files are copied elsewhere. After an error or a cancellation the folder may
    hold a part of the files.

    Raises: as `fetch_source`.
    """
    written: str = await _kind(context).checkout(context, folder, owner, ignored, moved=moved)
    return written


def _kind(context: RunContext) -> ModuleType:
    source = context.task.source
    if source is None or not (source.repository or source.archive):
        fix = 'say where the files come from: [source] repository = "https://…"'
        raise MalformedPayload(Complaint("source", "is missing", fix))
    if source.archive:
        from taskrunner_source import archive

        return archive
    if find_spec("dulwich") is None:
        raise TaskFailedInternally(
            "this worker cannot fetch a repository: dulwich is not installed here: pip install 'taskrunner-worker[git]'"
        )
    from taskrunner_source import repository

    return repository
