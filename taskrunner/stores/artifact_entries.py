"""The list of the artifacts of one run: a file for each, which names its data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs


@attrs.frozen
class Entries:
    """The folder `index` of a run. Its methods block."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()}.json"

    def all(self) -> Iterator[dict[str, Any]]:
        return (entry for path in self.folder.glob("*.json") if (entry := self.read(path)))

    def read(self, path: Path) -> dict[str, Any] | None:
        try:
            entry: dict[str, Any] = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        return entry
