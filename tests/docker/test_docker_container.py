"""Containers beyond the common contract: pulling, failing to start, memory, and crash recovery."""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

import attrs
import docker
import pytest

from taskrunner.errors import MalformedPayload, TaskFailed
from taskrunner.files.archives.decompression import decompressed
from taskrunner.interfaces.execution import Size
from taskrunner.interfaces.results import Results
from taskrunner.model import ArtifactSpec, RunKey, Secret
from taskrunner.runs.upload.artifact_upload import collect
from taskrunner.testing.fakes.artifacts import MemoryStore
from taskrunner_docker import DockerOptions, DockerPayload
from taskrunner_docker.cleanup.labels import WorkerLabels
from taskrunner_docker.cleanup.push_lock import PushLock
from taskrunner_docker.options import RegistryOptions
from taskrunner_docker.platform import DockerPlatform
from tests.support.docker_bench import DockerBench, DockerState
from tests.support.registry import registry
from tests.support.secret_search import command_lines, files_containing

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
        (container,) = DockerState.of(api, bench.worker_id, bench.home).runs
        api.update_container(container, mem_limit="16m", memswap_limit="16m")
        await execution.stdin.write(b"go\n")
        results = await execution.wait()
        await results.dispose()
        return results

    results = bench.run(starve)
    assert (results.exit_code, results.reason) == (137, "out-of-memory")
    assert "its peak was its limit, 16MiB (16777216 bytes)" in results.message


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


def test_artifacts_at_absolute_paths_are_kept(bench: DockerBench) -> None:
    async def keep() -> dict[str, bytes]:
        script = "mkdir -p /var/out/sub; cd /var/out; echo a >a.txt; echo b >sub/b.txt; ln -s /etc/hostname link"
        results, store = await finished(bench, shell(script)), MemoryStore()
        paths = {"file": "/var/out/a.txt", "folder": "/var/out", "pattern": "/var/out/**/*.txt", "gone": "/var/gone"}
        specs = [ArtifactSpec(name, path, optional=name == "gone") for name, path in paths.items()]
        await collect(specs, results, store, RunKey("t", 0), bench.log.say, lambda _: None)
        await results.dispose()
        return {name: data for (_, name), data in store.bodies.items()}

    kept = bench.run(keep)
    assert sorted(kept) == [
        "file", "folder/a.txt", "folder/link", "folder/sub/b.txt", "pattern/a.txt", "pattern/sub/b.txt",
    ]  # fmt: skip
    assert kept["pattern/sub/b.txt"] == b"b\n"
    assert DockerPlatform.absolute_paths


def test_links_and_second_tries_in_a_folder_that_is_too_large_for_a_socket(bench: DockerBench) -> None:
    """Docker answers nothing about a container while a tar of it is under way."""
    script = """
        mkdir -p /var/out; cd /var/out; ln -s c a; echo b >b; ln b d
        for name in c e; do head -c 5000000 /dev/zero | tr '\\0' $name >$name; done
    """

    async def read() -> dict[str, tuple[int, set[int]]]:
        results, found = await finished(bench, shell(script)), {}
        async for entry in results.archive_folder("/var/out"):
            begun = entry.read()
            await anext(begun)
            await begun.aclose()  # type: ignore[attr-defined]  # a generator
            again = b"".join([piece async for piece in entry.read()])
            found[entry.name] = len(again), set(again)
        await results.dispose()
        return found

    found = bench.run(read)
    assert list(found) == ["b", "c", "e", "a", "d"], "what is behind a link comes last"
    assert found["b"] == found["d"] == (2, set(b"b\n"))
    assert found["a"] == found["c"] == (5_000_000, set(b"c"))
    assert found["e"] == (5_000_000, set(b"e"))


def test_what_is_in_a_volume_or_a_cache_is_kept(bench: DockerBench) -> None:
    async def keep() -> dict[str, bytes]:
        cache = (await bench.caches.exclusive("some")).folder
        engine = await bench.loaded(shell("echo cached >/cache/a.txt; ln -s a.txt /cache/link"))
        await engine.attach_cache(cache, "/cache")
        results, store = await (await engine.start({})).wait(), MemoryStore()
        specs = [ArtifactSpec("files", "/cache"), ArtifactSpec("all.tar", "/cache", archive=True, compression="zstd")]
        await collect(specs, results, store, RunKey("t", 0), bench.log.say, lambda _: None)
        await results.dispose()
        return {name: data for (_, name), data in store.bodies.items()}

    kept = bench.run(keep)
    assert (kept["files/a.txt"], kept["files/link"]) == (b"cached\n", b"cached\n")
    with tarfile.open(fileobj=cast("IO[bytes]", decompressed(io.BytesIO(kept["all.tar"]), "zstd")), mode="r|") as tar:
        assert {member.name: member.issym() for member in tar} == {".": False, "./a.txt": False, "./link": True}


def test_a_container_that_another_program_removes_has_ended(bench: DockerBench, api: docker.APIClient) -> None:
    async def remove() -> int:
        execution = await (await bench.loaded(shell("echo up; exec sleep 1000000"))).start({})
        await bench.log.until("up")
        (container,) = DockerState.of(api, bench.worker_id, bench.home).runs
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


def test_crash_recovery_removes_the_containers_of_a_worker(bench: DockerBench) -> None:
    async def recover() -> list[str]:
        execution = await (await bench.loaded(shell("echo up; exec sleep 1000000"))).start({})
        await bench.log.until("up")
        lines = await bench.platform.clean_up_after(bench.worker_id)
        assert await bench.platform.clean_up_after(bench.worker_id) == []
        await execution.abort()
        return lines

    container, pause = sorted(bench.run(recover), key=lambda line: not line.endswith("of task1/0"))
    assert container.startswith("removed container ")
    assert pause.startswith("removed container ")


def test_a_container_with_our_labels_that_no_worker_made_is_left_alone(
    bench: DockerBench, api: docker.APIClient
) -> None:
    """Its image carries them: whoever may build an image for this machine could have a container removed."""
    labels = {"taskrunner.worker": bench.worker_id, "taskrunner.home": str(bench.home), "taskrunner.run": "task1/0"}
    body = {"Image": "taskrunner-base", "Cmd": ["true"], "Labels": labels}
    strangers = [
        api.create_container_from_config(body, name)["Id"] for name in (None, f"taskrunner-{bench.worker_id}-x")
    ]
    network = api.create_network(f"net-{bench.worker_id}", labels=labels)["Id"]
    api.create_volume(f"vol-{bench.worker_id}", labels=labels)
    try:
        assert bench.run(lambda: bench.platform.clean_up_after(bench.worker_id)) == []
        assert bench.run(lambda: bench.platform.clean_up_run(bench.worker_id, RunKey("task1", 0))) == []
        for stranger in strangers:
            api.inspect_container(stranger)
        api.inspect_network(network)
        api.inspect_volume(f"vol-{bench.worker_id}")
    finally:
        for stranger in strangers:
            api.remove_container(stranger)
        api.remove_network(network)
        api.remove_volume(f"vol-{bench.worker_id}")


def test_what_one_run_has_left_is_removed_and_the_other_runs_go_on(bench: DockerBench, api: docker.APIClient) -> None:
    async def scene() -> tuple[list[str], int]:
        first = await (await bench.loaded(shell("exec sleep 1000000"))).start({})
        second = await (await bench.loaded(shell("exec sleep 1000000"))).start({})
        lines = await bench.platform.clean_up_run(bench.worker_id, RunKey("task1", 0))
        assert await bench.platform.clean_up_run(bench.worker_id, RunKey("task1", 0)) == []
        left = len(DockerState.of(api, bench.worker_id, bench.home).runs)
        await first.abort()
        await second.abort()
        return lines, left

    lines, left = bench.run(scene)
    assert len(lines) == 2, "its container, and that of its network"
    assert any(line.endswith("of task1/0") for line in lines)
    assert left == 1


def test_two_workers_with_equal_homes_do_not_share_a_name() -> None:
    """Each in a container of its own, with one Docker."""
    names = {WorkerLabels(worker, Path("/home")).container_name(RunKey("t", 0)) for worker in ("w1", "w2")}
    assert len(names) == 2


def test_two_workers_of_one_name_with_homes_of_their_own_do_not_share_a_name() -> None:
    names = {WorkerLabels("w1", Path(home)).container_name(RunKey("t", 0)) for home in ("/one", "/two")}
    assert len(names) == 2


def test_a_container_waits_while_its_image_name_is_lent_to_a_push(bench: DockerBench) -> None:
    """Meanwhile the name is that of an image which another author has built."""

    async def scene() -> None:
        async with PushLock(bench.home / "docker" / "pushing").held("taskrunner-base"):
            loading = asyncio.create_task(bench.loaded(shell("true")))
            await asyncio.wait([loading], timeout=1)
            assert not loading.done()
        await (await loading).discard()

    bench.run(scene)


def test_a_command_and_all_that_it_started_is_aborted(bench: DockerBench, api: docker.APIClient) -> None:
    async def abort() -> list[str]:
        execution = await (await bench.loaded(shell("echo up; exec sleep 1000000"))).start({})
        await bench.log.until("up")
        command = await execution.new_exec(["sh", "-c", "(setsid sleep 2000000 &) ; echo on; exec sleep 3000000"])
        assert await anext(command.stdout) == b"on\n"
        await command.abort()
        assert await command.wait() == -9
        (container,) = DockerState.of(api, bench.worker_id, bench.home).runs
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


def test_a_command_beside_has_variables_and_a_folder_of_its_own(bench: DockerBench) -> None:
    async def look() -> list[bytes]:
        start = "mkdir -p /work/a; echo up; exec sleep 1000000"
        execution = await (await bench.loaded(attrs.evolve(shell(start), working_dir="/work"))).start(
            {"MINE": "run", "BOTH": "run"}
        )
        await bench.log.until("up")
        command = ["sh", "-c", "echo $MINE $BOTH $(pwd)"]
        outputs = []
        for cwd in ("", "a", "/tmp"):
            running = await execution.new_exec(command, env={"BOTH": "exec"}, cwd=cwd)
            outputs.append(b"".join([piece async for piece in running.stdout]))
        with pytest.raises(TaskFailed, match="cannot start"):
            await execution.new_exec(command, cwd="not-there")
        await execution.abort()
        return outputs

    assert bench.run(look) == [b"run exec /work\n", b"run exec /work/a\n", b"run exec /tmp\n"]


def test_a_variable_of_a_command_beside_is_visible_nowhere(bench: DockerBench, api: docker.APIClient) -> None:
    secret = f"hidden-{uuid.uuid4().hex}"

    async def look() -> str:
        execution = await (await bench.loaded(shell("echo up; exec sleep 1000000"))).start({})
        await bench.log.until("up")
        beside = await execution.new_exec(["sh", "-c", "echo ${#HIDDEN}; read x"], env={"HIDDEN": secret})
        assert await anext(beside.stdout) == f"{len(secret)}\n".encode()
        (container,) = DockerState.of(api, bench.worker_id, bench.home).runs
        inspected = api.inspect_container(container)
        execs = [api.exec_inspect(each) for each in inspected["ExecIDs"]]
        assert execs, "a search that finds no command finds nothing"
        shown = command_lines() + json.dumps([inspected, execs])
        await execution.abort()
        return shown

    assert secret not in bench.run(look) + bench.log.text
    assert files_containing(bench.home, secret) == []


def test_a_terminal_is_resized(bench: DockerBench) -> None:
    async def look() -> tuple[bytes, int]:
        execution = await (await bench.loaded(shell("exec sleep 1000000"))).start({})
        command = await execution.new_exec(
            ["sh", "-c", "read x; stty size; read x; stty size; exit 130"], tty=Size(33, 111)
        )
        await command.stdin.write(b"go\n")
        output = b""
        while b"33 111\r\n" not in output:
            output += await anext(command.stdout)
        await command.resize(40, 132)
        await command.stdin.write(b"go\n")
        output += b"".join([piece async for piece in command.stdout])
        code = await command.wait()
        await execution.abort()
        return output, code

    output, code = bench.run(look)
    assert b"40 132" in output
    assert code == -2
