"""A real image registry on this machine, with or without logins, for tests, demos and benchmarks."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
import bcrypt

from tests.support.ports import free_port

_CACHE = Path(__file__).resolve().parents[2] / ".cache"
_PACKAGE_TIMEOUT = 120  # seconds to fetch or unpack a package of 4 MB
_START_TIMEOUT = 30  # seconds until it listens
_STOP_TIMEOUT = 10  # seconds until it has ended

_CONFIG = """\
version: 0.1
storage:
  filesystem: {{rootdirectory: {folder}/images}}
  delete: {{enabled: true}}
http:
  addr: "{host}"
"""
_TLS = """\
  tls: {{certificate: {certificate}, key: {certificate}}}
"""
_LOGINS = """\
auth:
  htpasswd: {{realm: registry, path: {folder}/htpasswd}}
"""


@attrs.frozen
class Registry:
    """A registry that listens."""

    host: str
    """`127.0.0.1:5123`, as in front of an image's name."""
    folder: Path
    process: subprocess.Popen[str]

    def stop(self) -> None:
        """Ends it now. May be called again."""
        self.process.kill()
        self.process.wait(_STOP_TIMEOUT)

    def digests(self) -> set[str]:
        """The digests of all its manifests."""
        found = self.folder.glob("images/docker/registry/v2/repositories/**/_manifests/revisions/sha256/*")
        return {f"sha256:{path.name}" for path in found}


@contextmanager
def registry(
    folder: Path,
    users: Mapping[str, str] | None = None,
    port: int = 0,
    *,
    address: str = "127.0.0.1",
    certificate: Path | None = None,
    starter: Sequence[str] = (),
) -> Iterator[Registry]:
    """Runs a registry, which keeps its images in `folder`. With `users` (name to password), all others are refused.
    `certificate` is a PEM file with its key, for TLS; `starter` stands in front of the command."""
    host = f"{address}:{port or free_port()}"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yml"
    text = _CONFIG + (_TLS if certificate else "") + (_LOGINS if users else "")
    config.write_text(text.format(folder=folder, host=host, certificate=certificate))
    lines = (f"{name}:{_hash(password)}\n" for name, password in (users or {}).items())
    (folder / "htpasswd").write_text("".join(lines))
    process = subprocess.Popen(
        [*starter, binary(), "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    running = Registry(host, folder, process)
    output = _Listener(process)
    try:
        output.wait()
        yield running
    finally:
        running.stop()
        output.close()


class _Listener:
    """Reads the output of a registry, so that it never waits for a reader, and notices that it listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process, self._lines, self._known = process, list[str](), threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for line in self._process.stderr or ():
            self._lines.append(line)
            if "listening on" in line:
                self._known.set()
        self._known.set()

    def wait(self) -> None:
        if not self._known.wait(_START_TIMEOUT) or self._process.poll() is not None:
            raise RuntimeError("the registry does not start:\n" + "".join(self._lines))

    def close(self) -> None:
        self._thread.join(_STOP_TIMEOUT)
        if self._process.stderr:
            self._process.stderr.close()


def binary() -> str:
    """The program: an installed one, or that of Debian's package, unpacked below the checkout; no root is needed."""
    unpacked = _CACHE / "docker-registry" / "usr" / "bin" / "docker-registry"
    installed = shutil.which("docker-registry")
    if installed is None and not unpacked.exists():
        _fetch(_CACHE / "docker-registry")
    return installed or str(unpacked)


def _fetch(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _run(folder, "apt-get", "download", "docker-registry")
    for package in folder.glob("docker-registry_*.deb"):
        _run(folder, "dpkg-deb", "-x", package.name, ".")


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=_PACKAGE_TIMEOUT)


def _hash(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
