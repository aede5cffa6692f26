"""Containers beyond the common contract: pulling, failing to start, memory, and crash recovery."""

from __future__ import annotations

import io
import os
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import docker
import pytest

from taskrunner.errors import MalformedPayload, TaskFailed
from taskrunner.interfaces.results import Results
from taskrunner.model import Secret
from taskrunner_docker import DockerOptions, DockerPayload
from taskrunner_docker.options import RegistryOptions
from tests.support.docker_bench import DockerBench, DockerState
from tests.support.registry import registry

PASSWORD = "s3cret-passw0rd"


@pytest.fixture
def bench(tmp_path: Path, api: docker.APIClient, base_image: str) -> Iterator[DockerBench]:
    bench = DockerBench(tmp_path / "home", worker_id=f"w-{uuid.uuid4().hex[:8]}")
    yield bench
    left = DockerState.of(api, bench.worker_id, bench.home)
    assert not left.containers | left.networks | left.volumes


def shell(script: str) -> DockerPayload:
    return DockerPayload(image="taskrunner-base", command=("sh", "-c", script))


async def finished(bench: DockerBench, payload: DockerPayload) -> Results:
    return await (await (await bench.loaded(payload)).start({})).wait()


def test_a_missing_image_is_pulled(bench: DockerBench, api: docker.APIClient, tmp_path: Path) -> None:
    with registry(tmp_path / "registry", {"ci": PASSWORD}) as running:
        name = f"{running.host}/tools/busy:1"
        auth = {"username": "ci", "password": PASSWORD}
        api.import_image_from_data(_layer(), repository=f"{running.host}/tools/busy", tag="1")
        api.push(f"{running.host}/tools/busy", tag="1", auth_config=auth)
        api.remove_image(name)
        bench.options = DockerOptions(registries={running.host: RegistryOptions("ci", Secret(literal=PASSWORD))})

        async def load() -> None:
            await (await bench.loaded(DockerPayload(image=name))).discard()

        try:
            bench.run(load)
            assert api.inspect_image(name)
        finally:
            with suppress(docker.errors.ImageNotFound):
                api.remove_image(name)
    assert f"pulling {name}" in bench.log.text
    assert bench.reported[-1].step == "pull"
    assert bench.reported[-1].done == bench.reported[-1].total > 0


def _layer() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("random")
        info.size = 1 << 20
        tar.addfile(info, io.BytesIO(os.urandom(info.size)))
    return buffer.getvalue()


@pytest.mark.parametrize(("command", "code"), [("no-such-program", 127), ("/etc/passwd", 126)])
def test_a_command_that_is_missing(bench: DockerBench, command: str, code: int) -> None:
    async def start() -> Results:
        results = await finished(bench, DockerPayload(image="taskrunner-base", command=(command, "--flag")))
        await results.dispose()
        return results

    results = bench.run(start)
    assert results.exit_code == code
    assert "is not in the image, or cannot be run there" in results.message
    assert f"exec {command} failed" in bench.log.text


@pytest.mark.parametrize(("working_dir", "cache"), [("/etc/passwd", "/cache"), ("/", "/etc/passwd")])
def test_a_folder_that_is_a_file_in_the_image(bench: DockerBench, working_dir: str, cache: str) -> None:
    async def start() -> None:
        engine = await bench.loaded(DockerPayload(image="taskrunner-base", working_dir=working_dir))
        lease = await bench.caches.exclusive("some")
        try:
            await engine.attach_cache(lease.folder, cache)
            await engine.start({"TOKEN": "s3cret"})
        finally:
            await engine.discard()

    with pytest.raises(TaskFailed, match="check `command`, `working_dir` and") as caught:
        bench.run(start)
    assert caught.value.reason == "start-failed"
    assert "s3cret" not in f"{caught.value!r}"


def test_a_container_that_needs_too_much_memory(bench: DockerBench, api: docker.APIClient) -> None:
    async def starve() -> Results:
        engine = await bench.loaded(shell("read go; exec tail /dev/zero"))
        execution = await engine.start({}, stdin=True)
        (container,) = DockerState.of(api, bench.worker_id, bench.home).containers
        api.update_container(container, mem_limit="16m", memswap_limit="16m")
        await execution.stdin.write(b"go\n")
        results = await execution.wait()
        await results.dispose()
        return results

    results = bench.run(starve)
    assert (results.exit_code, results.reason) == (137, "out-of-memory")
    assert "ran out of memory" in results.message


@pytest.mark.parametrize("working_dir", ["/w", "//w/./"])
def test_a_working_folder_that_has_become_a_link(bench: DockerBench, working_dir: str) -> None:
    script = """
        mv /w /real && ln -s /real /w && cd /real && mkdir out && echo kept > out/file
        ln -s file out/inner; ln -s /etc/passwd out/outer; ln -s /w/out all
    """

    async def look() -> list[str]:
        payload = DockerPayload(image="taskrunner-base", command=("sh", "-c", script), working_dir=working_dir)
        results = await finished(bench, payload)
        names = [entry.name async for entry in results.archive_folder("all")]
        with pytest.raises(PermissionError):
            await results.archive_file("out/outer")
        await results.dispose()
        return names

    assert bench.run(look) == ["file", "inner"]


def test_an_attempt_whose_answer_was_lost_is_replaced(bench: DockerBench, api: docker.APIClient) -> None:
    async def start_twice() -> int:
        engine = await bench.loaded(shell("exit 4"))
        await (await engine.start({})).wait()
        results = await (await engine.start({})).wait()
        await results.dispose()
        return results.exit_code

    assert bench.run(start_twice) == 4


def test_output_is_drained_before_the_run_is_waited_for(bench: DockerBench) -> None:
    size = 8 << 20

    async def flood() -> None:
        engine = await bench.loaded(shell(f"head -c {size} /dev/zero; echo; echo done >&2"))
        execution = await engine.start({})
        await bench.log.until("done")
        await (await execution.wait()).dispose()

    bench.run(flood)
    assert bench.log.data.count(b"\0") == size


def test_the_log_knows_what_came_from_stderr(bench: DockerBench) -> None:
    async def print_to_both() -> None:
        await (await finished(bench, shell("echo one; echo two; echo three >&2; echo four >&2"))).dispose()

    bench.run(print_to_both)
    texts = [b"".join(data for each, data in bench.log.pieces if each == stream) for stream in ("stdout", "stderr")]
    assert texts == [b"one\ntwo\n", b"three\nfour\n"]


def test_a_container_that_another_program_removes_has_ended(bench: DockerBench, api: docker.APIClient) -> None:
    async def remove() -> int:
        execution = await (await bench.loaded(shell("echo up; exec sleep 1000000"))).start({})
        await bench.log.until("up")
        (container,) = DockerState.of(api, bench.worker_id, bench.home).containers
        api.remove_container(container, force=True)
        results = await execution.wait()
        with pytest.raises(FileNotFoundError):
            await results.archive_file("/etc/passwd")
        await results.dispose()
        return results.exit_code

    assert bench.run(remove) == 137


@pytest.mark.parametrize(("target", "problem"), [("/", "no place"), ("../up", "no place"), ("/work/a", "two caches")])
def test_a_bad_target_of_a_cache_is_refused(bench: DockerBench, target: str, problem: str) -> None:
    async def attach() -> None:
        engine = await bench.loaded(DockerPayload(image="taskrunner-base", working_dir="/work"))
        folder = (await bench.caches.exclusive("some")).folder
        try:
            await engine.attach_cache(folder, "a")
            await engine.attach_cache(folder, target)
        finally:
            await engine.discard()

    with pytest.raises(MalformedPayload, match=problem):
        bench.run(attach)


def test_crash_recovery_removes_all_objects_of_a_worker(bench: DockerBench, api: docker.APIClient) -> None:
    labels = {"taskrunner.worker": bench.worker_id, "taskrunner.home": str(bench.home)}

    async def recover() -> list[str]:
        execution = await (await bench.loaded(shell("echo up; exec sleep 1000000"))).start({})
        await bench.log.until("up")
        api.create_network(f"net-{bench.worker_id}", labels=labels)
        api.create_volume(f"vol-{bench.worker_id}", labels=labels)
        lines = await bench.platform.clean_up_after(bench.worker_id)
        assert await bench.platform.clean_up_after(bench.worker_id) == []
        await execution.abort()
        return lines

    container, network, volume = bench.run(recover)
    assert container.startswith("removed container ")
    assert container.endswith("of task1/0")
    assert network == f"removed network net-{bench.worker_id}"
    assert volume == f"removed volume vol-{bench.worker_id}"


def test_a_command_and_all_that_it_started_is_aborted(bench: DockerBench, api: docker.APIClient) -> None:
    async def abort() -> list[str]:
        execution = await (await bench.loaded(shell("echo up; exec sleep 1000000"))).start({})
        await bench.log.until("up")
        command = await execution.new_exec(["sh", "-c", "(setsid sleep 2000000 &) ; echo on; exec sleep 3000000"])
        assert await anext(command.stdout) == b"on\n"
        await command.abort()
        assert await command.wait() == -9
        (container,) = DockerState.of(api, bench.worker_id, bench.home).containers
        processes = [" ".join(process) for process in api.top(container)["Processes"]]
        await execution.abort()
        return processes

    processes = bench.run(abort)
    assert any("sleep 1000000" in process for process in processes)
    assert not [process for process in processes if "sleep 2000000" in process or "sleep 3000000" in process]


@pytest.mark.parametrize("command", ["no-such-program", "/etc"])
def test_a_command_beside_that_cannot_be_started(bench: DockerBench, command: str) -> None:
    async def start() -> None:
        execution = await (await bench.loaded(shell("exec sleep 1000000"))).start({})
        try:
            await execution.new_exec([command])
        finally:
            await execution.abort()

    with pytest.raises(TaskFailed, match="cannot start") as caught:
        bench.run(start)
    assert caught.value.reason == "exec-failed"


def test_a_terminal_is_resized(bench: DockerBench) -> None:
    async def look() -> tuple[bytes, int]:
        execution = await (await bench.loaded(shell("exec sleep 1000000"))).start({})
        command = await execution.new_exec(["sh", "-c", "read x; stty size; exit 130"], tty=True)
        await command.resize(40, 132)
        await command.stdin.write(b"go\n")
        output = b"".join([piece async for piece in command.stdout])
        code = await command.wait()
        await execution.abort()
        return output, code

    output, code = bench.run(look)
    assert b"40 132" in output
    assert code == -2
