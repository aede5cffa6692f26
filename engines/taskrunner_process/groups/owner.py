"""The name under which a worker's processes are found again."""

from __future__ import annotations

import hashlib
from pathlib import Path


def owner_name(worker_id: str, home: Path) -> str:
    """In the names of its control groups, and in the marker of its processes. Two workers on one machine may have the
    same id in their configuration; their homes differ, and one must not end what the other runs."""
    return f"{worker_id}.{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"
