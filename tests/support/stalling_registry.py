"""A registry whose images have a layer that never comes to its end: for tests of a pull that makes no progress."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from tests.support.partial_registry import RegistryHandler, serving_registry
from tests.support.small_server import host_of

_LAYER_SIZE = 1 << 26
"""Bytes, more than the kernel takes for a client that does not read."""
_LAYER = f"sha256:{hashlib.sha256(os.urandom(32)).hexdigest()}"
"""Of this process alone: Docker asks once for a layer that two tests pull at the same time."""
_IMAGE = json.dumps(
    {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [_LAYER]},
        "history": [{"created_by": "test"}],
    }
).encode()
_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


_MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": _MANIFEST_TYPE,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": len(_IMAGE),
            "digest": _digest(_IMAGE),
        },
        "layers": [
            {
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "size": _LAYER_SIZE,
                "digest": _LAYER,
            }
        ],
    }
).encode()


@attrs.frozen
class StallingRegistry:
    """A stalling registry that listens."""

    host: str
    came: threading.Event
    """A layer is being pulled: the first bytes are sent, and no more."""
    resume: threading.Event
    """Set by the test after the pull was given up; then the rest is sent. Docker 20.10 ends the pull at once, and
    closes the connection with the next byte that comes."""
    gone: threading.Event
    """Docker has not taken the rest."""
    pulls: list[str]
    """The path of each layer that was asked for."""


@contextmanager
def stalling_registry() -> Iterator[StallingRegistry]:
    came, resume, gone, pulls = threading.Event(), threading.Event(), threading.Event(), list[str]()

    class StallingHandler(_PullProtocol):
        def send_layer(self) -> None:
            pulls.append(self.path)
            self.head(200, _LAYER_SIZE, Content_Type="application/octet-stream")
            self.wfile.write(bytes(1000))
            came.set()
            resume.wait()
            try:
                self.wfile.write(bytes(_LAYER_SIZE - 1000))
            except OSError:
                gone.set()
            self.close_connection = True

    with serving_registry(StallingHandler, resume) as server:
        yield StallingRegistry(host_of(server), came, resume, gone, pulls)


class _PullProtocol(RegistryHandler):
    """The part of the protocol before the contents of a layer."""

    def do_GET(self) -> None:
        if "/manifests/" in self.path:
            self._answer(_MANIFEST, _MANIFEST_TYPE)
        elif self.path.endswith(_digest(_IMAGE)):
            self._answer(_IMAGE, "application/octet-stream")
        elif "/blobs/" in self.path:
            self.send_layer()
        else:
            self._answer(b"{}", "application/json")

    def do_HEAD(self) -> None:
        self.do_GET()

    def send_layer(self) -> None:
        raise NotImplementedError

    def _answer(self, body: bytes, kind: str) -> None:
        self.head(200, len(body), Content_Type=kind, Docker_Content_Digest=_digest(body))
        if self.command == "GET":
            self.wfile.write(body)
