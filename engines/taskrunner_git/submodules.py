"""The submodules of a commit, and their URLs."""

from __future__ import annotations

from io import BytesIO

from dulwich.config import ConfigFile, parse_submodules

from taskrunner_git.commit_tree import CommitTree
from taskrunner_git.failures import clone_failed
from taskrunner_git.files import read_small

GITMODULES = ".gitmodules"


def urls(tree: CommitTree) -> dict[str, str]:
    """The URL of each submodule by its path, as the commit's `.gitmodules` has them. Raises TaskFailed, Broken."""
    try:
        found = list(parse_submodules(ConfigFile.from_file(BytesIO(read_small(tree, GITMODULES)))))
    except (FileNotFoundError, IsADirectoryError):
        return {}
    except ValueError:
        raise clone_failed(f"{GITMODULES} is not well formed, or too large") from None
    return {_text(path).strip("/"): _text(url) for path, url, _ in found}


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
