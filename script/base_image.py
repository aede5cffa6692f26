"""Makes the image that tests, demos and examples build on: a static busybox with all its applets, nothing pulled.

    python script/base_image.py        prints one line: `taskrunner-base:latest sha256:…`

May run again: an image that was made from the same binary is kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import docker
from docker.errors import ImageNotFound

IMAGE = "taskrunner-base:latest"
LABEL = "taskrunner.base"
"""Its value is the digest of the image's only layer, and shows whether an image is up to date."""
CACHE = Path(__file__).resolve().parent.parent / ".cache"
TIMEOUT = 120
"""Seconds for one step: a package of 1 MB, or a layer of 2 MB."""
FOLDERS = {"tmp": 0o1777, "root": 0o700, "etc": 0o755, "var": 0o755, "home": 0o755}
FILES = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": b"root:x:0:\n",
}


def ensure_base_image(image: str = IMAGE) -> str:
    """The id of the base image, which is made when it is missing or was made from another binary.

    Raises the errors of docker, apt-get and dpkg-deb.
    """
    with _exclusive(), closing(docker.from_env(timeout=TIMEOUT)) as client:
        layer = base_layer(static_busybox())
        digest = hashlib.sha256(layer).hexdigest()
        try:
            found = client.images.get(image)
        except ImageNotFound:
            found = None
        if found is None or found.labels.get(LABEL) != digest:
            _import(client, image, layer, digest)
            found = client.images.get(image)
        return str(found.id)


def _import(client: docker.DockerClient, image: str, layer: bytes, digest: str) -> None:
    repository, _, tag = image.rpartition(":")
    client.api.import_image_from_data(
        layer,
        repository=repository,
        tag=tag,
        changes=["ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", 'CMD ["sh"]', f"LABEL {LABEL}={digest}"],
    )


def static_busybox() -> Path:
    """The system's busybox if it is static, else the one of Debian's package, unpacked into the cache folder."""
    installed = (Path(found) for name in ("busybox.static", "busybox") if (found := shutil.which(name)))
    unpacked = CACHE / "busybox-static" / "bin" / "busybox"
    for candidate in (*installed, unpacked, unpacked.parent.parent / "usr" / "bin" / "busybox"):
        if candidate.exists() and is_static(candidate):
            return candidate
    return _fetch(CACHE / "busybox-static")


def is_static(binary: Path) -> bool:
    """Whether an ELF program has no path of a dynamic loader in its first page."""
    with binary.open("rb") as file:
        head = file.read(4096)
    return head.startswith(b"\x7fELF") and b"/ld-" not in head


def _fetch(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    subprocess.run(
        ["apt-get", "download", "busybox-static"], cwd=folder, check=True, capture_output=True, timeout=TIMEOUT
    )
    for package in folder.glob("*.deb"):
        subprocess.run(
            ["dpkg-deb", "-x", package.name, "."], cwd=folder, check=True, capture_output=True, timeout=TIMEOUT
        )
    return next(path for path in (folder / "bin" / "busybox", folder / "usr" / "bin" / "busybox") if path.exists())


def base_layer(busybox: Path) -> bytes:
    """A tar of the whole file system, the same bytes for the same binary."""
    listing = subprocess.run([busybox, "--list-full"], check=True, capture_output=True, text=True, timeout=TIMEOUT)
    applets = sorted(set(listing.stdout.split()) - {"bin/busybox"})
    folders = dict.fromkeys(sorted({str(Path(applet).parent) for applet in applets} - {"."}), 0o755)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, mode in (FOLDERS | {"usr": 0o755} | folders).items():
            _add(tar, name, mode, kind=tarfile.DIRTYPE)
        _add(tar, "bin/busybox", 0o755, busybox.read_bytes())
        for name, data in FILES.items():
            _add(tar, name, 0o644, data)
        for applet in applets:
            _add(tar, applet, 0o777, kind=tarfile.SYMTYPE, link="/bin/busybox")
    return buffer.getvalue()


def _add(
    tar: tarfile.TarFile, name: str, mode: int, data: bytes = b"", *, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> None:
    info = tarfile.TarInfo(name)
    info.mode, info.size, info.type, info.linkname = mode, len(data), kind, link
    tar.addfile(info, io.BytesIO(data))


@contextmanager
def _exclusive() -> Iterator[None]:
    """One process at a time: a second import under the same name would leave the first image without a name."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "base_image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.stdout.write(f"{IMAGE} {ensure_base_image()}\n")
