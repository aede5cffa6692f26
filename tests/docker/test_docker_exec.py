"""Commands beside that of a container: how they are killed, and `taskrunner exec` on a real worker."""

from __future__ import annotations

import io
import json
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import psutil
import pytest

from script.base_image import static_busybox
from taskrunner.errors import TaskFailedInternally
from taskrunner_docker import DockerPayload
from taskrunner_docker.container import exec as exec_module
from taskrunner_docker.container import host_processes
from tests.support.command_line import LIMIT, TASKRUNNER, CommandLine
from tests.support.docker_bench import DockerBench
from tests.support.terminal import at_terminal

FOREVER = "1000000"


@pytest.fixture(scope="module")
def without_shell() -> Iterator[str]:
    """An image with two programs, `sleep` and `cat`, and no shell."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name in ("bin/sleep", "bin/cat"):
            tar.add(static_busybox(), name)
    api = docker.APIClient(version="auto")
    image = f"without-shell-{uuid.uuid4().hex[:8]}"
    try:
        api.import_image_from_data(content.getvalue(), repository=image, tag="latest")
        yield image
        api.remove_image(image, force=True)
    finally:
        api.close()


def processes_with(argument: str) -> list[psutil.Process]:
    return [each for each in psutil.process_iter(["cmdline"]) if argument in (each.info["cmdline"] or ())]


def test_a_command_in_an_image_without_a_shell_is_killed(bench: DockerBench, without_shell: str) -> None:
    seconds = str(int(FOREVER) + uuid.uuid4().int % 10**6)

    async def scene() -> int:
        payload = DockerPayload(image=without_shell, command=("/bin/sleep", FOREVER))
        execution = await (await bench.loaded(payload)).start({})
        command = await execution.new_exec(["/bin/sleep", seconds])
        assert len(processes_with(seconds)) == 1
        await command.abort()
        assert processes_with(seconds) == []
        status = await command.wait()
        await execution.abort()
        return status

    assert bench.run(scene) == -9


def test_a_child_without_the_environment_is_killed_too(bench: DockerBench) -> None:
    seconds = str(int(FOREVER) + uuid.uuid4().int % 10**6)

    async def scene() -> None:
        payload = DockerPayload(image="taskrunner-base", command=("sleep", FOREVER))
        execution = await (await bench.loaded(payload)).start({})
        script = f"env -i sleep {seconds} & for n in 1 2 3; do sleep {seconds} & done; echo on; wait"
        command = await execution.new_exec(["sh", "-c", script])
        assert await anext(command.stdout) == b"on\n"
        await command.abort()
        assert processes_with(seconds) == []
        await execution.abort()

    bench.run(scene)


def test_where_the_machine_does_not_see_the_process_a_shell_kills_it(
    bench: DockerBench, without_shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a worker that has a PID namespace of its own."""
    monkeypatch.setattr(host_processes, "PROC", tmp_path / "none")

    async def aborted(image: str) -> None:
        payload = DockerPayload(image=image, command=("/bin/sleep", FOREVER))
        execution = await (await bench.loaded(payload)).start({})
        try:
            command = await execution.new_exec(["/bin/sleep", FOREVER])
            await command.abort()
            assert await command.wait() == -9
        finally:
            await execution.abort()

    bench.run(lambda: aborted("taskrunner-base"))
    monkeypatch.setattr(exec_module, "_EXEC_TIMEOUT", 0.5)
    with pytest.raises(TaskFailedInternally, match=r"does not end, and cannot be killed: .*sh"):
        bench.run(lambda: aborted(without_shell))


def test_a_shell_in_a_container_through_a_worker(tmp_path: Path, base_image: str) -> None:
    cli = CommandLine(tmp_path)
    task = {"id": "boxed", "platform": "docker", "image": base_image, "command": ["sh", "-c", "echo up; sleep 1000000"]}
    (tmp_path / "boxed.json").write_text(json.dumps({**task, "secrets": {"TOKEN": "s3cret-v4lue"}}))
    cli("submit", "boxed.json")
    with cli.start("run") as worker:
        worker.until("boxed/0  running")
        ended = cli("exec", "boxed", "--", "sh", "-c", "cat; echo $TOKEN; echo failed >&2; exit 7", stdin=b"\0\xff")
        assert (ended.status, ended.err) == (7, "failed\n")
        assert ended.raw == b"\0\xffs3cret-v4lue\n", "what the operator sees is not masked"
        with at_terminal([TASKRUNNER, "exec", "boxed", "--", "sh"], cwd=tmp_path, env=cli.env) as person:
            person.type(b"stty size; echo in $((40 + 2))\r")
            assert b"24 80" in person.until(b"in 42")
            person.resize(33, 111)
            person.type(b"sh -c 'echo on$((40 + 2)); exec sleep 1000000'\r")  # Ctrl-C is for whoever printed it
            person.until(b"on42")
            person.type(b"\x03")
            person.type(b"stty size; exit 9\r")
            person.until(b"33 111")
            assert person.end() == 9
            assert person.is_as_before
        seconds = str(int(FOREVER) + uuid.uuid4().int % 10**6)
        with cli.start("exec", "boxed", "--", "sh", "-c", f"echo up; sleep {seconds}") as client:
            client.until("up", stream="stdout")
            left = processes_with(seconds)
            client.process.kill()
        for process in left:
            process.wait(LIMIT)
        cli("drain", "--now")
        assert worker.end() == 0
    log = cli.run_log("boxed").read_text()
    assert "s3cret-v4lue" not in log
    assert "exec 3 (sh) has ended: its client has gone, signal 9" in log
