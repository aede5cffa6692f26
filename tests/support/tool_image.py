"""Images with programs of this machine: the base image has busybox alone, and nothing is pulled."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import docker

_LIBRARY = re.compile(r"(?:=>\s+)?(/\S+) \(0x")
_LEFT_OUT = {"test", "tests", "site-packages", "dist-packages", "__pycache__", "idlelib", "lib2to3", "ensurepip"}
"""Parts of Python's own library that no project needs to be tested."""


@contextmanager
def image_with(api: docker.APIClient, base: str, name: str, files: Iterable[Path]) -> Iterator[str]:
    """The base image with these files at the paths that they have here, until the end of the block."""
    image = f"{name}-{uuid.uuid4().hex[:8]}"
    made = api.create_container(base, ["true"])
    try:
        api.put_archive(made["Id"], "/", _packed(files))
        api.commit(made["Id"], image)
    finally:
        api.remove_container(made["Id"])
    try:
        yield image
    finally:
        api.remove_image(image, force=True)


def program(name: str) -> list[Path]:
    """A program on the PATH, with the libraries that it needs."""
    found = shutil.which(name)
    assert found, name
    return [Path(found), *libraries(Path(found).resolve())]


def python() -> list[Path]:
    """The Python that this one is made of, with its own library."""
    library = Path(sysconfig.get_path("stdlib"))
    files = [path for path in library.rglob("*") if not _LEFT_OUT.intersection(path.relative_to(library).parts)]
    native = [path for path in files if path.suffix == ".so"]
    return [interpreter(), *libraries(interpreter(), *native), *(path for path in files if _is_used(path))]


def _is_used(path: Path) -> bool:
    """Whether it is a file that a program loads: static libraries are for linkers, and are half of all bytes."""
    return path.is_file() and path.suffix != ".a"


def interpreter() -> Path:
    return Path(sys.executable).resolve()


def libraries(*binaries: Path) -> list[Path]:
    """What the dynamic loader loads for them, and the loader itself."""
    printed = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False).stdout
    return sorted({Path(path) for path in _LIBRARY.findall(printed)})


def _packed(files: Iterable[Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as tar:
        for path in sorted(set(files)):
            tar.add(path, str(path).lstrip("/"), recursive=False)
    return buffer.getvalue()
