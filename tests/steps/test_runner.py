"""The runner, with a sandbox of scripted steps and a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import attrs
import pytest

from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner.interfaces.platform import RunContext
from taskrunner.model import Progress, RunKey, Task
from taskrunner.schema.decode import decode
from taskrunner.steps.runner import StepRunner
from taskrunner.steps.sandbox import RunningStep, StepCommand, StepSandbox
from taskrunner.steps.specification import StepSpec
from taskrunner.steps.step_files import StepFiles
from taskrunner.testing import FakeCaches, MemoryLog, clock

Scene = Callable[[], Coroutine[None, None, None]]


@attrs.define
class ScriptedStep(RunningStep):
    """Runs for some seconds, which `command` names, and exits with 0."""

    seconds: float
    aborted: list[float]
    unkillable: bool = False

    async def wait(self) -> int:
        await asyncio.sleep(self.seconds)
        if self.seconds == 13:
            raise Unavailable("the connection is lost")
        return 0

    async def abort(self) -> None:
        if self.unkillable:
            raise TaskFailedInternally("it does not die")
        self.aborted.append(asyncio.get_running_loop().time())


@attrs.define
class ScriptedSandbox(StepSandbox):
    step_folder: str
    run_folder: str = "/run"
    unkillable: bool = False
    started: list[StepCommand] = attrs.field(factory=list)
    aborted: list[float] = attrs.field(factory=list)

    async def start(self, step: StepCommand) -> RunningStep:
        self.started.append(step)
        return ScriptedStep(float(step.command[-1]), self.aborted, self.unkillable)


@attrs.define
class Stage:
    """A runner of steps that last the given seconds."""

    folder: Path
    log: MemoryLog = attrs.field(factory=MemoryLog)
    reported: list[Progress] = attrs.field(factory=list)
    sandbox: ScriptedSandbox = attrs.field(init=False)
    runner: StepRunner = attrs.field(init=False)

    def play(self, *steps: StepSpec, scene: Scene | None = None, unkillable: bool = False) -> float:
        """Runs them in virtual time, beside a scene. Returns how many seconds that took."""

        async def run() -> float:
            began = asyncio.get_running_loop().time()
            context = RunContext(
                Task("t", "x"), RunKey("t", 0), self.folder, self.log, FakeCaches(self.folder),
                lambda secret: secret.literal, self.reported.append,
            )  # fmt: skip
            files = StepFiles.make(self.folder / "files", mode=0o600)
            self.sandbox = ScriptedSandbox(str(files.folder), unkillable=unkillable)
            self.runner = StepRunner(steps, self.sandbox, files, context, {"GIVEN": "1", "TASK_ID": "t"})
            try:
                async with asyncio.TaskGroup() as group:
                    running = group.create_task(self.runner.run())
                    if scene:
                        group.create_task(scene())
                    await running
                return asyncio.get_running_loop().time() - began
            finally:
                await self.runner.remove_files()

        return clock.run(run())

    @property
    def outcomes(self) -> list[str]:
        return [end.outcome for end in self.runner.sequence.ends]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def lasting(seconds: float, *, limit: int | None = None, when: str = "") -> StepSpec:
    return StepSpec(name=f"s{seconds:g}", command=("wait", str(seconds)), max_run_time=limit, if_=when)


def test_the_time_of_each_step_is_kept(stage: Stage) -> None:
    assert stage.play(lasting(100), lasting(0.5)) == pytest.approx(100.5, abs=0.1)
    assert stage.outcomes == ["success", "success"]
    assert stage.log.text == (
        "[taskrunner] step 1/2 s100\n[taskrunner] step 1/2 s100: success after 100.0 s\n"
        "[taskrunner] step 2/2 s0.5\n[taskrunner] step 2/2 s0.5: success after 0.5 s\n"
    )
    assert stage.reported == [Progress("step", 1, 2, "", "s100"), Progress("step", 2, 2, "", "s0.5")]


def test_a_step_is_stopped_at_its_limit_and_not_before(stage: Stage) -> None:
    took = stage.play(lasting(99, limit=100), lasting(3000, limit=100), lasting(1, when="always()"))
    assert took == pytest.approx(99 + 100 + 1, abs=0.1)
    assert stage.outcomes == ["success", "failed", "success"]
    assert stage.runner.sequence.reason == "max-run-time"
    assert len(stage.sandbox.aborted) == 1


def test_stopping_aborts_the_running_step_and_skips_the_rest(stage: Stage) -> None:
    async def scene() -> None:
        await asyncio.sleep(50)
        stage.runner.stop()
        stage.runner.stop()

    took = stage.play(lasting(10), lasting(1000, limit=100), lasting(1, when="always()"), scene=scene)
    assert took == pytest.approx(50, abs=0.1)
    assert stage.outcomes == ["success", "stopped", "skipped"]
    assert stage.log.text.endswith(
        "step 2/3 s1000: stopped (the run was ended) after 40.0 s\n[taskrunner] step 3/3 s1: skipped\n"
    )
    assert [step.number for step in stage.sandbox.started] == [1, 2]
    assert len(stage.sandbox.aborted) == 1


def test_a_step_that_cannot_be_killed_ends_the_run(stage: Stage) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        stage.play(lasting(1000, limit=1), unkillable=True)
    assert caught.group_contains(TaskFailedInternally, match="it does not die")


def test_a_lost_connection_ends_the_run(stage: Stage) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        stage.play(lasting(13), lasting(1, when="always()"))
    assert caught.group_contains(Unavailable, match="the connection is lost")
    assert len(stage.sandbox.started) == 1


def test_what_a_step_is_given(stage: Stage) -> None:
    step = decode(StepSpec, {"run": "x", "shell": ["cat"], "env": {"A": "${RUN_FOLDER}"}, "working_dir": "w"})
    with pytest.raises(ExceptionGroup):
        stage.play(step)  # the sandbox cannot read the file's name as seconds
    [started] = stage.sandbox.started
    folder = stage.folder / "files"
    assert list(started.command) == ["cat", f"{folder}/script"]
    assert started.working_dir == "w"
    assert started.env == {
        "GIVEN": "1",
        "TASK_ID": "t",
        "A": "/run",
        "TASKRUNNER_OUTPUT": f"{folder}/output",
        "TASKRUNNER_ENV": f"{folder}/env",
    }
    assert not folder.exists()
