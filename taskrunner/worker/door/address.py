"""The socket's file: made for its owner alone, with a path of any length.

The address of a socket has room for about a hundred bytes, and a home may be deeper. The limit holds for the text of
the address alone, so a file is reached by a short name: its descriptor in /proc, or a link in the temporary folder.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taskrunner.files.untrusted import remove_folder

MAX_ADDRESS = 100
"""Bytes that every system takes (Linux: 107, macOS: 103)."""

DESCRIPTORS = Path("/proc/self/fd")
"""Where Linux has the open files of this process, by name."""

BACKLOG = 16
"""Connections that wait to be accepted: the kernel lets further ones wait outside."""


def listen(path: Path) -> socket.socket:
    """Makes the socket `path` (mode 0600) and listens. Replaces what is there, which a dead worker has left.

    The socket is made in a folder that its owner alone can enter, and is moved to its place when it has its mode: a
    socket gets its first mode from the umask. Raises OSError.
    """
    nursery = path.with_name(f"{path.name}.new")
    remove_folder(nursery)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        nursery.mkdir(mode=0o700)
        nursery.chmod(0o700)  # the umask may have taken the owner's own rights
        with short_name(nursery) as folder:
            listening.bind(f"{folder}/s")
        (nursery / "s").chmod(0o600)
        listening.listen(BACKLOG)
        listening.setblocking(False)
        (nursery / "s").replace(path)
    except OSError:
        listening.close()
        raise
    finally:
        remove_folder(nursery)
    return listening


@contextmanager
def short_name(path: Path, descriptors: Path = DESCRIPTORS) -> Iterator[str]:
    """A name of this file or folder that fits into an address, while the block lasts. Raises OSError."""
    if len(os.fsencode(path)) <= MAX_ADDRESS - len("/s"):
        yield str(path)
    elif descriptors.is_dir():
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            yield str(descriptors / str(file))
        finally:
            os.close(file)
    else:
        with tempfile.TemporaryDirectory(prefix="tr-") as folder:
            link = Path(folder) / "w"
            link.symlink_to(path.absolute())
            yield str(link)
