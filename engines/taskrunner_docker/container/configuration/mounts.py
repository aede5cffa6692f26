"""What of this machine a container sees: folders and files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from taskrunner_docker.container.configuration.pieces import Piece


def mounts_piece(mounts: Iterable[Mapping[str, Any]]) -> Piece:
    return Piece(host_config={"Mounts": [dict(mount) for mount in mounts]})


def bind(source: Path, target: str, *, read_only: bool = False) -> dict[str, Any]:
    """A folder or a file of this machine at a path in the container."""
    return {"Type": "bind", "Source": str(source.absolute()), "Target": target, "ReadOnly": read_only}
