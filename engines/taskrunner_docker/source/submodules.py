"""Which submodules a commit has, and where they come from."""

from __future__ import annotations

from io import BytesIO

from dulwich.config import ConfigFile, parse_submodules

from taskrunner_docker.source.failure import clone_failed
from taskrunner_docker.source.tree import Tree

GITMODULES = ".gitmodules"
_MOST_SIZE = 1 << 20
"""Bytes of a `.gitmodules`; one with a thousand submodules has a tenth of that."""


def urls(tree: Tree) -> dict[str, str]:
    """The URL of each submodule by its path, as the commit's `.gitmodules` has them. Raises TaskFailed, Broken."""
    try:
        data = b""
        for piece in tree.read(GITMODULES):
            data += piece
            if len(data) > _MOST_SIZE:
                raise clone_failed(f"{GITMODULES} is absurdly large")
    except (FileNotFoundError, IsADirectoryError):
        return {}
    try:
        found = list(parse_submodules(ConfigFile.from_file(BytesIO(data))))
    except ValueError:
        raise clone_failed(f"{GITMODULES} is not well formed") from None
    return {_text(path).strip("/"): _text(url) for path, url, _ in found}


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
