"""The submodules of a commit, as its `.gitmodules` describes them, and which of them are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO

import attrs
from dulwich.config import ConfigFile, Section

from taskrunner.errors import TaskFailed, Unavailable
from taskrunner_git.failures import clone_failed, quoted
from taskrunner_git.files import read_small
from taskrunner_git.trees.commit_tree import CommitTree

GITMODULES = ".gitmodules"
_LEAVE_OUT = "to leave it out, set `submodules = false`, or list those that are needed: `submodules = [paths]`"
_MAX_NAMED = 5


@attrs.frozen
class Submodule:
    """What `.gitmodules` says about a submodule. Its keys `branch` and `shallow` have no effect here, as in git: the
    commit says which commit of the submodule it needs."""

    name: str
    url: str
    skipped: bool
    """`update = none`: git leaves it empty too."""


def described(tree: CommitTree) -> dict[str, Submodule]:
    """The submodules in `.gitmodules` by their path. Raises TaskFailed, Broken."""
    try:
        config = ConfigFile.from_file(BytesIO(read_small(tree, GITMODULES)))
    except (FileNotFoundError, IsADirectoryError):
        return {}
    except ValueError:
        raise clone_failed(f"{GITMODULES} is not well formed, or too large") from None
    found = {}
    for section in config.sections():
        path, url = _value(config, section, b"path").strip("/"), _value(config, section, b"url")
        if section[0] == b"submodule" and path and url:
            name = section[1].decode("utf-8", "surrogateescape") if len(section) > 1 else ""
            found[path] = Submodule(name, url, _value(config, section, b"update") == "none")
    return found


def failed(path: str, error: TaskFailed | Unavailable) -> TaskFailed | Unavailable:
    """The same error, which names the submodule and how to do without it."""
    words = error.message.removeprefix("clone: ").removeprefix("source: ")
    message = f"submodule {quoted(path)}: {words}; {_LEAVE_OUT}"
    if isinstance(error, TaskFailed):
        return TaskFailed(error.reason, f"clone: {message}")
    return Unavailable(f"clone: {message}", error.retry_after)


class Selection:
    """The submodules that the task asks for."""

    def __init__(self, wanted: bool | Sequence[str]) -> None:
        """All, none, or those at these paths; with each of them the submodules within it."""
        self.all = wanted is True
        self._wanted = {} if isinstance(wanted, bool) else {path.strip("/"): path for path in wanted}
        self._seen: list[str] = []

    def includes(self, path: str) -> bool:
        """Whether this one is fetched, because of itself, a folder above, or a submodule within it."""
        self._seen.append(path)
        return self.all or any(_within(path, wanted) or _within(wanted, path) for wanted in self._wanted)

    def check(self) -> None:
        """Called after all submodules. Raises TaskFailed for a wanted one that does not exist."""
        for wanted, given in self._wanted.items():
            if not any(_within(path, wanted) for path in self._seen):
                raise clone_failed(f'the commit has no submodule at "{quoted(given)}"; {_known(self._seen)}')


def _known(paths: Iterable[str]) -> str:
    names = sorted(map(quoted, paths))
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return f"it has {', '.join(names[:_MAX_NAMED])}{more}" if names else "it has none"


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _value(config: ConfigFile, section: Section, name: bytes) -> str:
    try:
        return config.get(section, name).decode("utf-8", "surrogateescape")
    except KeyError:
        return ""
