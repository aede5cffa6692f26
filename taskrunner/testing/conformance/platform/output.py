"""What every platform does with the output of a run: all of it is in the log, unaltered, as it comes."""

from __future__ import annotations

import asyncio

import pytest

from taskrunner.errors import TaskFailedInternally
from taskrunner.testing.conformance.measures import MEBIBYTE
from taskrunner.testing.conformance.platform.harness import PlatformHarness, PlatformKit, scenario
from taskrunner.testing.conformance.platform.script import Script

SEVERAL = 8
"""Runs that end at about the same time."""


class OutputChecks(PlatformKit):
    """Nothing is lost at the end, and nothing is changed."""

    @scenario
    async def test_the_log_is_whole_and_in_order_at_the_end_of_wait(self, harness: PlatformHarness) -> None:
        lines = "".join(f"line {number}\n" for number in range(2000))
        trial = await harness.finished(Script(prints=lines))
        assert lines in trial.log.text

    @scenario
    async def test_output_comes_while_the_run_goes_on(self, harness: PlatformHarness) -> None:
        trial = await harness.started(Script(prints="no end of line", print_error="an error", sleeps=True))
        await trial.log.until("no end of line")
        await trial.log.until("an error")

    @scenario
    async def test_a_last_line_without_an_end_is_kept(self, harness: PlatformHarness) -> None:
        trial = await harness.finished(Script(prints="a line\nno end of line"))
        assert "a line\nno end of line" in trial.log.text

    @scenario
    async def test_the_last_words_of_a_run_are_kept(self, harness: PlatformHarness) -> None:
        """A run ends right after it, which gives a tail that is lost several chances to be."""
        script = Script(prints="first\n", pauses=0.1, prints_after="last")
        trials = await asyncio.gather(*(harness.finished(script) for _ in range(SEVERAL)))
        assert [trial.log.text for trial in trials if "first\nlast" not in trial.log.text] == []

    @scenario
    async def test_what_goes_to_the_standard_error_is_in_the_log(self, harness: PlatformHarness) -> None:
        trial = await harness.finished(Script(print_error="an error\n", exit_code=1))
        assert "an error\n" in trial.log.text

    @scenario
    async def test_output_that_is_no_text_is_kept_as_it_is(self, harness: PlatformHarness) -> None:
        octets = bytes(range(256)) + b"\r\n\xc3"
        trial = await harness.finished(Script(print_bytes=octets))
        assert octets in trial.log.data

    @scenario
    async def test_a_run_whose_log_fails_is_removed_whole(self, harness: PlatformHarness) -> None:
        """The disk is full. That is why the run ends, and nothing that its abort would have to name as left."""
        trial = harness.trial()
        await trial.load(Script(prints="hello\n"))
        trial.log.full = True
        await trial.start({})
        with pytest.raises(TaskFailedInternally):
            await trial.wait()
        await trial.abort()

    @scenario
    async def test_a_flood_of_output_is_kept_whole(self, harness: PlatformHarness) -> None:
        size = 4 * MEBIBYTE + 1
        trial = await harness.finished(Script(zeros={"flood": size}, print_file="flood"))
        assert trial.log.data.count(0) == size


__all__ = ["OutputChecks"]
