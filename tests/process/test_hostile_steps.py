"""Steps that attack the files by which they hand on values. Each fails its step, and never the worker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.process.test_process_steps import BEST, finished, outcomes, own_bench

GONE = "was removed or replaced: append to it with >>"

HOSTILE = {
    "the folder as a file": ("rm -rf .steps; touch .steps", GONE),
    "the folder as a link to a folder": ("rm -rf .steps; ln -s $HOME/mine .steps", GONE),
    "the folder as a link to nothing": ("rm -rf .steps; ln -s /nonexistent .steps", GONE),
    "the folder as a pipe": ("rm -rf .steps; mkfifo .steps", GONE),
    "the folder as another folder": ("rm -rf .steps; mkdir -p .steps/script/x .steps/env .steps/output", GONE),
    "a file as a folder": ("rm $TASKRUNNER_ENV; mkdir $TASKRUNNER_ENV", GONE),
    "a file as a full folder": ("rm $TASKRUNNER_OUTPUT; mkdir -p $TASKRUNNER_OUTPUT/a/b", GONE),
    "a file as a pipe": ("rm $TASKRUNNER_OUTPUT; mkfifo $TASKRUNNER_OUTPUT", GONE),
    "a file as a link out": ("ln -sf /etc/hostname $TASKRUNNER_OUTPUT", GONE),
    "a file as another name of one": ("echo x > mine; ln -f mine $TASKRUNNER_OUTPUT", GONE),
    "a sparse terabyte": ("truncate -s 1T $TASKRUNNER_OUTPUT", "$TASKRUNNER_OUTPUT has more than 64 KiB"),
    "a value without an end": ("echo 'A<<END' >> $TASKRUNNER_ENV", "the line that ends this value is missing"),
    "a value whose end is empty": ("echo 'A<<' >> $TASKRUNNER_ENV", "name the line that ends the value after `<<`"),
    "bytes that are not UTF-8": ("printf 'A=\\377' >> $TASKRUNNER_ENV", "$TASKRUNNER_ENV is not UTF-8"),
    "a name of the worker": ("echo RUN_ID=7 >> $TASKRUNNER_ENV", "sets RUN_ID, which the worker alone sets"),
    "a name with a control character": ("printf 'A\\033B=x' >> $TASKRUNNER_ENV", "line 1: a name has letters"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_step_fails_alone(tmp_path: Path, name: str) -> None:
    script, problem = HOSTILE[name]

    async def run() -> None:
        async with own_bench(BEST, tmp_path) as bench:
            results = await finished(
                bench, script, {"if": "always()", "id": "b", "run": "echo X=1 >> $TASKRUNNER_OUTPUT"}
            )
            assert outcomes(results) == ["failed", "success"]
            assert problem in results.message
            await results.dispose()
            assert list(bench.folder.iterdir()) == []

    asyncio.run(run())


def test_files_that_are_replaced_all_the_time_fail_the_next_step(tmp_path: Path) -> None:
    """No race decides this: the folder of the run itself is gone."""

    async def run() -> None:
        async with own_bench(BEST, tmp_path) as bench:
            results = await finished(bench, "mv $HOME $HOME.elsewhere", {"if": "always()", "run": "true"})
            (tmp_path / "run1.elsewhere").rename(tmp_path / "run1")
            assert outcomes(results) == ["success", "failed"]
            assert "the files of the steps are removed or replaced by another program of this run" in results.message
            await results.dispose()
            assert list(bench.folder.iterdir()) == []

    asyncio.run(run())
