"""Claims, leases and reports against the server, with its faults."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskrunner.errors import ClaimLost, ConfigError, Conflict, Unavailable
from taskrunner.model import COMPLETED, Claim, Resolution, exception, failed
from taskrunner.queues.taskcluster.claim import TaskclusterClaim
from taskrunner.queues.taskcluster.service import client
from taskrunner.queues.taskcluster.service.bounded_answer import MAX_ANSWER
from tests.support.taskcluster.opened import PAYLOAD, claimed, opened
from tests.support.taskcluster.server import TaskclusterServer


@pytest.fixture
def server() -> Iterator[TaskclusterServer]:
    with TaskclusterServer(poll=0.1) as server:
        yield server


def test_the_read_timeout_outlasts_the_wait_of_the_queue() -> None:
    assert client.CALL_TIMEOUT.sock_read is not None
    assert client.CALL_TIMEOUT.sock_read >= 35
    assert client.CALL_TIMEOUT.total is not None
    assert client.CALL_TIMEOUT.total >= 35


def test_a_lease_is_counted_by_the_clock_of_the_queue(server: TaskclusterServer) -> None:
    """It may be hours away from that of the worker."""
    server.advance(5 * 3600)

    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            assert claim.valid_until is not None
            left = claim.valid_until - asyncio.get_running_loop().time()
            assert 1190 < left <= 1200
            renewed = await queue.reclaim(claim, lease=60)
            assert renewed.valid_until is not None
            assert 1190 < renewed.valid_until - asyncio.get_running_loop().time() <= 1200

    asyncio.run(main())


def test_a_reclaim_brings_credentials_that_replace_the_old(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            server.advance(1000)
            renewed = await queue.reclaim(claim, lease=60)
            assert renewed.token != claim.token
            assert "secret" not in repr(renewed)
            assert renewed.token not in repr(renewed)
            server.advance(700)  # the first ones have ended, with the five minutes of grace
            with pytest.raises(ClaimLost):
                await queue.resolve(claim, COMPLETED)
            assert await queue.resolve(renewed, COMPLETED) == "applied"

    asyncio.run(main())


LOSSES: dict[str, tuple[Callable[[TaskclusterServer], None], str]] = {
    "canceled": (lambda server: server.cancel("one"), "canceled"),
    "past its deadline": (lambda server: server.advance(86_400 + 1), "deadline"),
    "its claim has expired": (lambda server: server.advance(1201), "expired"),
    "its credentials have ended": (lambda server: _without_resolver(server, 1200 + 301), "expired"),
    "resolved by another": (lambda server: _report(server, "completed"), "resolved"),
    "ended by the worker manager": (lambda server: _report(server, "worker-shutdown"), "superseded"),
    "removed": (lambda server: server.tasks.known.clear(), "resolved"),
}


def _without_resolver(server: TaskclusterServer, seconds: float) -> None:
    server.tasks.resolves = False
    server.advance(seconds)


def _report(server: TaskclusterServer, reason: str) -> None:
    with server.changing():
        server.tasks.report("one", 0, "completed" if reason == "completed" else "exception", reason)


@pytest.mark.parametrize(("happens", "why"), LOSSES.values(), ids=LOSSES)
def test_a_lost_claim_says_why(server: TaskclusterServer, happens: Callable[..., None], why: str) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            happens(server)
            with pytest.raises(ClaimLost) as lost:
                await queue.reclaim(claim, lease=60)
            assert lost.value.why == why
            with pytest.raises((ClaimLost, Conflict)):
                await queue.resolve(claim, failed("exit-code", "1"))

    asyncio.run(main())


def test_a_late_reclaim_works_until_the_resolver_has_run(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            _without_resolver(server, 1260)
            assert (await queue.reclaim(claim, lease=60)).run == claim.run

    asyncio.run(main())


def test_a_loss_needs_no_status(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            server.cancel("one")
            server.fault("status", "error")
            with pytest.raises(ClaimLost) as lost:
                await queue.reclaim(claim, lease=60)
            assert lost.value.why == "resolved"

    asyncio.run(main())


ENDINGS = [
    (COMPLETED, "completed"),
    (failed("max-run-time", "too long"), "failed"),
    (exception("worker-shutdown", ""), "exception/worker-shutdown"),
    (exception("claim-expired", ""), "exception/worker-shutdown"),
    (exception("intermittent-task", ""), "exception/intermittent-task"),
    (exception("resource-unavailable", ""), "exception/intermittent-task"),
    (exception("malformed-payload", ""), "exception/malformed-payload"),
    (exception("internal-error", ""), "exception/internal-error"),
    (exception("anything-else", ""), "exception/internal-error"),
]


@pytest.mark.parametrize(("resolution", "state"), ENDINGS, ids=[str(ending) for ending, _ in ENDINGS])
def test_each_end_has_its_report(server: TaskclusterServer, resolution: Resolution, state: str) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            assert await queue.resolve(claim, resolution) == "applied"
            assert server.runs("one")[0] == state

    asyncio.run(main())


@pytest.mark.parametrize("resolution", [COMPLETED, failed("exit-code", ""), exception("worker-shutdown", "")])
def test_a_report_whose_answer_is_lost_is_sent_again(server: TaskclusterServer, resolution: Resolution) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            report = {"completed": "reportCompleted", "failed": "reportFailed"}.get(resolution.kind, "reportException")
            server.fault(report, "lost")
            with pytest.raises(Unavailable):
                await queue.resolve(claim, resolution)
            assert await queue.resolve(claim, resolution) in {"applied", "already-so"}
            assert len(server.runs("one")) == (2 if resolution.kind == "exception" else 1)

    asyncio.run(main())


def test_at_its_deadline_the_queue_resolves_a_task_itself(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            with pytest.raises(ClaimLost, match="deadline"):
                await queue.resolve(claim, exception("deadline-exceeded", "it is late"))
            assert server.calls("reportException") == []

    asyncio.run(main())


@pytest.mark.parametrize("call", ["claimWork", "reclaimTask", "reportCompleted"])
@pytest.mark.parametrize("kind", ["error", "drop", "busy", "lost"])
def test_an_outage_is_unavailable_and_passes(server: TaskclusterServer, call: str, kind: Any) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            calls: dict[str, Callable[[], Any]] = {
                "claimWork": lambda: queue.claim(1, lease=60, wait=0),
                "reclaimTask": lambda: queue.reclaim(claim, lease=60),
                "reportCompleted": lambda: queue.resolve(claim, COMPLETED),
            }
            server.fault(call, kind, times=3)
            for _ in range(3):
                with pytest.raises(Unavailable) as problem:
                    await calls[call]()
                assert problem.value.__cause__ is None, "its request has the credentials"
            await calls[call]()

    asyncio.run(main())


WAITS = {"7": 7, "0": 0, "100000": 60, "soon": None, "-1": None, "Fri, 31 Dec 1999 23:59:59 GMT": None, "9" * 400: None}


@pytest.mark.parametrize(("text", "seconds"), WAITS.items(), ids=[text[:8] for text in WAITS])
@pytest.mark.parametrize("call", ["claimWork", "reclaimTask"])
def test_a_queue_says_when_it_wants_to_be_asked_again(
    server: TaskclusterServer, call: str, text: str, seconds: float | None
) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            server.fault(call, "error", status=503, headers={"Retry-After": text})
            with pytest.raises(Unavailable) as error:
                await (queue.claim(1, lease=60, wait=0) if call == "claimWork" else queue.reclaim(claim, lease=60))
            assert error.value.retry_after == seconds

    asyncio.run(main())


@pytest.mark.parametrize("call", ["claimWork", "reclaimTask", "reportCompleted"])
def test_a_clock_that_is_wrong_for_a_while_loses_nothing(server: TaskclusterServer, call: str) -> None:
    """Hawk refuses the time of a request, whoever it is from."""

    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            calls: dict[str, Callable[[], Any]] = {
                "claimWork": lambda: queue.claim(1, lease=60, wait=0),
                "reclaimTask": lambda: queue.reclaim(claim, lease=60),
                "reportCompleted": lambda: queue.resolve(claim, COMPLETED),
            }
            server.fault(call, "error", status=401, message="Unauthorized: Stale timestamp")
            with pytest.raises(Unavailable, match="does the clock of this machine differ"):
                await calls[call]()
            await calls[call]()

    asyncio.run(main())


def test_a_claim_in_flight_is_not_lost_when_it_is_given_up(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            server.create("one", PAYLOAD)
            stalled = server.fault("claimWork", "stall")
            claiming = asyncio.ensure_future(queue.claim(1, lease=60, wait=0))
            await asyncio.to_thread(server.wait_until, lambda: not stalled.times)
            claiming.cancel()
            await asyncio.sleep(0)
            stalled.release()
            [claim] = await claiming
            assert claim.task_id == "one"
            await queue.release(claim, delay=0, reason="draining")
            assert server.runs("one") == ["exception/worker-shutdown", "pending"]

    asyncio.run(main())


def test_a_claim_whose_answer_is_lost_comes_back_when_it_expires(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            server.create("one", PAYLOAD)
            server.fault("claimWork", "lost")
            with pytest.raises(Unavailable):
                await queue.claim(1, lease=60, wait=0)
            assert not await queue.claim(1, lease=60, wait=0)
            server.advance(1201)
            [claim] = await queue.claim(1, lease=60, wait=0)
            assert claim.run_id == 1

    asyncio.run(main())


def test_wrong_credentials_are_the_operators(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server, token="another") as queue:
            with pytest.raises(ConfigError, match="HTTP 401"):
                await queue.claim(1, lease=60, wait=0)

    asyncio.run(main())


def test_scopes_of_a_role_are_asked_for_when_they_are_needed(server: TaskclusterServer) -> None:
    async def main() -> None:
        server.roles["assume:repo:web"] = ["docker-worker:cache:web-*", "docker-worker:capability:privileged"]
        payload = {**PAYLOAD, "cache": {"web-npm": "/npm"}, "capabilities": {"privileged": True}}
        async with opened(server) as queue:
            server.create("one", payload, scopes=["assume:repo:web"])
            server.create("two", PAYLOAD, scopes=["assume:repo:web"])
            claims = await queue.claim(2, lease=60, wait=0)
            assert [list(queue.in_authors_words(claim, ())) for claim in claims] == [[], []]
            assert server.calls("expandScopes") == ["expandScopes"]

    asyncio.run(main())


GOOD: dict[str, Any] = {
    "status": {"taskId": "one"}, "runId": 0, "workerGroup": "g", "workerId": "w",
    "takenUntil": "2030-01-01T00:00:00Z",
    "credentials": {"clientId": "c", "accessToken": "the-secret", "certificate": "{}"}, "task": {"payload": PAYLOAD},
}  # fmt: skip


def answer(**more: Any) -> bytes:
    return json.dumps({"tasks": [{**GOOD, **more}]}).encode()


def without(key: str) -> bytes:
    return json.dumps({"tasks": [{name: value for name, value in GOOD.items() if name != key}]}).encode()


ANSWERS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "no JSON object"),
    "no JSON": (b"<html>sign in</html>", "no JSON object"),
    "half of an object": (b'{"tasks": [', "no JSON object"),
    "no text": (b"\xff\xfe{}", "UnicodeDecodeError|no JSON object"),
    "nesting without end": (b'{"tasks":' + b"[" * 100_000, "RecursionError|no JSON object"),
    "a list": (b"[]", "no JSON object"),
    "a number": (b"1", "no JSON object"),
    "no tasks": (b"{}", "tasks is missing"),
    "tasks of an object": (b'{"tasks": {}}', "tasks is not a list"),
    "a task that is null": (b'{"tasks": [null]}', "status.taskId is missing"),
    "no status": (without("status"), "status.taskId is missing"),
    "an id that is a path": (answer(status={"taskId": "../../etc"}), "status.taskId is no id"),
    "an id that is too long": (answer(status={"taskId": "x" * 129}), "status.taskId is no id"),
    "an id that is a number": (answer(status={"taskId": 7}), "status.taskId is not a text"),
    "no run id": (without("runId"), "runId is missing"),
    "a run id of a text": (answer(runId="0"), "runId is not a whole number"),
    "a run id that is true": (answer(runId=True), "runId is not a whole number"),
    "a run id below zero": (answer(runId=-1), "runId is not between"),
    "a run id without end": (answer(runId=10**9), "runId is not between"),
    "no time": (without("takenUntil"), "takenUntil is missing"),
    "a time that is none": (answer(takenUntil="soon"), "takenUntil is no time of day"),
    "a time without a zone": (answer(takenUntil="2030-01-01T00:00:00"), "takenUntil is no time of day"),
    "a time beyond all calendars": (answer(takenUntil="9999-12-31T23:59:59Z"), "takenUntil is no time of day"),
    "no credentials": (without("credentials"), "credentials.accessToken is missing"),
    "credentials without a key": (answer(credentials={"clientId": "c"}), "credentials.accessToken is missing"),
    "credentials without a client": (answer(credentials={"accessToken": "the-secret"}), "credentials.clientId is miss"),
    "a certificate that is an object": (
        answer(credentials={"clientId": "c", "accessToken": "the-secret", "certificate": {"a": 1}}),
        "credentials.certificate is not a text",
    ),
    "no task": (without("task"), "task is missing"),
    "a task of a text": (answer(task="one"), "task is not an object"),
}


@pytest.mark.parametrize(("body", "problem"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_cannot_be_read_is_unavailable(server: TaskclusterServer, body: bytes, problem: str) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            server.fault("claimWork", "garbage", body=body)
            with pytest.raises(Unavailable, match=problem) as error:
                await queue.claim(1, lease=60, wait=0)
            assert "the-secret" not in str(error.value)

    asyncio.run(main())


LARGE = b'{"tasks": [], "more": "%s"}' % (b"x" * MAX_ANSWER)


GZIP = {"Content-Encoding": "gzip"}


@pytest.mark.parametrize(("headers", "body"), [({}, LARGE), (GZIP, gzip.compress(LARGE, 1))], ids=["plain", "gzip"])
def test_an_answer_without_end_is_not_read(server: TaskclusterServer, headers: dict[str, str], body: bytes) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            server.fault("claimWork", "garbage", body=body, headers=headers)
            server.fault("reclaimTask", "garbage", body=body, headers=headers)
            with pytest.raises(Unavailable, match="the answer has more than 32 MiB"):
                await queue.claim(1, lease=60, wait=0)
            with pytest.raises(Unavailable, match="the answer has more than 32 MiB"):
                await queue.reclaim(claim, lease=60)
            await queue.reclaim(claim, lease=60)

    asyncio.run(main())


def test_a_claim_that_cannot_be_read_takes_no_other_with_it(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            body = json.dumps({"tasks": [{}, GOOD]}).encode()
            server.fault("claimWork", "garbage", body=body)
            claims = await queue.claim(2, lease=60, wait=0)
            assert [claim.task_id for claim in claims] == ["one"]

    asyncio.run(main())


RECLAIMS: dict[str, bytes] = {
    "nothing": b"", "no JSON": b"ok", "no credentials": b'{"takenUntil": "2030-01-01T00:00:00Z"}',
    "no time": b'{"credentials": {"clientId": "c", "accessToken": "s"}}',
    "a time that is a number": b'{"takenUntil": 1, "credentials": {"clientId": "c", "accessToken": "s"}}',
}  # fmt: skip


@pytest.mark.parametrize("body", RECLAIMS.values(), ids=RECLAIMS)
def test_a_reclaim_that_cannot_be_read_is_tried_again(server: TaskclusterServer, body: bytes) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = await claimed(queue, server)
            server.fault("reclaimTask", "garbage", body=body)
            with pytest.raises(Unavailable):
                await queue.reclaim(claim, lease=60)
            assert isinstance(await queue.reclaim(claim, lease=60), TaskclusterClaim)

    asyncio.run(main())


def test_a_claim_of_another_queue_proves_nothing(server: TaskclusterServer) -> None:
    async def main() -> None:
        async with opened(server) as queue:
            claim = Claim("one", 0, {}, "w-1", "the token of another queue")
            with pytest.raises(ClaimLost) as lost:
                await queue.resolve(claim, COMPLETED)
            assert lost.value.why == "superseded"
            assert lost.value.__cause__ is None

    asyncio.run(main())
