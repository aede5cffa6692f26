"""What one pruning has removed."""

from __future__ import annotations

import attrs


@attrs.define
class Pruned:
    """Counts of what was removed, or would be."""

    runs: int = 0
    """Whose log and artifacts went."""
    size: int = 0
    """Bytes of these logs, and of artifacts where they were measured."""
    expired: int = 0
    """Artifacts that had passed their own `expires`."""
    tasks: int = 0
    """That the queue has forgotten."""
    journals: int = 0
    """Runs of which nothing is left."""
    caches: int = 0
    problems: list[str] = attrs.field(factory=list)
    """What could not be removed, a line each. It is tried again by the next pruning."""
