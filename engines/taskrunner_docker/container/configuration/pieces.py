"""The body of Docker's `POST /containers/create`, merged from pieces.

Each module beside this one knows one subject, such as the mounts, and returns a `Piece`. The engine merges them. A new
subject is a new module, and one more line in `ContainerEngine._pieces`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from taskrunner.errors import Bug


@attrs.frozen
class Piece:
    """A part of the body. Its values are plain JSON."""

    config: Mapping[str, Any] = attrs.field(factory=dict)
    """Keys beside `HostConfig`: `Image`, `Env`, ..."""
    host_config: Mapping[str, Any] = attrs.field(factory=dict)
    """Keys of `HostConfig`: `Mounts`, `Memory`, ..."""


def merged(pieces: Iterable[Piece]) -> dict[str, Any]:
    """The body. Lists of the same key are joined, and tables united; any other key belongs to one piece alone."""
    body: dict[str, Any] = {}
    host_config: dict[str, Any] = {}
    for piece in pieces:
        _add(body, piece.config)
        _add(host_config, piece.host_config)
    return {**body, "HostConfig": host_config}


def _add(target: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        target[key] = _joined(key, target[key], value) if key in target else value


def _joined(key: str, old: Any, new: Any) -> Any:
    match old, new:
        case list(), list():
            return [*old, *new]
        case dict(), dict() if not old.keys() & new.keys():
            return {**old, **new}
    raise Bug(f"two parts of a container's configuration set {key}")
