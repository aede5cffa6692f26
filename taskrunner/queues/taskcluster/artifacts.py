"""The artifacts of one run, at the queue: files in the queue's own storage, and words about those that are missing."""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp
import attrs
from yarl import URL

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner.interfaces.artifacts import Missing, check_new_name
from taskrunner.interfaces.push import ArtifactStream
from taskrunner.interfaces.queue import HeldClaim
from taskrunner.model import Artifact, RunKey
from taskrunner.queues.taskcluster.claim import TaskclusterClaim, credentials_of
from taskrunner.queues.taskcluster.docker_worker.log_names import backing_name
from taskrunner.queues.taskcluster.live_log import LOG_TYPE
from taskrunner.queues.taskcluster.service.answers import member
from taskrunner.queues.taskcluster.service.client import CallRefused, TaskclusterServices, network_problem
from taskrunner.queues.taskcluster.service.losses import FINAL, loss, run_state

CHUNK = 1 << 20
"""Bytes that are read from a log at a time."""

READ_LIMIT = 60.0
"""Seconds to read them from the worker's own disk."""

_ERRORS = {
    "missing": "file-missing-on-worker",
    "unreadable": "file-not-readable-on-worker",
    "too-large": "too-large-file-on-worker",
    "refused": "invalid-resource-on-worker",
}

_STALE = 403
"""The answer of the storage to a URL that has expired, or to another Content-Type than was announced."""

_BUSY = {408, 429, _STALE}


@attrs.frozen
class RunArtifacts(ArtifactStream):
    """Each request has the credentials of the claim as it is then. A file that was not taken is announced anew."""

    services: TaskclusterServices
    held: HeldClaim

    async def put(
        self,
        run: RunKey,  # noqa: ARG002  the claim names it
        name: str,
        body: AsyncIterator[bytes],
        *,
        size: int | None = None,
        content_type: str = "",
        content_encoding: str = "",  # noqa: ARG002  a translated task compresses nothing
        expires: datetime | None = None,  # noqa: ARG002  the claim has the words of the task's author
    ) -> Artifact:
        check_new_name(name)
        content_type = content_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        if size is None:
            raise ValueError("its size must be known: the storage of Taskcluster takes no other file")
        return await self._put_file(name, body, size, content_type)

    async def put_log(self, run: RunKey, spool: Path) -> None:  # noqa: ARG002  the claim names it
        """As a file, to which the name of the live log is a link from then on."""
        live = self._claim.log
        backing = backing_name(live)
        size = (await _on_disk(spool.stat)).st_size
        with await _on_disk(partial(spool.open, "rb")) as file:
            await self._put_file(backing, _chunks(file), size, LOG_TYPE)
        link = {"storageType": "link", "artifact": backing, "contentType": LOG_TYPE}
        await self._create(live, link)

    async def refer_to_log(self, url: str) -> None:
        """The name of the live log leads to this URL, until `put_log` replaces it."""
        live = self._claim.log
        await self._create(live, {"storageType": "reference", "url": url, "contentType": LOG_TYPE})

    async def put_missing(self, run: RunKey, missing: Missing) -> None:  # noqa: ARG002  the claim names it
        error = {"storageType": "error", "reason": _ERRORS[missing.reason], "message": missing.message}
        await self._create(missing.name, error)

    @property
    def _claim(self) -> TaskclusterClaim:
        return TaskclusterClaim.of(self.held())

    async def _put_file(self, name: str, body: AsyncIterator[bytes], size: int, content_type: str) -> Artifact:
        answer = await self._create(name, {"storageType": "s3", "contentType": content_type})
        sending = _Body(body, size)
        try:
            await self._send(URL(member(answer, "putUrl", str), encoded=True), sending, content_type)
        finally:
            if sending.problem:
                raise sending.problem
        return Artifact(name, size, None, content_type, self._claim.expiry_of(name))

    async def _create(self, name: str, what: dict[str, Any]) -> Any:
        """Announces an artifact. Raises ClaimLost, TaskFailedInternally, Unavailable."""
        claim = self._claim
        announced = {**what, "expires": _as_text(claim.expiry_of(name))}
        call = claim.task_id, str(claim.run_id), name, announced
        try:
            return await self.services.queue(credentials_of(claim), "createArtifact", *call)
        except CallRefused as refused:
            found = await run_state(self.services, claim.run)
            lost = refused.status in FINAL and found.state not in {"", "running"}
            problem = loss(refused, found) if lost else _refusal(name, refused)
        raise problem

    async def _send(self, url: URL, body: _Body, content_type: str) -> None:
        headers = {"Content-Type": content_type, "Content-Length": str(body.size)}
        request = self.services.transfers.put(
            url, data=body.chunks() if body.size else b"", headers=headers, allow_redirects=False
        )
        try:
            async with request as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError) as error:
            problem = f"the storage did not take it: {network_problem(error)}"
        else:
            if status in {200, 201, 204}:
                return
            if status not in _BUSY and status < 500:  # noqa: PLR2004  all of these are the storage's own errors
                raise TaskFailedInternally(f"the storage refused it with HTTP {status}")
            problem = f"the storage answered with HTTP {status}"
        raise Unavailable(problem)  # outside of `except`: the chain of causes would have the signed URL


@attrs.define
class _Body:
    """What is sent of one file. An error of its source is kept: the HTTP client would hide it."""

    source: AsyncIterator[bytes]
    size: int
    problem: Exception | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        left = self.size
        try:
            async for chunk in self.source:
                left -= len(chunk)
                if left < 0:
                    break
                yield chunk
        except Exception as error:
            self.problem = error
            raise
        if left:
            self.problem = ValueError(f"it has not the {self.size} bytes that it was said to have")
            raise self.problem


def _refusal(name: str, refused: CallRefused) -> Exception:
    if refused.status in {401, 403}:  # the credentials have ended, and a reclaim may bring new ones
        return Unavailable(f"the queue refuses {name}: {refused}")
    return TaskFailedInternally(f"the queue refuses {name}: {refused}")


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    while chunk := await _on_disk(partial(file.read, CHUNK)):
        yield chunk


async def _on_disk(work: Any) -> Any:
    return await run_blocking(work, limit=READ_LIMIT, doing="reading the log")


def _as_text(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
