"""The daemon's copies of contexts, and which of them are still what a build needs.

BuildKit takes the id of a session for the name of the files that it serves: of an id that it knows it takes its own
copy, and requests nothing. With a new id, it compares its copy of the same shared key with the whole list of files. So
a build has the id of an earlier one exactly when both have the same files:

- That build was the last one with this shared key, so that nothing has changed the copy since.
- It ended well, so that the copy is whole.
- It had the same `state`, which names all that the list of files and the parts that a Dockerfile reads depend on.

Each build takes the record away before it begins, and leaves one when it has ended well. A build that fails, is
cancelled or is killed leaves none, and of two builds at one time only one has the id. Where the daemon has removed its
copy, it requests the files as ever.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path

import attrs
import cattrs

from taskrunner.files.private import make_private_folder, write_private_file

MAX_RECORDS = 1024
"""Contexts, each a file of 200 bytes: the oldest go first."""


@attrs.frozen
class Copy:
    """What the daemon has of one context."""

    session_id: str
    """Of the session that served it."""
    state: str
    entries: int
    """Files, folders and links in the list."""


@attrs.frozen
class Copies:
    """The records of one worker, one file for each shared key. Nothing here fails: a record that cannot be read or
    written costs time, and no more."""

    folder: Path

    def take(self, shared_key: str, state: str) -> Copy | None:
        """The copy of a context in this state, for this caller alone. Whatever was recorded is forgotten."""
        record = self._record(shared_key)
        try:
            data = record.read_bytes()
            record.unlink()  # fails for all but one
            copy = cattrs.structure(json.loads(data), Copy)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, cattrs.BaseValidationError):
            return None
        return copy if state and copy.state == state else None

    def keep(self, shared_key: str, copy: Copy) -> None:
        """Records a copy, after the build that made or used it has ended well."""
        if not copy.state:
            return
        record = self._record(shared_key)
        new = record.with_name(f"{record.name}.{secrets.token_hex(4)}")
        with suppress(OSError):
            make_private_folder(self.folder)
            self._remove_oldest()
            write_private_file(new, json.dumps(attrs.asdict(copy)).encode())
            new.replace(record)

    def _record(self, shared_key: str) -> Path:
        return self.folder / hashlib.sha256(shared_key.encode()).hexdigest()[:32]

    def _remove_oldest(self) -> None:
        with os.scandir(self.folder) as found:
            times = [(entry.stat(follow_symlinks=False).st_mtime_ns, entry.path) for entry in found]
        for _, path in sorted(times)[: max(len(times) - MAX_RECORDS + 1, 0)]:
            Path(path).unlink(missing_ok=True)
