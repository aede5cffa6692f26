"""Tasks of several steps, in one container."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import pytest

from taskrunner.errors import MalformedPayload, NotSupported, TaskFailedInternally
from taskrunner.interfaces.execution import Execution
from taskrunner.interfaces.log import LogStream
from taskrunner.interfaces.results import Results
from taskrunner.schema.decode import decode
from taskrunner.testing.conformance.platform.harness import joined
from taskrunner_docker import DockerPayload
from taskrunner_docker.payload import check
from tests.support.docker_bench import DockerBench, DockerState


@pytest.fixture
def bench(tmp_path: Path, api: docker.APIClient, base_image: str) -> Iterator[DockerBench]:
    bench = DockerBench(tmp_path / "home", worker_id=f"w-{uuid.uuid4().hex[:8]}")
    yield bench
    left = DockerState.of(api, bench.worker_id, bench.home)
    assert not left.containers | left.networks | left.volumes
    assert list((bench.home / "runs").glob("*/*")) == []


def steps(*documents: dict[str, Any] | str, **more: Any) -> DockerPayload:
    """A payload with these steps; a text is a script."""
    found = [{"run": each} if isinstance(each, str) else each for each in documents]
    return decode(DockerPayload, {"image": "taskrunner-base", "steps": found, **more})


async def started(bench: DockerBench, payload: DockerPayload, env: Mapping[str, str] | None = None) -> Execution:
    return await (await bench.loaded(payload)).start(env or {})


async def finished(bench: DockerBench, payload: DockerPayload, env: Mapping[str, str] | None = None) -> Results:
    results = await (await started(bench, payload, env)).wait()
    await results.dispose()
    return results


def outcomes(results: Results) -> list[str]:
    found: Any = results.details["steps"]
    return [step["outcome"] for step in found]


def test_five_steps_pass_on_outputs_and_variables(bench: DockerBench) -> None:
    payload = steps(
        {"id": "build", "run": 'echo VERSION=1.2 >> $TASKRUNNER_OUTPUT\necho "MODE=a b" >> $TASKRUNNER_ENV'},
        {
            "id": "test",
            "env": {"V": "${steps.build.outputs.VERSION} in ${RUN_FOLDER}"},
            "run": "echo $V, $MODE, $GIVEN; echo err >&2; exit 3",
        },
        {"id": "deploy", "run": "echo never"},
        {"id": "report", "if": "failure() && steps.test.outcome == 'failed'", "run": "echo broken > report.txt"},
        {"id": "clean", "if": "always()", "command": ["printf", "no line end"]},
        working_dir="/work",
    )

    async def run() -> Results:
        results = await (await started(bench, payload, {"GIVEN": "x"})).wait()
        assert await joined((await results.archive_file("report.txt")).read()) == b"broken\n"
        await results.dispose()
        return results

    results = bench.run(run)
    assert outcomes(results) == ["success", "failed", "skipped", "success", "success"]
    assert (results.exit_code, results.reason) == (3, "step-failed")
    assert results.message == "step 2/5 test: exit code 3"
    said = bench.log.text.partition("step 2/5 test\n")[2].partition("[taskrunner] step 2/5 test: failed (exit code 3)")[
        0
    ]
    assert sorted(said.splitlines()) == ["1.2 in /work, a b, x", "err"]  # Docker keeps no order between the two outputs
    assert "[taskrunner] step 3/5 deploy: skipped\n" in bench.log.text
    assert "step 5/5 clean\nno line end\n[taskrunner] step 5/5 clean: success" in bench.log.text
    assert [(p.step, p.done, p.total, p.note) for p in bench.reported][1] == ("step", 2, 5, "test")


def test_all_steps_succeed(bench: DockerBench) -> None:
    results = bench.run(lambda: finished(bench, steps("true", {"if": "failure()", "run": "true"}, "true")))
    assert (results.exit_code, results.reason, results.message) == (0, "", "")
    assert outcomes(results) == ["success", "skipped", "success"]


def test_the_shell_of_the_run_is_not_that_of_the_entrypoint(bench: DockerBench, api: docker.APIClient) -> None:
    """An image with an entrypoint, and with a user that is not root."""
    name = f"taskrunner-steps-{uuid.uuid4().hex[:8]}"
    made = api.create_container("taskrunner-base", ["true"])
    try:
        api.commit(
            made["Id"], name, conf={"Entrypoint": ["false"], "Cmd": ["x"], "User": "65534:65534", "Env": ["E=1"]}
        )
        payload = steps(
            {"id": "a", "run": "id -u; echo X=1 >> $TASKRUNNER_OUTPUT; echo E=2 >> $TASKRUNNER_ENV; echo E: $E"},
            {"env": {"X": "${steps.a.outputs.X}"}, "run": "echo $X $E; rm -f /.taskrunner/output || echo kept"},
            image=name,
        )
        results = bench.run(lambda: finished(bench, payload))
    finally:
        api.remove_container(made["Id"])
        api.remove_image(name)
    assert outcomes(results) == ["success", "success"]
    assert "65534\nE: 1\n" in bench.log.text
    assert "1 2\n" in bench.log.text
    assert "\nkept\n" in bench.log.text


def test_what_a_step_leaves_running_serves_the_next(bench: DockerBench) -> None:
    payload = steps(
        "mkfifo /questions /answers; (read q < /questions; echo to $q > /answers; sleep 1000) > /dev/null 2>&1 &",
        "echo you > /questions; cat /answers",
    )
    results = bench.run(lambda: finished(bench, payload))
    assert outcomes(results) == ["success", "success"]
    assert "to you\n" in bench.log.text


def test_a_step_over_its_time_is_killed_and_later_ones_run(bench: DockerBench) -> None:
    payload = steps(
        {"name": "slow", "run": "(sleep 1234 &); sleep 1234", "max_run_time": 1},
        {"if": "always()", "run": "! grep -sq '[s]leep.1234' /proc/[0-9]*/cmdline"},
        "true",
    )
    results = bench.run(lambda: finished(bench, payload))
    assert outcomes(results) == ["failed", "success", "skipped"]
    assert (results.exit_code, results.reason) == (137, "max-run-time")
    assert results.message == "step 1/3 slow: it took longer than its max_run_time of 1 s and was stopped"


@pytest.mark.parametrize("end", ["kill", "abort"])
def test_after_a_kill_nothing_more_runs(bench: DockerBench, end: str) -> None:
    async def run() -> Results | None:
        execution = await started(bench, steps("true", "echo up; sleep 1000", {"if": "always()", "run": "echo more"}))
        await bench.log.until("\nup\n")
        if end == "abort":
            await execution.abort()
            return None
        results = await execution.kill()
        await results.dispose()
        return results

    results = bench.run(run)
    if results:
        assert outcomes(results) == ["success", "stopped", "skipped"]
        assert results.exit_code == 137
    assert "\nmore\n" not in bench.log.text
    assert ": stopped (the run was ended)" in bench.log.text


def test_a_container_that_ends_by_itself_ends_the_steps(bench: DockerBench) -> None:
    payload = steps("echo first", "kill -9 -1; sleep 1000", {"if": "always()", "run": "echo more"})
    results = bench.run(lambda: finished(bench, payload))
    assert results.exit_code != 0
    assert results.reason in ("container-ended", "step-failed")


def test_an_image_without_a_shell_is_named(bench: DockerBench, api: docker.APIClient) -> None:
    name = f"taskrunner-steps-{uuid.uuid4().hex[:8]}"
    api.import_image_from_data(bytes(1024), repository=name)
    try:
        results = bench.run(lambda: finished(bench, steps({"command": ["/x"]}, image=name)))
    finally:
        api.remove_image(name)
    assert results.reason == "start-failed"
    assert results.message == "steps need a shell, and there is no `sh` in the image"


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ("echo nonsense >> $TASKRUNNER_OUTPUT", "$TASKRUNNER_OUTPUT line 1: write NAME=value"),
        ("echo RUN_ID=7 >> $TASKRUNNER_ENV", "$TASKRUNNER_ENV sets RUN_ID, which the worker alone sets"),
        ("head -c 70000 /dev/zero >> $TASKRUNNER_OUTPUT", "$TASKRUNNER_OUTPUT has more than 64 KiB"),
        ({"command": ["no-such-command"]}, "cannot start 'no-such-command' in the container"),
        ({"run": "true", "shell": "no-such-shell"}, "cannot start 'no-such-shell' in the container"),
        ({"run": "true", "working_dir": "missing"}, "cannot start 'sh' in the container"),
    ],
)
def test_a_step_that_fails_lets_the_others_decide(bench: DockerBench, step: dict[str, Any] | str, why: str) -> None:
    payload = steps(step, "true", {"if": "failure()", "run": "cd /tmp"}, working_dir="/")
    results = bench.run(lambda: finished(bench, payload))
    assert outcomes(results) == ["failed", "skipped", "success"]
    assert why in results.message
    assert results.reason == "step-failed"
    assert results.exit_code != 0


def test_a_hostile_step_can_neither_close_nor_take_the_files(bench: DockerBench) -> None:
    script = """
        chmod 0 /.taskrunner/*; chown 1:1 /.taskrunner/*; ! mv /etc/passwd /.taskrunner/env
        echo X=1 >> $TASKRUNNER_OUTPUT
    """
    payload = steps({"id": "a", "run": script}, {"env": {"X": "${steps.a.outputs.X}"}, "run": "echo found $X"})
    results = bench.run(lambda: finished(bench, payload))
    assert outcomes(results) == ["success", "success"]
    assert "found 1\n" in bench.log.text


def test_a_log_that_fails_ends_the_run(bench: DockerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    write = bench.log.write

    def full(data: bytes, stream: LogStream = "stdout") -> None:
        if b"too much" in data:
            raise TaskFailedInternally("the disk is full")
        write(data, stream)

    async def run() -> None:
        execution = await started(bench, steps({"name": "x", "run": "echo too much; sleep 1000"}))
        with pytest.raises(TaskFailedInternally, match="the disk is full"):
            await execution.wait()
        await execution.abort()

    monkeypatch.setattr(bench.log, "write", full)
    bench.run(run)


def test_the_folder_of_the_run_stands_in_env(bench: DockerBench) -> None:
    async def run() -> None:
        payload = DockerPayload(image="taskrunner-base", command=("sh", "-c", "echo $A"), working_dir="/work")
        engine = await bench.loaded(payload, env={"A": "${RUN_FOLDER}/a"})
        results = await (await engine.start({"A": "${RUN_FOLDER}/a"})).wait()
        await results.dispose()

    bench.run(run)
    assert "/work/a\n" in bench.log.text


def test_a_task_of_steps_has_no_standard_input(bench: DockerBench) -> None:
    async def run() -> None:
        engine = await bench.loaded(steps("true"))
        with pytest.raises(NotSupported):
            await engine.start({}, stdin=True)
        await engine.discard()

    bench.run(run)


def test_a_cancelled_start_leaves_nothing(bench: DockerBench) -> None:
    async def run() -> None:
        engine = await bench.loaded(steps("true"))
        starting = asyncio.ensure_future(engine.start({}))
        for _ in range(3):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait({starting})
        if not starting.cancelled():
            await starting.result().abort()
        await engine.discard()

    bench.run(run)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"image": "a", "command": ["a"], "steps": [{"run": "b"}]}, "command: stands beside `steps`"),
        ({"image": "a", "steps": [{}]}, "steps[0]: runs nothing"),
        ({"build": {}, "steps": [{"run": "b"}]}, "steps: means nothing to a build"),
    ],
)
def test_what_a_task_of_steps_must_not_say(document: dict[str, Any], complaint: str) -> None:
    with pytest.raises(MalformedPayload) as caught:
        check(decode(DockerPayload, document))
    assert [str(each) for each in caught.value.complaints if str(each).startswith(complaint)]
    assert len(caught.value.complaints) == 1
