"""Tasks of several steps, as processes."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import attrs
import pytest

from taskrunner.errors import MalformedPayload, NotSupported, TaskFailedInternally
from taskrunner.interfaces.execution import Execution
from taskrunner.interfaces.results import Results
from taskrunner.schema.check import check_task
from taskrunner.schema.decode import decode
from taskrunner.testing.conformance.platform.harness import joined
from taskrunner.testing.fakes.log import MemoryLog
from taskrunner_process import ProcessPayload, ProcessPlatform
from taskrunner_process.accounts.account import account_of
from taskrunner_process.accounts.lease import Accounts
from taskrunner_process.payload import check_payload
from tests.process.process_bench import KINDS, Bench, alive, bench_on, contents, descriptors, token
from tests.process.test_commands import FullLog

BEST = KINDS[0]


def own_bench(kind: str, home: Path, **more: Any) -> AbstractAsyncContextManager[Bench]:
    """A bench whose worker has an id of its own: tests of other programs may run beside these."""
    return bench_on(kind, home, worker_id=f"w{secrets.token_hex(4)}", **more)


def steps(*documents: dict[str, Any] | str) -> ProcessPayload:
    """A payload with these steps; a text is a script."""
    return decode(ProcessPayload, {"steps": [{"run": d} if isinstance(d, str) else d for d in documents]})


async def started(bench: Bench, payload: ProcessPayload, env: Mapping[str, str] | None = None) -> Execution:
    return await (await bench.loaded(payload, env=env)).start(env or {})


async def finished(bench: Bench, *documents: dict[str, Any] | str, env: Mapping[str, str] | None = None) -> Results:
    return await (await started(bench, steps(*documents), env)).wait()


def outcomes(results: Results) -> list[str]:
    return [step["outcome"] for step in described(results)]


def described(results: Results) -> list[dict[str, Any]]:
    found: Any = results.details["steps"]
    return list(found)


def phases(text: str) -> list[str]:
    """The worker's own lines, without seconds."""
    return [re.sub(r" after \d+\.\d s", "", line) for line in text.splitlines() if line.startswith("[taskrunner]")]


@pytest.mark.parametrize("kind", KINDS)
def test_five_steps_pass_on_outputs_and_variables(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(kind, tmp_path) as bench:
            results = await finished(
                bench,
                {
                    "name": "build",
                    "id": "build",
                    "run": 'echo VERSION=1.2 >> $TASKRUNNER_OUTPUT\necho "MODE=a b" >> $TASKRUNNER_ENV\n',
                },
                {
                    "name": "test",
                    "id": "test",
                    "env": {"V": "${steps.build.outputs.VERSION}"},
                    "run": "echo $V, $MODE; exit 3",
                },
                {"name": "deploy", "run": "echo never"},
                {
                    "name": "report",
                    "if": "failure() && steps.test.outcome == 'failed'",
                    "run": "echo broken > report.txt",
                },
                {"name": "clean", "if": "always()", "command": ["echo", "cleaned up"]},
            )
            assert phases(bench.text) == [
                "[taskrunner] step 1/5 build",
                "[taskrunner] step 1/5 build: success",
                "[taskrunner] step 2/5 test",
                "[taskrunner] step 2/5 test: failed (exit code 3)",
                "[taskrunner] step 3/5 deploy: skipped",
                "[taskrunner] step 4/5 report",
                "[taskrunner] step 4/5 report: success",
                "[taskrunner] step 5/5 clean",
                "[taskrunner] step 5/5 clean: success",
            ]
            assert "[taskrunner] step 2/5 test\n1.2, a b\n[taskrunner] step 2/5" in bench.text
            assert "step 5/5 clean\ncleaned up\n[taskrunner]" in bench.text
            assert (results.exit_code, results.reason) == (3, "step-failed")
            assert results.message == "step 2/5 test: exit code 3"
            assert outcomes(results) == ["success", "failed", "skipped", "success", "success"]
            assert [step["exit_code"] for step in described(results)] == [0, 3, None, 0, 0]
            assert [p.note for p in bench.reported] == ["build", "test", "report", "clean"]
            assert [(p.step, p.done, p.total, p.unit) for p in bench.reported][1] == ("step", 2, 5, "")
            assert await contents(results, "report.txt") == b"broken\n"
            assert [entry.name async for entry in results.archive_folder(".")] == ["report.txt"]
            await results.dispose()
            assert list(bench.folder.iterdir()) == []

    before = descriptors()
    asyncio.run(run())
    assert descriptors() == before


def test_all_steps_succeed(tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(BEST, tmp_path) as bench:
            results = await finished(
                bench, "true", {"if": "success()", "run": "true"}, {"if": "failure()", "run": "true"}
            )
            assert (results.exit_code, results.reason, results.message) == (0, "", "")
            assert outcomes(results) == ["success", "success", "skipped"]

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_step_leaves_running_serves_the_next_and_ends_with_the_run(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(kind, tmp_path) as bench:
            results = await finished(
                bench,
                f"mkfifo questions answers\n(setsid sh -c 'read q < questions; echo to $q > answers; sleep {word}' &)",
                "echo you > questions; cat answers",
            )
            assert outcomes(results) == ["success", "success"]
            assert "to you\n" in bench.text
            assert alive(word) == []

    word = token()
    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_over_its_time_is_killed_and_later_ones_run(kind: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(kind, tmp_path) as bench:
            results = await finished(
                bench,
                {"name": "slow", "run": f"(setsid sleep {word} &); sleep {word}", "max_run_time": 1},
                {"if": "always()", "run": f"! grep -sq [1]{word[1:]} /proc/[0-9]*/cmdline"},
                "true",
            )
            assert outcomes(results) == ["failed", "success", "skipped"]
            assert (results.exit_code, results.reason) == (137, "max-run-time")
            assert results.message == "step 1/3 slow: it took longer than its max_run_time of 1 s and was stopped"
            assert alive(word) == []

    word = token()
    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["kill", "abort"])
def test_after_a_kill_nothing_more_runs(kind: str, end: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(kind, tmp_path) as bench:
            script = f"echo up; (setsid sleep {word} &); sleep {word}"
            execution = await started(bench, steps("true", script, {"if": "always()", "run": "echo more > more"}))
            assert isinstance(bench.log, MemoryLog)
            await bench.log.until("up\n")
            if end == "kill":
                results = await execution.kill()
                assert outcomes(results) == ["success", "stopped", "skipped"]
                assert results.exit_code == 137
            else:
                await execution.abort()
            assert not (bench.folder / "more").exists()
            assert alive(word) == []
            assert phases(bench.text)[-2].endswith(": stopped (the run was ended)")
            assert phases(bench.text)[-1] == "[taskrunner] step 3/3 echo more > more: skipped"

    word = token()
    before = descriptors()
    asyncio.run(run())
    assert descriptors() == before


def test_a_kill_before_the_first_step_has_begun(tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(BEST, tmp_path) as bench:
            results = await (await started(bench, steps("echo up", "echo up"))).kill()
            assert results.exit_code == 137
            assert set(outcomes(results)) <= {"stopped", "skipped"}
            assert "\nup\n" not in bench.text

    asyncio.run(run())


def test_a_run_whose_log_fails_ends(tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(BEST, tmp_path, log=FullLog()) as bench:
            execution = await started(bench, steps(f"sleep {word}"))
            with pytest.raises(TaskFailedInternally, match="the disk is full"):
                await execution.wait()
            assert alive(word) == []
            await execution.abort()  # it raises what is left behind: nothing is
            assert list(bench.folder.iterdir()) == []

    word = token()
    asyncio.run(run())


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ("echo nonsense >> $TASKRUNNER_OUTPUT", "$TASKRUNNER_OUTPUT line 1: write NAME=value"),
        ("echo 1A=x >> $TASKRUNNER_ENV", "$TASKRUNNER_ENV line 1: a name has letters"),
        ("echo TASK_ID=x >> $TASKRUNNER_ENV", "$TASKRUNNER_ENV sets TASK_ID, which the worker alone sets"),
        (
            "echo TASKRUNNER_RUN=x >> $TASKRUNNER_ENV",
            "$TASKRUNNER_ENV sets TASKRUNNER_RUN, which the worker alone sets",
        ),
        ("printf 'A=\\0' >> $TASKRUNNER_OUTPUT", "$TASKRUNNER_OUTPUT has a zero byte"),
        ("head -c 70000 /dev/zero >> $TASKRUNNER_OUTPUT", "$TASKRUNNER_OUTPUT has more than 64 KiB"),
        ("rm $TASKRUNNER_OUTPUT", "$TASKRUNNER_OUTPUT was removed or replaced"),
        ("rm $TASKRUNNER_ENV; mkfifo $TASKRUNNER_ENV", "$TASKRUNNER_ENV was removed or replaced"),
        ("ln -sf /etc/hostname $TASKRUNNER_OUTPUT", "$TASKRUNNER_OUTPUT was removed or replaced"),
        ("kill -9 $$", "killed by signal 9 (SIGKILL)"),
        ({"command": ["no-such-command"]}, "there is no command 'no-such-command'"),
        ({"run": "true", "shell": "no-such-shell"}, "there is no command 'no-such-shell'"),
        ({"run": "true", "working_dir": "missing"}, "there is no folder 'missing' in the run's folder"),
        ({"run": "true", "env": {"X": "x" * 200_000}}, "the command and its environment are too long"),
    ],
)
def test_a_step_that_fails_lets_the_others_decide(step: dict[str, Any] | str, why: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(BEST, tmp_path) as bench:
            results = await finished(bench, step, "true", {"if": "failure()", "run": "echo ${TASK_ID-unset}"})
            assert outcomes(results) == ["failed", "skipped", "success"]
            assert why in results.message
            assert results.reason == "step-failed"
            assert results.exit_code != 0
            assert "unset\n" in bench.text

    asyncio.run(run())


def test_a_malformed_file_does_not_hide_why_a_step_failed(tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(BEST, tmp_path) as bench:
            results = await finished(bench, {"name": "x", "run": "echo nonsense >> $TASKRUNNER_OUTPUT; exit 4"})
            assert results.message == "step 1/1 x: exit code 4"
            assert "[taskrunner] step 1/1 x: $TASKRUNNER_OUTPUT line 1: write NAME=value" in bench.text

    asyncio.run(run())


def test_a_value_is_never_a_program(tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(BEST, tmp_path) as bench:
            value = '$(touch pwned) `touch pwned`; touch pwned "\\n${RUN_FOLDER}'
            script = f"printf 'X<<EOF\\n{value}\\nEOF\\n' >> $TASKRUNNER_OUTPUT"
            shows = {"env": {"X": "${steps.a.outputs.X}"}, "command": ["sh", "-c", 'printf "%s\\n" "$X"']}
            literal = "echo '${steps.a.outputs.X} ${RUN_FOLDER}'"
            await finished(bench, {"id": "a", "run": script}, shows, literal)
            assert '\n$(touch pwned) `touch pwned`; touch pwned "\n${RUN_FOLDER}\n' in bench.text
            assert "\n${steps.a.outputs.X} ${RUN_FOLDER}\n" in bench.text
            assert not (bench.folder / "pwned").exists()

    asyncio.run(run())


def test_the_folder_of_the_run_stands_in_the_env_of_task_and_step(tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(BEST, tmp_path) as bench:
            await finished(bench, {"env": {"B": "${RUN_FOLDER}/b"}, "run": "echo $A $B"}, env={"A": "${RUN_FOLDER}/a"})
            assert f"{bench.folder}/a {bench.folder}/b\n" in bench.text
            engine = await bench.loaded(ProcessPayload(("sh", "-c", "echo $A")), env={"A": "${RUN_FOLDER}/c"})
            await (await engine.start({"A": "${RUN_FOLDER}/c"})).wait()
            assert f"{bench.folder}/c\n" in bench.text

    asyncio.run(run())


def test_variables_reach_all_later_steps_and_the_last_word_counts(tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(BEST, tmp_path) as bench:
            await finished(
                bench,
                "echo A=2 >> $TASKRUNNER_ENV; echo B=2 >> $TASKRUNNER_ENV; echo 1: $A $B",
                {"env": {"A": "3"}, "run": "echo 2: $A $B; cat $TASKRUNNER_ENV; echo C=3 >> $TASKRUNNER_ENV"},
                "echo 3: $A $B $C $TASK_ID",
                env={"A": "1", "TASK_ID": "t1"},
            )
            said = [line for line in bench.text.splitlines() if not line.startswith("[")]
            assert said == ["1: 1", "2: 3 2", "3: 2 2 3 t1"]

    asyncio.run(run())


def test_shells_working_folder_and_a_long_script(tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(BEST, tmp_path) as bench:
            results = await finished(
                bench,
                "mkdir -p a/b; echo 'echo here: $PWD' > a/b/tool; chmod +x a/b/tool",
                {"working_dir": "a/b", "command": ["./tool"]},
                {"shell": "bash", "if": "always()", "run": "false | true; echo not reached"},
                {"shell": ["bash"], "if": "always()", "run": "false | true; echo reached"},
                {"shell": "cat", "if": "always()", "run": "a last line without its end"},
                {"if": "always()", "run": "#" * 300_000 + "\necho long"},
                {"if": "always()", "run": "false; echo not reached"},
            )
            said = "\n".join(line for line in bench.text.splitlines() if not line.startswith("["))
            assert said == f"here: {bench.folder}/a/b\nreached\na last line without its end\nlong"
            assert outcomes(results) == ["success", "success", "failed", "success", "success", "success", "failed"]

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_steps_belong_to_the_account(kind: str, open_tmp: Path) -> None:
    async def run() -> None:
        async with own_bench(kind, open_tmp, accounts=Accounts(shared=account_of("nobody", open_tmp))) as bench:
            results = await finished(
                bench,
                {"id": "a", "run": "id -un; echo X=1 >> $TASKRUNNER_OUTPUT; echo Y=2 >> $TASKRUNNER_ENV"},
                {"env": {"X": "${steps.a.outputs.X}"}, "run": "echo $X $Y; rm .steps/* 2>/dev/null || echo kept"},
            )
            assert "nobody\n" in bench.text
            assert "1 2\nkept\n" in bench.text
            await results.dispose()
            assert list(bench.folder.iterdir()) == []

    asyncio.run(run())


def test_a_flood_in_the_background_does_not_hold_up_the_run(tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(BEST, tmp_path) as bench:
            results = await finished(bench, f"(while :; do echo {word}; done) &", "true", "true")
            assert outcomes(results) == ["success"] * 3
            assert alive(word) == []

    word = token()
    asyncio.run(run())


def test_both_outputs_of_a_step_are_in_its_phase(tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(BEST, tmp_path) as bench:
            payload = steps("printf out; printf err >&2", "echo next >&2")
            await (await started(bench, attrs.evolve(payload, separate_stderr=True))).wait()
            said = bench.text.partition("success")[0]
            assert "\nouterr\n" in said or "\nerrout\n" in said
            assert "\nnext\n[taskrunner] step 2/2" in bench.text

    before = descriptors()
    asyncio.run(run())
    assert descriptors() == before


def test_a_person_can_look_into_a_step(tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(BEST, tmp_path) as bench:
            execution = await started(bench, steps("mkfifo gate; echo up; cat gate"))
            assert isinstance(bench.log, MemoryLog)
            await bench.log.until("up\n")
            look = await execution.new_exec(["sh", "-c", "echo open > gate; echo seen"])
            assert await joined(look.stdout) == b"seen\n"
            assert (await execution.wait()).exit_code == 0

    asyncio.run(run())


def test_a_task_of_steps_has_no_standard_input(tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(BEST, tmp_path) as bench:
            engine = await bench.loaded(steps("true"))
            with pytest.raises(NotSupported):
                await engine.start({}, stdin=True)
            await engine.discard()

    before = descriptors()
    asyncio.run(run())
    assert descriptors() == before


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"command": ["a"], "steps": [{"run": "b"}]}, "command: stands beside `steps`"),
        ({"stdin": "a", "steps": [{"run": "b"}]}, "stdin: stands beside `steps`"),
        ({"steps": []}, "command: names no program"),
        ({"steps": [{}]}, "steps[0]: runs nothing"),
        ({"steps": [{"run": "a", "working_dir": "/tmp"}]}, "steps[0].working_dir: does not lie in the run's folder"),
        (
            {"steps": [{"run": "a", "working_dir": "a/../../b"}]},
            "steps[0].working_dir: does not lie in the run's folder",
        ),
    ],
)
def test_what_a_task_of_steps_must_not_say(document: dict[str, Any], complaint: str) -> None:
    with pytest.raises(MalformedPayload) as caught:
        check_payload(decode(ProcessPayload, document))
    assert [str(each) for each in caught.value.complaints if str(each).startswith(complaint)]
    assert len(caught.value.complaints) == 1


@pytest.mark.parametrize("field", [{"command": ["cat"], "stdin": "a"}, {"steps": [{"run": "cat"}]}])
def test_an_interactive_task_must_leave_its_input_open(field: dict[str, Any]) -> None:
    document = {"id": "t", "platform": "process", "interactive": True, **field}
    with pytest.raises(MalformedPayload) as caught:
        check_task(document, {"process": ProcessPlatform})
    problem = f"stands beside `{[*field][-1]}`, which leaves no input to keep open (leave one of them out)"
    assert [str(each) for each in caught.value.complaints] == [f"interactive: {problem}"]


def test_a_hundred_steps_need_no_more_descriptors_than_one(tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(BEST, tmp_path) as bench:
            results = await finished(bench, *["ls /proc/$PPID/fd | wc -l"] * 100)
            assert outcomes(results) == ["success"] * 100
            counts = [int(line) for line in bench.text.splitlines() if line.strip().isdecimal()]
            assert max(counts) - counts[0] < 10

    asyncio.run(run())


def test_a_clean_folder_takes_nothing_from_the_next_step(tmp_path: Path) -> None:
    async def run() -> None:
        async with own_bench(BEST, tmp_path) as bench:
            results = await finished(
                bench, "rm -rf .steps", {"if": "always()", "id": "a", "run": "echo X=1 >> $TASKRUNNER_OUTPUT"}
            )
            assert outcomes(results) == ["failed", "success"]
            assert "$TASKRUNNER_OUTPUT was removed or replaced" in results.message

    asyncio.run(run())
