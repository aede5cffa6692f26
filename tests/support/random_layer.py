"""A layer of an image that no registry has."""

from __future__ import annotations

import io
import os
import tarfile


def random_layer(size: int = 10_000) -> bytes:
    """Of so many bytes, which cannot be compressed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("random")
        info.size = size
        tar.addfile(info, io.BytesIO(os.urandom(size)))
    return buffer.getvalue()
