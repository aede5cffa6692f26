"""MemoryLog and MemoryStore: a log and an artifact store in memory."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import mimetypes
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

from taskrunner.interfaces.artifacts import LOG_NAME, ArtifactStore
from taskrunner.interfaces.log import Log
from taskrunner.interfaces.results import READ_SIZE
from taskrunner.model import Artifact, RunKey

MASKED = b"[masked]"

SHORTEST = 4
"""Fewer characters from the middle of a base64 text say nothing, and are found everywhere."""


class MemoryLog(Log):
    """A log that can be read at any time. It masks when it is read, so that borders of calls do not matter."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._raw = bytearray()
        self._secrets: set[bytes] = set()
        self._ended = False

    def write(self, data: bytes) -> None:
        with self._lock:
            if not self._ended:
                self._raw += data

    def mask(self, secret: str) -> None:
        with self._lock:
            self._secrets |= _forms(secret.encode())

    def end(self) -> None:
        """The run is over: writes go nowhere from now on."""
        self._ended = True

    @property
    def data(self) -> bytes:
        """Everything so far, without the secrets."""
        with self._lock:
            text = bytes(self._raw)
            for form in sorted(self._secrets, key=len, reverse=True):
                text = text.replace(form, MASKED)
            return text

    @property
    def text(self) -> str:
        """The same for people; what is no UTF-8 shows as `�`."""
        return self.data.decode(errors="replace")


def _forms(secret: bytes) -> set[bytes]:
    """What a secret looks like: as it is, in a URL, and in base64, which depends on where in the text it begins."""
    if not secret:
        return set()
    forms = {secret, quote(secret, safe="").encode()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        forms.add(encode(secret))
        for before in range(3):
            begin = (before * 8 + 5) // 6  # the first character that holds bits of nothing but the secret
            end = (before + len(secret)) * 8 // 6
            if end - begin >= SHORTEST:
                forms.add(encode(bytes(before) + secret)[begin:end])
    return forms


class MemoryStore(ArtifactStore):
    """Artifacts in memory: `bodies[RunKey("t1", 0), "public/report.xml"]`."""

    def __init__(self) -> None:
        self.bodies: dict[tuple[RunKey, str], bytes] = {}
        self._types: dict[tuple[RunKey, str], str] = {}

    async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], *, content_type: str = "") -> Artifact:
        key = run, _checked(name)
        data = b"".join([chunk async for chunk in body])
        self.bodies[key] = data
        self._types[key] = content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return self._artifact(key)

    async def put_log(self, run: RunKey, spool: Path) -> None:
        self.bodies[run, LOG_NAME] = await asyncio.to_thread(spool.read_bytes)
        self._types[run, LOG_NAME] = "text/plain"

    async def get(self, run: RunKey, name: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        key = run, _checked(name)
        if key not in self.bodies:
            raise FileNotFoundError(f"{run} has no artifact {name}")
        for begin in range(offset, len(self.bodies[key]), READ_SIZE):
            yield self.bodies[key][begin : begin + READ_SIZE]

    async def list(self, run: RunKey) -> list[Artifact]:
        return [self._artifact(key) for key in sorted(self.bodies, key=str) if key[0] == run and key[1] != LOG_NAME]

    def log(self, run: RunKey) -> str:
        """The log of a run, as text."""
        return self.bodies[run, LOG_NAME].decode(errors="replace")

    def _artifact(self, key: tuple[RunKey, str]) -> Artifact:
        body = self.bodies[key]
        return Artifact(key[1], len(body), hashlib.sha256(body).hexdigest(), self._types[key])


def _checked(name: str) -> str:
    if any(part in {"", ".", ".."} for part in name.split("/")):
        raise ValueError(f"{name!r} is no artifact name: use a relative path without empty parts, . or ..")
    return name


__all__ = ["MASKED", "MemoryLog", "MemoryStore"]
