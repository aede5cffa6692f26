"""The host names of one run: a file that its containers have as `/etc/hosts`.

Docker writes such names only when it makes a pause container, before a run has it. Containers that run already see each
new line at once.
"""

from __future__ import annotations

from pathlib import Path

import attrs

_FOR_ANY_USER = 0o644
"""On this machine the file is in the run's folder, which is closed to others."""


@attrs.frozen
class HostsFile:
    """Made at the first name. All methods raise OSError."""

    path: Path

    @property
    def mounted(self) -> Path | None:
        """The file, if there are names."""
        return self.path if self.path.exists() else None

    def add(self, address: str, name: str, others: bytes) -> None:
        """`others` are the lines of the pause container's own file."""
        if not self.path.exists():
            self.path.write_bytes(others)
            self.path.chmod(_FOR_ANY_USER)
        with self.path.open("ab") as file:
            file.write(f"{address}\t{name}\n".encode())

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
