"""How long a claim is asked for, when it is renewed, and what a queue with limits of its own makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import pairwise
from typing import Any

import attrs
import pytest

from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.log import LogOrigin
from taskrunner.interfaces.queue import Applied, HeldClaim, Queue
from taskrunner.model import Artifact, Claim, Resolution, RunKey
from taskrunner.state.journal_reader import unfinished
from taskrunner.testing import MemoryStore
from tests.support.forwarding_queue import ForwardingQueue
from tests.worker.conftest import World
from tests.worker.test_worker import resolutions


class Limited(ForwardingQueue):
    """Has other capabilities, and remembers what it was asked for, and when."""

    def __init__(self, inner: Queue, **capabilities: Any) -> None:
        super().__init__(inner)
        self.capabilities = attrs.evolve(inner.capabilities, **capabilities)
        self.began = asyncio.get_running_loop().time()
        self.claimed: list[float] = []
        self.reclaimed: list[tuple[float, float]] = []

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        self.claimed.append(lease)
        return await self.inner.claim(n, lease=self.capabilities.lease or lease, wait=wait)

    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
        self.reclaimed.append((asyncio.get_running_loop().time() - self.began, lease))
        return await self.inner.reclaim(claim, lease=self.capabilities.lease or lease)


def run_limited(world: World, *, seconds: float, capabilities: dict[str, Any], **task: Any) -> Limited:
    """One task on a worker whose queue has these capabilities; the worker leaves after so many seconds."""
    made: list[Limited] = []

    async def scene() -> None:
        await world.submit("t", max_run_time=86400, **task)
        await asyncio.sleep(seconds)
        world.host.leave(immediate=True)

    world.run(scene, wrap=_keep(made, capabilities))
    return made[0]


def _keep(made: list[Limited], capabilities: dict[str, Any]) -> Callable[[Queue], Queue]:
    def wrap(queue: Queue) -> Queue:
        made.append(Limited(queue, **capabilities))
        return made[0]

    return wrap


def pauses(queue: Limited) -> list[float]:
    return [round(later - earlier) for (earlier, _), (later, _) in pairwise(queue.reclaimed)]


def test_a_claim_is_renewed_after_a_third_of_it_and_early_the_first_time(world: World) -> None:
    world.lease = 600
    queue = run_limited(world, seconds=900, capabilities={}, run_for=5000)
    assert queue.reclaimed[0] == (pytest.approx(60, abs=1), 600)
    assert pauses(queue) == [200, 200, 200, 200]


def test_a_queue_that_sets_its_leases_is_reclaimed_on_its_schedule(world: World) -> None:
    queue = run_limited(world, seconds=1500, capabilities={"lease": 1200.0}, run_for=5000)
    assert set(queue.claimed) == {1200}
    assert queue.reclaimed[0] == (pytest.approx(60, abs=1), 1200)
    assert pauses(queue) == [400, 400, 400]


def test_a_short_lease_of_the_queue_is_renewed_in_time(world: World) -> None:
    world.lease = 3600
    queue = run_limited(world, seconds=100, capabilities={"lease": 15.0}, run_for=60)
    assert resolutions(world, "t") == ["completed"]
    assert set(pauses(queue)) == {5}


def test_no_longer_lease_is_asked_for_than_the_queue_grants(world: World) -> None:
    world.lease = 600
    queue = run_limited(world, seconds=100, capabilities={"max_lease": 30.0}, run_for=50)
    assert set(queue.claimed) == {30}
    assert {lease for _, lease in queue.reclaimed} == {30}


def test_a_run_is_stopped_before_its_queue_lets_go_of_it_and_keeps_what_it_has_made(world: World) -> None:
    task = {"run_for": 50_000, "files": {"a": "made"}, "artifacts": [{"name": "a", "path": "a"}]}
    run_limited(world, seconds=2000, capabilities={"max_hold": 1000.0}, **task)
    assert resolutions(world, "t") == ["failed (max-run-time)"]
    assert "its queue lets no run be held for longer than 1000 s" in world.log()
    assert ("uploading", "timeout") in world.visits()
    assert world.store.bodies[world.platform.run("t").key, "a"] == b"made"


def test_a_run_that_is_not_over_when_its_queue_lets_go_of_it_is_lost(world: World) -> None:
    queue = run_limited(world, seconds=2000, capabilities={"max_hold": 1000.0}, run_for=10, deliver_for=5000, retries=0)
    assert resolutions(world, "t") == ["exception (claim-expired)"]
    assert "the claim was lost (deadline): its queue lets no run be held for longer than 1000 s" in world.log()
    assert sum(queue.reclaimed[-1]) < 1001, "no lease is asked for beyond that"
    assert len(queue.reclaimed) < 1000 / 20 + 10
    assert world.is_clean()


@attrs.frozen
class CredentialedClaim(Claim):
    """A claim as a queue has it that gives its workers new credentials at each reclaim."""

    credentials: str = attrs.field(default="", repr=False)


class Credentialed(ForwardingQueue):
    """Replaces token and credentials at each reclaim. Remembers which ones were used at each request."""

    def __init__(self, inner: Queue) -> None:
        super().__init__(inner)
        self.used: dict[str, list[str]] = {"put": [], "log": [], "resolve": []}
        self._tokens: dict[str, str] = {}

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:
        return [self._renewed(claim, 0) for claim in await self.inner.claim(n, lease=lease, wait=wait)]

    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
        renewed = await self.inner.reclaim(self._inner_of(claim), lease=lease)
        return self._renewed(renewed, int(_credentials(claim)) + 1)

    async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
        self.used["resolve"].append(_credentials(claim))
        return await self.inner.resolve(self._inner_of(claim), resolution)

    async def append_log(self, claim: Claim, offset: int, chunk: bytes, origin: LogOrigin | None = None) -> None:
        self.used["log"].append(_credentials(claim))

    def artifacts(self, held: HeldClaim) -> ArtifactStore | None:
        return AskingStore(held, self.used["put"])

    def _renewed(self, claim: Claim, number: int) -> Claim:
        fields = {field.name: getattr(claim, field.name) for field in attrs.fields(Claim)}
        token = f"token {number}"
        self._tokens[token] = claim.token
        return CredentialedClaim(**{**fields, "token": token}, credentials=str(number))

    def _inner_of(self, claim: Claim) -> Claim:
        return attrs.evolve(claim, token=self._tokens[claim.token])


class AskingStore(MemoryStore):
    """Sends each piece of a body after a minute, with the credentials of that moment."""

    def __init__(self, held: HeldClaim, used: list[str]) -> None:
        super().__init__()
        self.held, self.used = held, used

    async def put(self, run: RunKey, name: str, body: AsyncIterator[bytes], **options: Any) -> Artifact:
        for _ in range(4):
            self.used.append(_credentials(self.held()))
            await asyncio.sleep(60)
        return await super().put(run, name, body, **options)


def _credentials(claim: Claim) -> str:
    assert isinstance(claim, CredentialedClaim)
    return claim.credentials


def test_credentials_that_a_reclaim_replaces_are_seen_in_the_middle_of_an_upload(world: World) -> None:
    queues: list[Credentialed] = []

    def wrap(queue: Queue) -> Queue:
        queues.append(Credentialed(queue))
        return queues[0]

    async def scene() -> None:
        await world.submit(
            "t", run_for=100, log="line\n", log_every=30, files={"a": "1"}, artifacts=[{"name": "a", "path": "a"}]
        )
        await world.ended("t")

    world.run(scene, wrap=wrap)
    assert resolutions(world, "t") == ["completed"]
    [queue] = queues
    put = [int(number) for number in queue.used["put"]]
    assert put == sorted(set(put)), "each minute of the upload has had a reclaim"
    assert int(queue.used["log"][0]) < int(queue.used["log"][-1]), "the log as well"
    assert int(queue.used["resolve"][0]) >= put[-1]


def test_the_last_token_of_a_claim_is_what_crash_recovery_has(world: World) -> None:
    tokens: list[str] = []

    async def scene() -> None:
        await world.submit("t", run_for=100)
        await asyncio.sleep(90)
        tokens.extend(run.claim.token for run in unfinished(world.home, "w1"))
        world.host.leave()

    world.run(scene, wrap=Credentialed)
    assert tokens == ["token 4"], "reclaimed every twenty seconds"


def test_a_short_task_is_not_touched_by_the_limit_of_its_queue(world: World) -> None:
    run_limited(world, seconds=2000, capabilities={"max_hold": 1000.0}, run_for=800)
    assert resolutions(world, "t") == ["completed"]
