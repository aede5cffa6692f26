"""Files and folders that the worker's user alone can read, whatever the umask is."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER, FILE = 0o700, 0o600


def make_private_folder(folder: Path) -> None:
    """Makes a folder and those above it that are missing. One that exists is left as it is. Raises OSError.

    `Path.mkdir` gives its mode to the last folder only.
    """
    try:
        new_private_folder(folder)
    except FileNotFoundError:
        make_private_folder(folder.parent)
        make_private_folder(folder)  # again: another process may remove an empty folder
    except FileExistsError:
        if not folder.is_dir():
            raise


def new_private_folder(folder: Path) -> None:
    """Raises OSError, FileExistsError."""
    folder.mkdir(mode=FOLDER)
    folder.chmod(FOLDER)  # a umask may have taken the owner's rights


def new_private_file(path: Path) -> int:
    """A new file, open for writing: its descriptor. Raises OSError, FileExistsError."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE)
    os.fchmod(file, FILE)  # as above
    return file


def write_private_file(path: Path, data: bytes) -> None:
    """Writes a new file. Raises OSError, FileExistsError."""
    with open(new_private_file(path), "wb", buffering=0) as file:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
