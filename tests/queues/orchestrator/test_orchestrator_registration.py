"""Registration at orchestrators that are restarted, refuse, hang, or have forgotten the worker: real gRPC servers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from examples.orchestrator import workers
from taskrunner.queues.listening import Address
from taskrunner.queues.orchestrator import registration
from taskrunner.queues.orchestrator.messages import WorkerInfo
from taskrunner.queues.orchestrator.registration import Registration
from tests.support.ports import free_port

LIMIT = 20.0
INFO = WorkerInfo(id="w1", ip="127.0.0.1", port=6000, region="eu-west-1")


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(registration, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(registration, "PROBE_INTERVAL", 0.05)


class Scripted:
    """An orchestrator whose answers a test sets."""

    def __init__(self) -> None:
        self.port = free_port()
        self.registered: list[Any] = []
        self.probes: list[str] = []
        self.refusals: list[str] = []
        """Each is the answer to one attempt."""
        self.hangs = False
        self.healthy: list[bool] = []
        """The answers to `Ping`. Without any, it is UNIMPLEMENTED."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = grpc.aio.server()
        register: Any = grpc.unary_unary_rpc_method_handler(
            self.register, workers.WorkerInfo.FromString, workers.RegisterAck.SerializeToString
        )
        ping: Any = grpc.unary_unary_rpc_method_handler(
            self.ping, workers.PingRequest.FromString, workers.PongResponse.SerializeToString
        )
        methods = {"Register": register, "Ping": ping}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("worker.WorkerService", methods),))
        server.add_insecure_port(f"127.0.0.1:{self.port}")
        await server.start()
        try:
            yield
        finally:
            await server.stop(None)

    async def register(self, info: Any, _: Any) -> Any:
        if self.hangs:
            await asyncio.Event().wait()
        if self.refusals:
            return workers.RegisterAck(success=False, message=self.refusals.pop(0))
        self.registered.append(info)
        return workers.RegisterAck(success=True)

    async def ping(self, request: Any, context: Any) -> Any:
        self.probes.append(request.id)
        if not self.healthy:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "method Ping not implemented")
        return workers.PongResponse(healthy=self.healthy.pop(0))


def keeping(test: Callable[[Scripted, Registration], Coroutine[Any, Any, None]]) -> None:
    """Runs a test while a worker keeps itself registered."""

    async def main() -> None:
        orchestrator = Scripted()
        kept = Registration(Address("127.0.0.1", orchestrator.port), INFO)
        keep = asyncio.create_task(kept.keep())
        try:
            async with asyncio.timeout(LIMIT):
                await test(orchestrator, kept)
            assert not keep.done(), keep
        finally:
            keep.cancel()
            await asyncio.wait({keep})

    asyncio.run(main())


async def until(met: Callable[[], object]) -> None:
    while not met():  # noqa: ASYNC110  there is no event for everything
        await asyncio.sleep(0.01)


def test_a_worker_registers_with_who_and_where_it_is() -> None:
    async def test(orchestrator: Scripted, _: Registration) -> None:
        async with orchestrator.serving():
            await until(lambda: orchestrator.registered)
        [info] = orchestrator.registered
        assert (info.id, info.ip, info.port, info.region) == ("w1", "127.0.0.1", 6000, "eu-west-1")

    keeping(test)


def test_it_registers_again_when_the_orchestrator_has_been_restarted(caplog: pytest.LogCaptureFixture) -> None:
    async def test(orchestrator: Scripted, _: Registration) -> None:
        for times in (1, 2, 3):
            async with orchestrator.serving():
                await until(lambda times=times: len(orchestrator.registered) == times)
            await until(lambda times=times: caplog.text.count("has ended its connection") == times)

    keeping(test)


def test_it_is_registered_once_while_nothing_happens_whether_ping_is_implemented_or_not() -> None:
    async def test(orchestrator: Scripted, _: Registration) -> None:
        orchestrator.healthy = [True] * 3
        async with orchestrator.serving():
            await until(lambda: len(orchestrator.probes) > 6)
        assert len(orchestrator.registered) == 1
        assert set(orchestrator.probes) == {"w1"}

    keeping(test)


def test_it_registers_again_when_the_orchestrator_does_not_know_it() -> None:
    async def test(orchestrator: Scripted, _: Registration) -> None:
        orchestrator.healthy = [True, False]
        async with orchestrator.serving():
            await until(lambda: len(orchestrator.registered) == 2)

    keeping(test)


def test_it_registers_again_when_it_is_not_called_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(orchestrator: Scripted, kept: Registration) -> None:
        async with orchestrator.serving():
            await until(lambda: orchestrator.registered)
            seen = len(orchestrator.probes)
            while len(orchestrator.probes) < seen + 4:
                kept.pinged()
                await asyncio.sleep(0.01)
            assert len(orchestrator.registered) == 1
            await until(lambda: len(orchestrator.registered) == 2)

    monkeypatch.setattr(registration, "SILENCE", 2.0)
    keeping(test)


def test_a_refusal_is_tried_again_and_warned_of_once_in_its_words(caplog: pytest.LogCaptureFixture) -> None:
    async def test(orchestrator: Scripted, _: Registration) -> None:
        orchestrator.refusals = ["too many workers"] * 3
        async with orchestrator.serving():
            await until(lambda: orchestrator.registered)

    caplog.set_level(logging.WARNING)
    keeping(test)
    assert caplog.text.count("refuses this worker: too many workers; registering again") == 1


def test_an_orchestrator_that_hangs_is_given_up_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(orchestrator: Scripted, _: Registration) -> None:
        orchestrator.hangs = True
        async with orchestrator.serving():
            await asyncio.sleep(0.3)
            orchestrator.hangs = False
            await until(lambda: orchestrator.registered)

    monkeypatch.setattr(registration, "CALL_LIMIT", 0.1)
    keeping(test)


def test_the_pauses_grow_to_their_limit_and_are_not_alike() -> None:
    pauses = registration._pauses()
    first = [next(pauses) for _ in range(20)]
    assert all(0.05 <= pause <= 0.1 for pause in first[4:])
    assert first[0] <= 0.02
    assert len(set(first)) == len(first)
