"""Pull and push of images, with progress over all layers, and failures in words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import attrs

from taskrunner.errors import TaskFailed, Unavailable
from taskrunner.model import Progress
from taskrunner_docker.api.async_stream import Stream
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.registry.logins import Login, Registries, auth_header
from taskrunner_docker.registry.references import Reference

IDLE = 300.0
"""Seconds without a report, of which Docker sends several a second, before a transfer counts as stuck. Docker's own
retries of a layer pause for 20 seconds at most."""
PAUSES = (1.0, 3.0)
"""Seconds between the attempts at a whole push. Docker itself tries each layer five times."""
_IN_PROGRESS = frozenset({"Downloading", "Pushing"})
_COMPLETE = frozenset({"Download complete", "Pull complete", "Pushed"})


@attrs.frozen
class Transfers:
    """Pulls and pushes for one run."""

    client: DockerClient
    registries: Registries
    say: Callable[[str], None]
    progress: Callable[[Progress], None]

    async def pull(self, image: str) -> None:
        """Raises: TaskFailed (`pull-failed`, `login-failed`), Unavailable."""
        name = Reference.parse(image)
        self.say(f"pulling {image}")
        login = await self.registries.find(name.registry)
        query = {"fromImage": name.name, "tag": name.digest or name.tag or "latest"}
        await self._transfer("pull", image, "/images/create", query, login)

    async def push(self, image: str) -> str:
        """Logs in, pushes a tag, and returns its digest in the registry. After a registry that does not answer, or a
        login that has expired meanwhile, the push is tried again.

        Raises: TaskFailed (`push-failed`, `login-failed`), Unavailable.
        """
        for pause in PAUSES:
            try:
                return await self._push_once(image)
            except Unavailable as error:
                self.say(f"{error}; trying again in {pause:.0f} s")
            await asyncio.sleep(pause)
        return await self._push_once(image)

    async def _push_once(self, image: str) -> str:
        name = Reference.parse(image)
        login = await self.registries.log_in(name.registry)
        as_whom = f" as {login.username}" if login else ""
        self.say(f"pushing {image}{as_whom}")
        query = {"tag": name.tag or "latest"}
        digest = await self._transfer("push", image, f"/images/{name.name}/push", query, login)
        if not digest:
            raise TaskFailed("push-failed", f"push of {image} failed: the registry named no digest")
        self.say(f"pushed {image} ({digest})")
        return digest

    async def _transfer(self, step: str, image: str, path: str, query: dict[str, str], login: Login | None) -> str:
        try:
            async with await self.client.stream("POST", path, query, headers=auth_header(login)) as stream:
                return await self._follow(step, stream)
        except DockerError as error:
            raise self.registries.explain(step, image, str(error)) from None

    async def _follow(self, step: str, stream: Stream) -> str:
        """Reads to the end. Docker answers 200 to a push that fails, and reports the failure in the stream."""
        layers, digest = Layers(step), ""
        async for document in stream.documents(IDLE):
            if "error" in document:
                raise DockerError(stream.status, str(document["error"]))
            digest = _digest(document) or digest
            if moved := layers.update(document):
                self.progress(moved)
        return digest


class Layers:
    """Adds up the progress of all layers."""

    def __init__(self, step: str) -> None:
        self._step = step
        self._layers: dict[str, tuple[int, int]] = {}

    def update(self, document: dict[str, Any]) -> Progress | None:
        """Adds one message of Docker; None when it changes nothing."""
        layer, status = str(document.get("id", "")), document.get("status")
        detail = document.get("progressDetail") or {}
        if status in _IN_PROGRESS and "current" in detail:
            done = int(detail["current"])
            self._layers[layer] = (done, max(done, int(detail.get("total", 0))))
        elif status in _COMPLETE and layer in self._layers:
            self._layers[layer] = (self._layers[layer][1],) * 2
        else:
            return None
        done, total = (sum(column) for column in zip(*self._layers.values(), strict=True))
        return Progress(self._step, done, total)


def _digest(document: dict[str, Any]) -> str:
    """Of a push, from its last message."""
    extra = document.get("aux")
    return str(extra.get("Digest", "")) if isinstance(extra, dict) else ""
