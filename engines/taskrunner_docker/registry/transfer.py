"""Pull and push of images, with progress over all layers, and failures in words."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import attrs

from taskrunner.errors import RunLost, TaskFailed, Unavailable
from taskrunner.model import Progress
from taskrunner_docker.api.async_stream import Stream
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.registry.login import Login, auth_header
from taskrunner_docker.registry.logins import Registries
from taskrunner_docker.registry.rate_limit import wants_fewer_requests
from taskrunner_docker.registry.references import Reference
from taskrunner_docker.registry.refusals import may_pass
from taskrunner_docker.registry.remedies import Remedies

T = TypeVar("T")

IDLE = 300.0
"""Seconds without a report, of which Docker sends several a second, before a transfer counts as stuck. Docker's own
retries of a layer pause for 20 seconds at most."""
PAUSES = (1.0, 4.0, 16.0)
"""Seconds between the attempts at a whole push or pull. Docker itself tries each layer five times, in 50 seconds;
what it has pushed by then is not sent again."""
_IN_PROGRESS = frozenset({"Downloading", "Pushing"})
_RETRYING = re.compile(r"Retrying in (\d+) seconds?")
_PULLED = "Status: "
"""How the last message of a pull begins."""
_COMPLETE = frozenset({"Download complete", "Pull complete", "Pushed"})


@attrs.frozen
class Transfers:
    """Pulls and pushes for one run."""

    client: DockerClient
    registries: Registries
    say: Callable[[str], None]
    progress: Callable[[Progress], None]

    async def pull(self, image: str, idle: float | None = None) -> None:
        """Pulls an image, in one attempt. `idle` is how many seconds may pass without a report, in place of the usual
        ones.

        Raises: TaskFailed (`pull-failed`, `login-failed`), Unavailable."""
        name = Reference.parse(image)
        self.say(f"pulling {image}")
        login = await self.registries.find(name.registry)
        query = {"fromImage": name.name, "tag": name.digest or name.tag or "latest"}
        try:
            await self._transfer("pull", image, "/images/create", query, login, idle=idle)
        except DockerError as error:
            raise self.registries.explain("pull", image, str(error)) from None

    async def push(self, image: str) -> str:
        """Logs in, pushes a tag, and returns its digest in the registry. A registry that does not answer, has a fault
        or wants fewer requests is tried again, a few times; one that refuses for good is not.

        Raises: TaskFailed (`push-failed`, `login-failed`), Unavailable.
        """
        return await self.retry(partial(self._push_remedied, image, Remedies(self.registries, self.say)))

    async def retry(self, attempt: Callable[[], Awaitable[T]], *, final: tuple[type[Unavailable], ...] = ()) -> T:
        """Calls `attempt` until it raises no Unavailable, a few times with growing pauses. Errors of the types `final`
        end it at once.

        Raises: the errors of the last attempt.
        """
        for pause in PAUSES:
            try:
                return await attempt()
            except final:
                raise
            except Unavailable as error:
                self.say(f"{error}; trying again in {pause:.0f} s")
            await asyncio.sleep(pause)
        return await attempt()

    async def _push_remedied(self, image: str, remedies: Remedies) -> str:
        while True:
            name = Reference.parse(image)
            login = await self.registries.log_in(name.registry)
            try:
                return await self._push_once(image, name, login)
            except DockerError as error:
                if not await remedies.apply(name, login, str(error)):
                    raise self.registries.explain("push", image, str(error)) from None

    async def _push_once(self, image: str, name: Reference, login: Login | None) -> str:
        """Raises: DockerError, TaskFailed, Unavailable."""
        as_whom = f" as {login.username}" if login else ""
        self.say(f"pushing {image}{as_whom}")
        digest = await self._transfer("push", image, f"/images/{name.name}/push", {"tag": name.tag or "latest"}, login)
        if not digest:
            raise TaskFailed("push-failed", f"push of {image} failed: the registry named no digest")
        self.say(f"pushed {image} ({digest})")
        return digest

    async def _transfer(
        self,
        step: str,
        image: str,
        path: str,
        query: dict[str, str],
        login: Login | None,
        *,
        idle: float | None = None,
    ) -> str:
        """Raises: DockerError, Unavailable."""
        try:
            async with await self.client.stream("POST", path, query, headers=auth_header(login)) as stream:
                return await self._follow(step, stream, idle or IDLE)
        except DockerError as error:
            if may_pass(str(error)) or not await wants_fewer_requests(image):
                raise
            raise DockerError(error.status, f"{error}; the registry answers 429 (too many requests)") from None

    async def _follow(self, step: str, stream: Stream, idle: float) -> str:
        """Reads to the end. Docker answers 200 to a push that fails, and reports the failure in the stream."""
        layers, retries, digest, is_done = Layers(step), LayerRetries(step), "", step == "push"
        async for document in stream.documents(idle):
            if "error" in document:
                raise DockerError(stream.status, str(document["error"]))
            digest = _digest(document) or digest
            is_done = is_done or str(document.get("status", "")).startswith(_PULLED)
            if moved := layers.update(document):
                self.progress(moved)
            if retry := retries.update(document):
                self.say(retry)
        if not is_done:
            raise RunLost(f"Docker ended in the middle of a {step}")
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


class LayerRetries:
    """The attempts of Docker itself at a layer: it counts the seconds before each of them."""

    def __init__(self, step: str) -> None:
        self._step = step
        self._attempts: dict[str, int] = {}
        self._waiting: set[str] = set()

    def update(self, document: dict[str, Any]) -> str:
        """Takes one message of Docker. Returns what is to be said; empty when it is nothing new."""
        layer = str(document.get("id", ""))
        pause = _RETRYING.fullmatch(str(document.get("status", "")))
        if pause is None:
            self._waiting.discard(layer)
        if pause is None or layer in self._waiting:
            return ""
        self._waiting.add(layer)
        self._attempts[layer] = attempt = self._attempts.get(layer, 0) + 1
        return f"{self._step} of layer {layer}: attempt {attempt} failed; Docker tries again in {pause[1]} s"


def _digest(document: dict[str, Any]) -> str:
    """Of a push, from its last message."""
    extra = document.get("aux")
    return str(extra.get("Digest", "")) if isinstance(extra, dict) else ""
