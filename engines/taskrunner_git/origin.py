"""Where the files of a tree are from."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen
class Origin:
    """A commit of a repository, or of a submodule."""

    sha: str
    url: str
    """Without credentials."""
    tags: Mapping[str, str] = attrs.field(factory=dict)
    """The tags that mean this commit, as `refs/tags/v1`, and their objects, which are in the mirror."""
    name: str = ""
    """Of a submodule, in `.gitmodules`."""
