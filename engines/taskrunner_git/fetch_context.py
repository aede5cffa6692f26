"""What all parts of one fetch share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs

from taskrunner.connections import Connections
from taskrunner.model import Progress


@attrs.frozen
class FetchContext:
    """One fetch, with its submodules."""

    connections: Connections
    say: Callable[[str], None]
    """Writes a line into the log."""
    progress: Callable[[Progress], None]
    ca_file: Path | None = None
    """Authorities in PEM format that are trusted beside the usual ones."""
