"""A platform made of a coroutine keeps the contract and what its decorator documents."""

from __future__ import annotations

import asyncio
from pathlib import Path

import attrs

from taskrunner import Config, MemoryQueue, Platform, PlatformContext, RunContext, Submission, TaskFailed, run_worker
from taskrunner.coroutine import NoOptions, coroutine_platform
from taskrunner.testing import FakeHost, PlatformConformance, Script
from taskrunner.worker.stop_condition import StopCondition


@coroutine_platform("scripted", Script)
async def scripted(script: Script, context: RunContext) -> int:
    """Does what a script of the conformance kit says."""
    leaves = {**script.files, **{path: "\0" * size for path, size in script.zeros.items()}}
    for path, text in leaves.items():
        (context.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (context.folder / path).write_text(text)
    for path, target in script.links.items():
        (context.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (context.folder / path).symlink_to(target)
    env = context.task.env
    context.log.write(script.prints.encode() + script.print_bytes)
    context.log.write(script.print_error.encode(), "stderr")
    context.log.write("".join(f"{name}={env[name]}\n" for name in script.print_env if name in env).encode())
    if script.print_file:
        context.log.write((context.folder / script.print_file).read_bytes())
    await asyncio.sleep(script.pauses)
    context.log.write(script.prints_after.encode())
    if script.sleeps:
        await asyncio.get_running_loop().create_future()
    return script.exit_code


class TestCoroutinePlatform(PlatformConformance):
    supports = frozenset({"archive"})

    async def open(self, context: PlatformContext) -> Platform[Script, NoOptions]:
        return await scripted.open(scripted.options(), context)

    def payload(self, script: Script) -> Script:
        return script


@attrs.frozen
class Numbers:
    count: int


@coroutine_platform("numbers", Numbers)
async def numbers(payload: Numbers, context: RunContext) -> int:
    """Writes numbers down."""
    if payload.count < 0:
        raise TaskFailed("negative", "count: there are no fewer than no numbers; take 0 or more")
    (context.folder / "numbers.txt").write_text("".join(f"{n}\n" for n in range(payload.count)))
    context.log.say(f"{payload.count} numbers for {context.task.env['WHO']}")
    return 0


def run(home: Path, **document: object) -> tuple[str, str]:
    """The resolution of one task and its log."""

    async def main() -> str:
        queue = MemoryQueue("submitter")
        task = {"id": "t", "platform": "numbers", "env": {"WHO": "me"}, **document}
        await queue.submit(Submission("t", task))
        plugins = {"numbers": numbers}
        await run_worker(
            Config(min_free_disk=0),
            FakeHost(),
            home,
            stop_when=StopCondition(tasks=1),
            queue=queue.join,
            plugins=plugins,
        )
        status = await queue.status("t")
        return f"{status.resolution}"

    return asyncio.run(main()), (home / "runs/t/0/log").read_text()


def test_a_coroutine_runs_as_a_task_and_leaves_artifacts(tmp_path: Path) -> None:
    ending, log = run(tmp_path, count=3, artifacts=[{"name": "n", "path": "numbers.txt"}])
    assert ending == "completed"
    assert "[taskrunner] 3 numbers for me" in log
    [kept] = tmp_path.glob("artifacts/t/0/data/*")
    assert kept.read_text() == "0\n1\n2\n"


def test_an_error_of_taskrunner_decides_how_the_run_ends(tmp_path: Path) -> None:
    ending, log = run(tmp_path, count=-1)
    assert ending == "failed (negative)"
    assert "take 0 or more" in log


def test_a_payload_is_decoded_strictly(tmp_path: Path) -> None:
    ending, log = run(tmp_path, count="three")
    assert ending == "exception (malformed-payload)"
    assert "count" in log
