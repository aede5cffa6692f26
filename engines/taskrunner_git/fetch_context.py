"""What all parts of one fetch share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs

from taskrunner.connections import Connections
from taskrunner.interfaces.source import SourceLimits
from taskrunner.model import Progress
from taskrunner.schema.repositories import RepositoryRules
from taskrunner_git.protocol.watch import Watch


@attrs.frozen
class FetchContext:
    """One fetch, with its submodules."""

    connections: Connections
    say: Callable[[str], None]
    """Writes a line into the log."""
    progress: Callable[[Progress], None]
    limits: SourceLimits
    watch: Watch
    rules: RepositoryRules
    """The repositories that may be fetched from, for submodules and redirects too."""
    ca_file: Path | None = None
    """Authorities in PEM format that are trusted beside the usual ones."""
