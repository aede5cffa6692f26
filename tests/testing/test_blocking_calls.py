"""What the kit says of a call that blocks the event loop, whoever has begun the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from taskrunner.testing import clock
from taskrunner.testing.conformance.kit import ConformanceKit

MOMENT = 1e-9
"""Seconds: any call of `time.sleep` blocks."""


class Kit(ConformanceKit):
    """Its author may block in what he defines for the tests, and chooses what runs them."""

    def __init__(self, runner: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self.runner = runner

    def run(self, main: Coroutine[Any, Any, None]) -> None:
        self.runner(main)

    def hook(self) -> None:
        time.sleep(MOMENT)


async def plugin() -> None:
    time.sleep(MOMENT)  # noqa: ASYNC251  this is the bug


async def with_a_task() -> None:
    await asyncio.create_task(plugin())


@pytest.mark.parametrize("runner", [asyncio.run, clock.run])
def test_a_task_of_a_plugin_that_blocks_is_seen_also_by_a_kit_with_a_runner_of_its_own(
    runner: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    with pytest.raises(AssertionError, match="the event loop of the worker was blocked"):
        Kit(runner).bounded(with_a_task())


@pytest.mark.parametrize("runner", [asyncio.run, clock.run])
def test_what_the_author_of_a_test_defines_may_block(runner: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    kit = Kit(runner)

    async def main() -> None:
        kit.hook()
        await asyncio.create_task(asyncio.sleep(0))

    kit.bounded(main())
