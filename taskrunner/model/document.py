"""A task as its author wrote it, and the secrets that it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
Document = Mapping[str, Json]
"""A task as its author wrote it: plain JSON values, validated by the worker that runs it."""


@attrs.frozen
class Secret:
    """A value that must never be shown: a literal, or a name in the worker's configuration."""

    name: str = ""
    literal: str = attrs.field(default="", repr=False)
