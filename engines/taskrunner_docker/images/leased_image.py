"""An image that a run is about to use."""

from __future__ import annotations

import os
from typing import Any

import attrs


@attrs.define(eq=False)
class LeasedImage:
    """An image that no worker of this home removes before `release`. From the making of a container on, Docker itself
    protects its image."""

    document: dict[str, Any]
    """What Docker says of it."""
    digest: str
    """The digest of its manifest in the registry of its name; empty for one that was never there."""
    _lease: int | None = None

    @property
    def id(self) -> str:
        return str(self.document["Id"])

    def release(self) -> None:
        """May be called again."""
        if self._lease is not None:
            os.close(self._lease)
            self._lease = None
