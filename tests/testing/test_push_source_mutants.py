"""The tests of push sources can fail: a source, or a worker, with one fault is caught by the test that is for it."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from taskrunner.interfaces.push import OfferRefused
from taskrunner.model import Artifact, Resolution
from taskrunner.queues.push.peer_link import PeerLink
from taskrunner.queues.push.pushed_run import PushedRun
from taskrunner.queues.push.queue import PushQueue
from taskrunner.queues.push.run_ids import RunIds
from taskrunner.runs.feed import RunFeed
from taskrunner.runs.run import TaskRun
from taskrunner.runs.upload.hand_over import HandOver
from taskrunner.testing.conformance.push_source.client import PeerMessage
from tests.support.mutants import Mutant, assert_caught, name_of
from tests.testing.test_push_source_conformance import TestWaitingSource as SourceTests
from tests.testing.test_push_source_conformance import WaitingClient, WaitingPeer, WaitingStream


async def nothing(*_: object, **__: object) -> str:
    return ""


async def lose_half(self: WaitingPeer, offset: int, chunk: bytes, origin: object) -> None:
    await self.send(PeerMessage("log", data=chunk[::2]))


async def always_completed(self: WaitingPeer, resolution: Resolution) -> None:
    await self.send(PeerMessage("answer", "completed"))


async def without_words(self: WaitingPeer, reason: str, message: str) -> None:
    await self.send(PeerMessage("refusal", reason))


async def keep_to_itself(self: WaitingStream, run: object, name: str, body: Any, **_: object) -> Artifact:
    return Artifact(name, sum([len(chunk) async for chunk in body]), None)


async def tell_every_event(self: PushedRun, move: object, ending: object) -> None:
    await moved(self, move, ending)  # type: ignore[arg-type]
    await moved(self, move, ending)  # type: ignore[arg-type]


def refuse_the_second(self: PushQueue, offer: Any) -> object:
    if self.busy:
        return OfferRefused("busy", "one at a time")
    return take_offer(self, offer)


def by_worker(self: RunIds) -> int:
    numbers = self.__dict__.setdefault("numbers", count())
    return next(numbers)  # type: ignore[no-any-return]


moved, take_offer = PushedRun.moved, PushQueue.offer

MUTANTS: list[Mutant] = [
    (WaitingPeer, "send_log", lose_half, "test_the_log_comes_to_its_last_line_and_before_the_answer"),
    (WaitingPeer, "send_log", lose_half, "test_a_slow_peer_gets_the_whole_log_and_holds_up_nothing"),
    (WaitingPeer, "moved", nothing, "test_the_states_of_a_run_are_told"),
    (WaitingPeer, "progress", nothing, "test_the_progress_of_a_step_is_told"),
    (WaitingPeer, "answer", always_completed, "test_a_failure_is_answered_as_one"),
    (WaitingPeer, "refuse", without_words, "test_a_rejected_run_is_refused_with_the_words"),
    (WaitingPeer, "refuse", without_words, "test_a_run_that_is_stopped_before_its_command_is_refused"),
    (WaitingStream, "put", keep_to_itself, "test_artifacts_come_after_the_log_and_before_the_answer"),
    (WaitingClient, "cancel", nothing, "test_a_canceled_run_is_killed_and_answered"),
    (PushedRun, "moved", tell_every_event, "test_the_states_of_a_run_are_told"),
    (PushedRun, "inform", nothing, "test_the_answer_of_a_run_that_is_kept_waits_for_a_peer"),
    (PushQueue, "offer", refuse_the_second, "test_every_free_slot_takes_a_run"),
    (PeerLink, "carries_logs", False, "test_the_log_comes_to_its_last_line_and_before_the_answer"),
    (RunIds, "next", by_worker, "test_run_ids_never_repeat_after_a_restart"),
    (RunFeed, "finish", nothing, "test_a_slow_peer_gets_the_whole_log_and_holds_up_nothing"),
    (HandOver, "copy", nothing, "test_artifacts_and_log_are_in_the_own_store_as_well"),
    (TaskRun, "_vacate", lambda _: None, "test_a_slot_is_free_before_what_is_dead_has_been_removed"),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=name_of)
def test_a_fault_is_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("taskrunner.testing.clock.MOST_JUMPS", 20_000)
    monkeypatch.setattr("taskrunner.testing.clock.PATIENCE", 1.0)
    assert_caught(SourceTests, mutant, monkeypatch, tmp_path)
