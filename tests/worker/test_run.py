"""One run through both machines, and the events that can interrupt it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import freezegun
import pytest

from examples.test_attesting import AttestingRun
from taskrunner.errors import ClaimLost, ConfigError, Conflict, TaskFailed, Unavailable
from taskrunner.interfaces.queue import Applied, Queue
from taskrunner.machines.chart import Signal
from taskrunner.machines.task import TaskEvent
from taskrunner.model import Claim, Notice, Resolution, RunKey, TaskStatus
from taskrunner.runs.run import TaskRun
from taskrunner.testing import FakeHost, clock
from taskrunner.worker.stop_condition import StopCondition
from tests.support.forwarding_queue import ForwardingQueue
from tests.worker.conftest import World


def run_one(world: World, *, at: float | None = None, then: Any = None, **task: Any) -> TaskStatus:
    """Runs one task to its end; calls `then` at `at` seconds after its submission."""
    statuses: list[TaskStatus] = []

    async def scene() -> None:
        await world.submit(**task)
        if at is not None:
            await asyncio.sleep(at)
            await _maybe(then())
        statuses.append(await world.ended())

    world.run(scene)
    return statuses[0]


async def _maybe(result: Any) -> None:
    if asyncio.iscoroutine(result):
        await result


def ending(status: TaskStatus) -> str:
    assert status.resolution is not None
    return str(status.resolution)


def test_a_task_runs_to_its_completion(world: World) -> None:
    status = run_one(
        world,
        run_for=600,
        log="hello\n",
        files={"out/report.xml": "<ok/>"},
        artifacts=[{"name": "public/report.xml", "path": "out/report.xml"}],
        result={"image": "sha256:1"},
    )
    assert ending(status) == "completed"
    assert status.runs[0].resolution == Resolution("completed", exit_code=0, result={"image": "sha256:1"})
    assert world.visits() == [
        ("claimed", "claim"),
        ("loading", "begin"),
        ("running", "loaded"),
        ("uploading", "exited"),
        ("cleanup", "uploaded"),
        ("resolved", "cleaned"),
    ]
    assert "hello\n" in world.log()
    assert world.log().splitlines()[-1].startswith("[taskrunner] completed after 600")
    assert [a.name for a in asyncio.run(world.store.list(world.platform.run("t").key))] == ["public/report.xml"]
    assert world.is_clean()


def test_a_long_task_keeps_its_claim(world: World) -> None:
    assert ending(run_one(world, run_for=3 * 3600, max_run_time=86400)) == "completed"
    assert world.seen.warnings == []


def test_the_exit_code_decides(world: World) -> None:
    status = run_one(world, exit_code=3)
    assert ending(status) == "failed (exit-code)"
    assert status.runs[0].resolution is not None
    assert status.runs[0].resolution.exit_code == 3


def test_an_exit_code_can_ask_for_another_try(world: World) -> None:
    status = run_one(world, exit_code=75, on_exit_status={"retry": [75]}, retries=2)
    assert ending(status) == "exception (intermittent-task)"
    assert [run.run_id for run in status.runs] == [0, 1, 2]


def test_a_malformed_task_gets_all_complaints_at_once(world: World) -> None:
    status = run_one(world, run_for="long", artifacts=[{"name": "x"}], colour="red")
    assert ending(status) == "exception (malformed-payload)"
    message = status.resolution.message if status.resolution else ""
    for path in ["run_for", "artifacts[0].path", "colour"]:
        assert path in message
        assert path in world.log()
    assert world.visits()[-1] == ("resolved", "cleaned")


def test_an_unknown_platform_is_the_authors_fault(world: World) -> None:
    status = run_one(world, platform="qemu")
    assert ending(status) == "exception (malformed-payload)"
    assert "platform" in world.log()


def test_a_platform_that_fetches_nothing_refuses_a_source(world: World) -> None:
    status = run_one(world, source={"repository": "https://git.example/web.git"})
    assert ending(status) == "exception (malformed-payload)"
    assert "source: the fake platform fetches no files" in world.log()


def test_a_platform_without_absolute_paths_refuses_them_with_all_other_complaints(world: World) -> None:
    artifacts = [{"name": "a", "path": "a"}, {"name": "b", "path": "/etc/b"}, {"name": "c", "path": "/c"}]
    status = run_one(world, source={"repository": "https://git.example/web.git"}, artifacts=artifacts)
    assert ending(status) == "exception (malformed-payload)"
    for path in ("source", "artifacts[1].path", "artifacts[2].path"):
        assert f"{path}: " in world.log()


def test_a_missing_artifact_fails_a_run_that_had_succeeded(world: World) -> None:
    status = run_one(world, artifacts=[{"name": "a", "path": "nowhere.txt"}])
    assert ending(status) == "failed (artifact-missing)"
    assert "deliver" not in world.platform.trace("t")


def test_max_run_time_kills_the_run_and_keeps_its_artifacts(world: World) -> None:
    status = run_one(
        world,
        run_for=7200,
        max_run_time=60,
        files={"partial.log": "so far"},
        artifacts=[{"name": "partial.log", "path": "partial.log"}],
    )
    assert ending(status) == "failed (max-run-time)"
    assert ("uploading", "timeout") in world.visits()
    assert "kill" in world.platform.trace("t")
    assert [a.name for a in asyncio.run(world.store.list(world.platform.run("t").key))] == ["partial.log"]


def test_loading_counts_against_max_run_time(world: World) -> None:
    assert ending(run_one(world, load_for=7200, max_run_time=60)) == "failed (max-run-time)"


def test_a_task_past_its_deadline_is_an_exception(world: World) -> None:
    status = run_one(world, run_for=7200, max_run_time=86400, deadline="2030-01-01T00:30:00Z")
    assert ending(status) == "exception (deadline-exceeded)"


def test_a_cancel_kills_the_run_and_leaves_no_resources(world: World) -> None:
    status = run_one(
        world, run_for=7200, max_run_time=86400, at=110, then=lambda: world.queue.cancel("t", "not needed")
    )
    assert ending(status) == "exception (canceled)"
    assert world.visits()[-2:] == [("cleanup", "cancel"), ("resolved", "cleaned")]
    assert world.log().splitlines()[-1].endswith("not needed")
    assert world.platform.trace("t")[-2:] == ["kill", "dispose"]
    assert world.is_clean()


@pytest.mark.parametrize(("stage", "payload"), [("load", {"load_for": 600}), ("deliver", {"deliver_for": 600})])
def test_a_cancel_reaches_every_state(world: World, stage: str, payload: dict[str, Any]) -> None:
    status = run_one(world, **payload, at=100, then=lambda: world.queue.cancel("t"))
    assert ending(status) == "exception (canceled)"
    assert world.is_clean()


@pytest.mark.parametrize("stage", ["load", "start", "wait", "deliver"])
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("internal", "exception (internal-error)"),
        ("crash", "exception (internal-error)"),
        ("unavailable", "exception (resource-unavailable)"),
        ("machine", "exception (resource-unavailable)"),
        ("run-lost", "exception (worker-shutdown)"),
        ("task-failed", "failed (scripted)"),
        ("malformed", "exception (malformed-payload)"),
    ],
)
def test_an_error_of_the_engine_decides_how_the_run_ends(world: World, stage: str, error: str, expected: str) -> None:
    status = run_one(world, fail_at=stage, error=error)
    assert ending(status) == expected
    assert world.is_clean()
    assert "the script says so" in world.log()


@pytest.mark.parametrize("error", ["unavailable", "machine", "run-lost"])
def test_a_run_that_ended_through_no_fault_of_its_task_is_tried_again(world: World, error: str) -> None:
    status = run_one(world, fail_at="wait", error=error, retries=3)
    assert [run.resolution == status.resolution for run in status.runs] == [True] * 4


def test_a_leak_is_reported_and_does_not_change_the_resolution(world: World) -> None:
    assert ending(run_one(world, fail_at="dispose")) == "completed"
    assert any("left something behind" in warning for warning in world.seen.warnings)


@pytest.mark.parametrize("stage", ["load", "start", "wait", "deliver", "dispose", "kill", "abort"])
def test_a_run_that_hangs_anywhere_still_ends(world: World, stage: str) -> None:
    status = run_one(world, run_for=100, hang_at=stage, max_run_time=50)
    assert status.state == "resolved"
    assert world.visits()[-1][0] == "resolved"


def test_secrets_reach_the_run_and_not_the_log(world: World) -> None:
    run_one(world, secrets={"TOKEN": {"secret": "git"}, "OTHER": "s3cr3t-literal"}, print_env=["TOKEN", "OTHER"])
    assert world.platform.run("t").env["TOKEN"] == "value of git"
    assert "TOKEN=***" in world.log()
    assert "s3cr3t-literal" not in world.log()


def test_caches_are_kept_after_a_clean_end_only(world: World) -> None:
    cache = [{"name": "npm", "path": "cache"}]

    async def scene() -> None:
        await world.submit("fill", caches=cache, files={"cache/a": "1"})
        await world.submit("break", caches=cache, files={"cache/b": "2"}, run_for=100, max_run_time=10)
        await world.submit("look", caches=cache, print_file="cache/a")
        await world.ended("look")

    world.run(scene)
    assert "completed" in world.log("fill").splitlines()[-1]
    assert not list(world.home.glob("caches/fake/npm/*/b")), "the files of a killed run are discarded"


def test_purge_caches_discards_the_caches(world: World) -> None:
    run_one(
        world,
        exit_code=9,
        caches=[{"name": "npm", "path": "c"}],
        files={"c/a": "1"},
        on_exit_status={"purge_caches": [9]},
    )
    assert not list(world.home.glob("caches/fake/npm/*/a"))


# ---- decisions and their order --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "kind"), [("internal-error", "failed"), ("malformed-payload", "failed"), ("canceled", "failed")]
)
def test_the_type_of_an_error_decides_and_not_its_text(world: World, reason: str, kind: str) -> None:
    class FailingRun(AttestingRun):
        async def attest(self) -> Signal:
            raise TaskFailed(reason, "a reason of a plugin")

    world.run_class = FailingRun
    assert ending(run_one(world)) == f"{kind} ({reason})"


def test_a_wrong_configuration_is_an_internal_error_and_no_malformed_payload(world: World) -> None:
    plug = world.platform.plugin()

    async def opens(cls: type, options: object, context: object) -> object:
        raise ConfigError("[fake] host: no such socket")

    world.platform.plugin = lambda: type("Wrong", (plug,), {"open": classmethod(opens)})  # type: ignore[method-assign]
    status = run_one(world)
    assert ending(status) == "exception (internal-error)"
    assert status.resolution is not None
    assert status.resolution.message == "the worker's configuration: [fake] host: no such socket"


def test_an_exception_is_reported_before_its_log_is_stored(world: World) -> None:
    order: list[str] = []
    world.store.put_log = _recording(order, "log", world.store.put_log)  # type: ignore[method-assign]
    world.run_class = _reporting(order)
    assert ending(run_one(world, fail_at="load", error="unavailable", retries=0)) == "exception (resource-unavailable)"
    assert order == ["report", "log"]


def test_a_success_is_reported_after_its_log_is_stored(world: World) -> None:
    order: list[str] = []
    world.store.put_log = _recording(order, "log", world.store.put_log)  # type: ignore[method-assign]
    world.run_class = _reporting(order)
    assert ending(run_one(world)) == "completed"
    assert order == ["log", "report"]


def _recording(order: list[str], word: str, call: Callable[..., Any]) -> Callable[..., Any]:
    async def noted(*arguments: Any, **named: Any) -> Any:
        order.append(word)
        return await call(*arguments, **named)

    return noted


def _reporting(order: list[str]) -> type[TaskRun]:
    class Reporting(TaskRun):
        def tell(self, event: TaskEvent, **data: Any) -> None:
            if event == TaskEvent.REPORTED:
                order.append("report")
            super().tell(event, **data)

    return Reporting


def test_a_deadline_follows_the_system_clock(world: World) -> None:
    """The clock is set forward by a day while a run waits for its deadline."""

    def set_forward() -> None:
        freezegun.api.freeze_factories[-1].tick(timedelta(days=1))

    world.lease = 10 * 86400.0
    status = run_one(world, run_for=7200, max_run_time=86400, deadline="2030-01-02T00:00:00Z", at=10, then=set_forward)
    assert ending(status) == "exception (deadline-exceeded)"
    assert world.platform.run("t").context.task.deadline == datetime(2030, 1, 2, tzinfo=UTC)
    assert "after 60" in world.log().splitlines()[-1], "the clock is checked once a minute"


def test_the_caches_of_a_run_that_ended_with_a_code_are_kept(world: World) -> None:
    run_one(world, exit_code=9, caches=[{"name": "npm", "path": "c"}], files={"c/a": "1"})
    assert list(world.home.glob("caches/fake/npm/*/a"))


def test_a_run_has_its_task_id_and_run_id_in_the_environment(world: World) -> None:
    run_one(world, print_env=["TASK_ID", "RUN_ID", "COLOUR"], env={"COLOUR": "red"})
    assert "TASK_ID=t\nRUN_ID=0\nCOLOUR=red\n" in world.log()


def test_artifacts_of_a_run_that_is_handed_back_are_not_stored(world: World) -> None:
    async def scene() -> None:
        await world.submit(run_for=600, files={"a": "1"}, artifacts=[{"name": "a", "path": "a"}])
        await asyncio.sleep(65)
        world.host.leave(immediate=True, why="spot interruption")

    world.run(scene)
    assert asyncio.run(world.store.list(world.platform.run("t").key)) == []


def test_a_cancel_is_answered_where_the_caller_waits_for_it(world: World) -> None:
    reported: list[str] = []

    class Answering(ForwardingQueue):
        def __init__(self, inner: Queue) -> None:
            super().__init__(inner)
            self.capabilities = attrs.evolve(inner.capabilities, answers_cancel=True)

        async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
            reported.append(str(resolution))
            return "applied"

    async def scene() -> None:
        await world.submit("t", run_for=600)
        await asyncio.sleep(60)
        world.worker.cancel("t")
        world.host.leave()

    world.run(scene, wrap=Answering)
    assert reported == ["exception (canceled)"]


def test_a_complaint_of_the_platform_makes_the_payload_malformed(world: World) -> None:
    status = run_one(world, fail_at="check")
    assert ending(status) == "exception (malformed-payload)"
    assert "fail_at: the script says so, at check" in world.log()


def test_artifacts_of_a_run_that_is_tried_again_are_not_stored(world: World) -> None:
    artifact = {"name": "a", "path": "a"}
    run_one(world, exit_code=75, on_exit_status={"retry": [75]}, retries=0, files={"a": "1"}, artifacts=[artifact])
    assert asyncio.run(world.store.list(world.platform.run("t").key)) == []


@pytest.mark.parametrize("error", [ClaimLost("superseded"), Conflict("it was resolved otherwise")])
def test_a_claim_that_is_lost_at_the_report_discards_the_caches(world: World, error: Exception) -> None:
    class LosingQueue(ForwardingQueue):
        async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
            raise error

    async def scene() -> None:
        await world.submit("t", caches=[{"name": "npm", "path": "c"}], files={"c/a": "1"})
        await asyncio.sleep(10)
        world.host.leave()

    world.run(scene, wrap=LosingQueue)
    assert world.visits()[-2:] == [("cleanup", "reclaim_failed"), ("resolved", "cleaned")]
    assert str(world.seen.endings["t/0"]) == "exception (claim-expired)"
    assert not list(world.home.glob("caches/fake/npm/*/a"))


def test_the_words_about_a_lost_claim_reach_the_log_the_journal_and_the_resolution(world: World) -> None:
    class Telling(ForwardingQueue):
        async def reclaim(self, claim: Claim, *, lease: float) -> Claim:
            raise ClaimLost("deadline", "no run of this pool may go on for 30 min, nor may value of word be shown")

    async def scene() -> None:
        await world.submit("t", run_for=600, secrets={"WORD": {"secret": "word"}})
        await asyncio.sleep(100)
        world.host.leave()

    world.run(scene, wrap=Telling)
    words = "the claim was lost (deadline): no run of this pool may go on for 30 min, nor may "
    assert words in world.seen.endings["t/0"].message
    assert words in world.log()
    journal = (world.home / "runs" / "t" / "0" / "journal.jsonl").read_text()
    assert words in journal
    assert "value of word" not in journal + world.log()


def test_a_cancellation_that_a_reclaim_reports_has_the_words_of_the_submitter(world: World) -> None:
    class Silent(ForwardingQueue):
        async def notices(self) -> AsyncIterator[Notice]:
            raise Unavailable("no notices today", retry_after=3600)

    async def scene() -> None:
        await world.submit("t", run_for=600)
        await asyncio.sleep(5)
        await world.queue.cancel("t", "a newer commit is there")
        await asyncio.sleep(100)
        world.host.leave()

    world.run(scene, wrap=Silent)
    assert str(world.seen.endings["t/0"]) == "exception (canceled)"
    assert "a newer commit is there" in world.log()


def test_a_cache_that_is_read_only_is_shared(world: World) -> None:
    cache = {"name": "npm", "path": "c"}

    async def scene() -> None:
        await world.submit("fill", caches=[cache], files={"c/a": "packages"})
        await asyncio.sleep(5)
        for name in ("one", "two"):
            await world.submit(name, caches=[cache | {"read_only": True}], print_file="c/a", run_for=60)

    world.run(scene, capacity=2, stop_when=StopCondition(tasks=3))
    assert all("packages" in world.log(name) for name in ("one", "two"))


def test_an_exception_is_reported_before_its_artifacts_are_stored(world: World) -> None:
    order: list[str] = []
    world.store.put = _recording(order, "artifact", world.store.put)  # type: ignore[method-assign]
    world.run_class = _reporting(order)
    artifact = {"name": "a", "path": "a"}
    run_one(world, run_for=7200, deadline="2030-01-01T00:30:00Z", files={"a": "1"}, artifacts=[artifact])
    assert order == ["report", "artifact"]


def test_an_unknown_error_of_a_plugin_has_its_traceback_in_the_log(world: World) -> None:
    class Slow(AttestingRun):
        async def attest(self) -> Signal:
            raise TimeoutError("a plugin's own")

    world.run_class = Slow
    assert ending(run_one(world)) == "exception (internal-error)"
    assert "Traceback" in world.log()


def test_a_run_of_a_queue_that_was_reset_has_no_artifacts_of_an_earlier_one(world: World) -> None:
    artifacts = [{"name": name, "path": name, "optional": True} for name in ("a", "b")]
    run_one(world, files={"a": "old", "b": "old"}, artifacts=artifacts)
    world.host = FakeHost()
    run_one(world, files={"a": "new"}, artifacts=artifacts)
    kept = clock.run(world.store.list(RunKey("t", 0)))
    assert [artifact.name for artifact in kept] == ["a"]
    assert "another run had this number before" in world.log()


def test_a_link_in_the_place_of_a_run_s_folder_is_not_followed(world: World, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "work").mkdir(parents=True)
    (other / "work" / "keep").touch()

    async def scene() -> None:
        await world.submit("t", run_for=10)
        await asyncio.sleep(5)
        folder = world.home / "runs" / "t" / "0"
        folder.rename(folder.with_name("moved"))
        folder.symlink_to(other)
        await world.ended("t")

    world.run(scene)
    assert (other / "work" / "keep").exists()
    assert not (world.home / "runs" / "t" / "0").is_symlink()
    assert "the task has put a link in the place of runs/t/0" in (world.home / "runs/t/moved/log").read_text()
