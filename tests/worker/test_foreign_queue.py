"""A worker for a queue whose tasks have another form, and whose readers look for artifacts at the queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from taskrunner.errors import Complaint
from taskrunner.interfaces.artifacts import Missing
from taskrunner.interfaces.queue import HeldClaim, Queue
from taskrunner.model import Claim, Resolution, RunKey
from taskrunner.testing import MemoryStore
from tests.support.forwarding_queue import ForwardingQueue
from tests.worker.conftest import World

RUN = RunKey("t", 0)


class TellingStore(MemoryStore):
    """A store whose readers ask by name."""

    def __init__(self) -> None:
        super().__init__()
        self.missing: list[Missing] = []

    async def put_missing(self, run: RunKey, missing: Missing) -> None:
        self.missing.append(missing)


class ForeignQueue(ForwardingQueue):
    """Its authors write `foreign.FIELD`."""

    def __init__(self, queue: Queue, store: MemoryStore, own: Sequence[Complaint] = ()) -> None:
        super().__init__(queue)
        self.capabilities = attrs.evolve(queue.capabilities, late_artifacts=True)
        self._store, self._own = store, own

    def in_authors_words(self, claim: Claim, complaints: Sequence[Complaint]) -> Sequence[Complaint]:
        foreign = (
            c if c.path.startswith("foreign.") else attrs.evolve(c, path=f"foreign.{c.path}") for c in complaints
        )
        return [*self._own, *(each for each in foreign if each not in self._own)]

    def artifacts(self, held: HeldClaim) -> MemoryStore:
        return self._store


def ending(world: World, store: MemoryStore, *own: Complaint, **document: object) -> Resolution:
    """How one run ends."""

    async def scene() -> None:
        await world.submit("t", **document)
        await world.ended()

    wrap: Callable[[Queue], Queue] = lambda queue: ForeignQueue(queue, store, own)  # noqa: E731  typed for `run`
    world.run(scene, wrap=wrap)
    return world.seen.endings["t/0"]


def test_what_the_worker_finds_is_said_in_the_authors_words(world: World) -> None:
    found = ending(world, store := TellingStore(), max_run_time=0, exit_code="0")
    assert found.reason == "malformed-payload"
    assert [line.split(":")[0] for line in found.message.splitlines()] == ["foreign.max_run_time", "foreign.exit_code"]
    assert "foreign.max_run_time" in store.log(RUN), "the log of an exception comes after its report"


def test_what_the_queue_finds_alone_is_a_malformed_payload(world: World) -> None:
    found = ending(world, TellingStore(), Complaint("foreign.feature", "does not exist"))
    assert (str(found), found.message) == ("exception (malformed-payload)", "foreign.feature: does not exist")
    assert "t/0 loaded" not in world.seen.moves


def test_what_both_find_is_said_together(world: World) -> None:
    found = ending(world, TellingStore(), Complaint("foreign.feature", "does not exist"), max_run_time=0)
    assert [line.split(":")[0] for line in found.message.splitlines()] == ["foreign.feature", "foreign.max_run_time"]


def test_what_is_missing_is_told_with_its_reason(world: World) -> None:
    artifacts = [
        {"name": "a.xml", "path": "a.xml"},
        {"name": "gone.xml", "path": "gone.xml"},
        {"name": "maybe.xml", "path": "maybe.xml", "optional": True},
    ]
    found = ending(world, store := TellingStore(), files={"a.xml": "<a/>"}, artifacts=artifacts)
    assert str(found) == "failed (artifact-missing)"
    assert [(each.name, each.reason) for each in store.missing] == [("gone.xml", "missing"), ("maybe.xml", "missing")]
    assert store.bodies[RUN, "a.xml"] == b"<a/>"


def test_what_an_exception_leaves_is_handed_over_where_a_queue_takes_it(world: World) -> None:
    files = {"a.xml": "<a/>"}
    artifacts = [{"name": "a.xml", "path": "a.xml"}]
    found = ending(
        world, store := TellingStore(), files=files, artifacts=artifacts, run_for=600, deadline="2030-01-01T00:01:00Z"
    )
    assert str(found) == "exception (deadline-exceeded)"
    assert store.bodies[RUN, "a.xml"] == b"<a/>"
    assert store.log(RUN) == world.log()
