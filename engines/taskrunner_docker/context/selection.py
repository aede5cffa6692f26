"""Which entries of a context are sent: those that a Dockerfile copies from, without the ignored ones."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Sequence

from taskrunner_docker.api.client import FIRST_OF_23, DockerClient
from taskrunner_docker.context.follow_paths import Followed
from taskrunner_docker.context.ignore import Ignore
from taskrunner_docker.context.ignore_20_10 import Ignore20
from taskrunner_git import FileEntry


def select_entries(
    entries: Iterable[FileEntry],
    exclude: Sequence[str] = (),
    follow: Sequence[str] = (),
    rules: type[Ignore | Ignore20] = Ignore,
) -> Iterator[FileEntry]:
    """The entries that BuildKit asks for: below one of the `follow` paths, if there are any, and not excluded.

    `rules` are those of the daemon in use. With the newer ones, a folder that is excluded itself comes before the first
    entry that is sent from inside. Raises ValueError for a pattern whose syntax is wrong.
    """
    if follow:
        entries = list(entries)
        entries = filter(Followed(follow, entries), entries)
    return _without(entries, rules(exclude)) if exclude else iter(entries)


def ignore_rules(client: DockerClient) -> type[Ignore | Ignore20]:
    """The rules of this daemon."""
    return Ignore if client.speaks(FIRST_OF_23) else Ignore20


def _without(entries: Iterable[FileEntry], ignore: Ignore | Ignore20) -> Iterator[FileEntry]:
    pending: list[FileEntry] = []
    pruned = "/"
    for entry in entries:
        if entry.path.startswith(pruned):
            continue
        while pending and not entry.path.startswith(f"{pending[-1].path}/"):
            pending.pop()
        if not ignore(entry.path):
            yield from pending
            pending.clear()
            yield entry
        elif stat.S_ISDIR(entry.mode):
            if ignore.prune(entry.path):
                pruned = f"{entry.path}/"
            elif ignore.sends_read_folders:
                yield entry
            else:
                pending.append(entry)
