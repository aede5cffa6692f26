"""The network of a run: what it reaches, whom it never sees, and what the next run finds."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import attrs
import docker
import pytest

from taskrunner.errors import MalformedPayload, Unavailable
from taskrunner.model import RunKey
from taskrunner_docker import DockerOptions, DockerPayload
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.cleanup.labels import WorkerLabels
from taskrunner_docker.payload import Network
from taskrunner_docker.pod.pause import PauseMaker
from taskrunner_docker.pod.pause_image import PauseImage
from taskrunner_docker.pod.pause_program import pause_program
from taskrunner_docker.pod.pool import PausePool
from taskrunner_docker.pod.sockets import Sockets
from tests.support.docker_bench import DockerBench, DockerState
from tests.support.killed import run_until_ready_and_kill


def shell(script: str, network: Network = "bridge") -> DockerPayload:
    return DockerPayload(image="taskrunner-base", command=("sh", "-c", script), network=network)


async def finish(bench: DockerBench, payload: DockerPayload) -> int:
    """Runs it, and returns its exit code."""
    execution = await (await bench.loaded(payload)).start({})
    results = await execution.wait()
    await results.dispose()
    return results.exit_code


def test_two_tasks_on_the_same_ports_never_see_each_other(bench: DockerBench) -> None:
    """Both listen to port 8000 of every address at the same time, and each finds itself."""
    page = "mkdir /www; echo page of $TASK_NAME >/www/index.html"
    serve = f"{page}; httpd -p 8000 -h /www || exit 3; echo up $TASK_NAME; read go"
    ask = "; wget -q -O - http://127.0.0.1:8000/"

    async def both() -> list[int]:
        executions = [
            await (await bench.loaded(shell(serve + ask))).start({"TASK_NAME": name}, stdin=True)
            for name in ("one", "two")
        ]
        for name in ("one", "two"):
            await bench.log.until(f"up {name}\n")
        for execution in executions:
            await execution.stdin.write(b"go\n")
        results = [await execution.wait() for execution in executions]
        for each in results:
            await each.dispose()
        return [each.exit_code for each in results]

    assert bench.run(both) == [0, 0]
    assert sorted(line for line in bench.log.text.splitlines() if "page of" in line) == ["page of one", "page of two"]


@pytest.mark.parametrize(("network", "expected"), [("none", {"lo"}), ("isolated", {"lo"}), ("bridge", {"lo", "eth0"})])
def test_what_a_task_reaches(bench: DockerBench, network: Network, expected: set[str]) -> None:
    bench.run(
        lambda: finish(bench, shell("sed 1,2d /proc/net/dev | cut -d: -f1 | tr -d ' ' | sed 's/^/if=/'", network))
    )
    assert {line[3:] for line in bench.log.text.splitlines() if line.startswith("if=")} == expected


def test_the_network_of_the_machine_is_the_operators_to_give(bench: DockerBench) -> None:
    payload = shell("sed 1,2d /proc/net/dev | wc -l", "host")
    with pytest.raises(MalformedPayload, match=r"\[docker\] host_network"):
        bench.run(lambda: bench.loaded(payload))
    bench.options = DockerOptions(host_network=True)
    bench.run(lambda: finish(bench, payload))
    machine = Path("/proc/net/dev").read_text().count(":")
    assert f"{machine}\n" in bench.log.text


def pods(api: docker.APIClient, bench: DockerBench) -> set[str]:
    state = DockerState.of(api, bench.worker_id, bench.home)
    return set(state.containers - state.runs)


async def two_runs(bench: DockerBench, api: docker.APIClient, first: DockerPayload) -> tuple[set[str], set[str]]:
    """The pause containers of this run and of one after it, which begins when the first's was checked."""
    held: list[set[str]] = []
    for payload in (first, shell("exit 0", first.network)):
        engine = await bench.loaded(payload)
        execution = await engine.start({})
        held.append({each for each in pods(api, bench) if "beside" in api.inspect_container(each)["Name"]})
        await (await execution.wait()).dispose()
        await asyncio.wait(bench.platform._pauses()._returning or {asyncio.create_task(asyncio.sleep(0))})
    return held[0], held[1]


def test_a_clean_network_is_used_again(bench: DockerBench, api: docker.APIClient) -> None:
    first, second = bench.run(lambda: two_runs(bench, api, shell("echo clean", "isolated")))
    assert first == second
    assert len(first) == 1


@pytest.mark.parametrize(
    "script",
    [
        "echo 192.0.2.1 registry.example >>/etc/hosts",
        "echo nameserver 192.0.2.1 >/etc/resolv.conf",
        "(nc -l -p 9000 </dev/null >/dev/null & ); until nc -w 1 127.0.0.1 9000 </dev/null; do :; done",
    ],
    ids=["a host name", "a name server", "a port that waits for the end of its connection"],
)
def test_a_network_with_traces_of_a_run_is_not_used_again(
    bench: DockerBench, api: docker.APIClient, script: str
) -> None:
    first, second = bench.run(lambda: two_runs(bench, api, shell(script, "isolated")))
    assert first != second


def test_a_pause_container_that_another_program_removes_is_replaced(bench: DockerBench, api: docker.APIClient) -> None:
    async def scene() -> int:
        await finish(bench, shell("exit 0", "isolated"))
        await asyncio.wait(bench.platform._pauses()._returning)
        (idle,) = pods(api, bench)
        api.remove_container(idle, force=True)
        return await finish(bench, shell("exit 7", "isolated"))

    assert bench.run(scene) == 7


KILLED = """
import asyncio, sys
from pathlib import Path
from taskrunner_docker import DockerPayload
from tests.support.docker_bench import DockerBench

bench = DockerBench(Path(sys.argv[1]), worker_id=sys.argv[2])

def sleeping(network):
    return DockerPayload(image="taskrunner-base", command=("sleep", "1000"), network=network)

async def work():
    done = await (await bench.loaded(sleeping("isolated"))).start({})
    await done.abort()
    await (await bench.loaded(sleeping("bridge"))).start({})
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()

bench.run(work)
"""


def test_the_pool_of_a_killed_worker_is_removed_by_the_next(bench: DockerBench, api: docker.APIClient) -> None:
    """In the pool is one pause container, and a run has another."""
    run_until_ready_and_kill(KILLED, bench.home, bench.worker_id)
    assert len(DockerState.of(api, bench.worker_id, bench.home).containers) == 3
    successor = attrs.evolve(bench, worker_id=f"{bench.worker_id}-next")
    lines = successor.run(lambda: successor.platform.clean_up_after(bench.worker_id))
    assert len(lines) == 3


class AwayOnce:
    """A daemon that is away from the moment in which it has made a container, until `back` is set."""

    def __init__(self, client: DockerClient) -> None:
        self._client = client
        self.back = False
        self._away = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if self._away and not self.back:
            raise Unavailable("Docker is away")
        answer = await self._client.call(function, *arguments, **options)
        self._away = function == self._client.api.create_container_from_config
        return answer


def test_a_pause_container_that_could_not_be_started_is_removed_when_docker_is_back(
    bench: DockerBench, api: docker.APIClient
) -> None:
    async def work() -> tuple[int, int]:
        client = AwayOnce(bench.platform._client)
        pool = PausePool(cast("DockerClient", client), bench.platform._labels, 1)
        with pytest.raises(Unavailable, match="is away"):
            await pool.acquire("none", RunKey("t", 0))
        left = len(pods(api, bench))
        client.back = True
        await pool.remove_left()
        return left, len(pods(api, bench))

    assert bench.run(work) == (1, 0)


def test_the_end_of_a_platform_removes_what_nobody_has_noted(bench: DockerBench, api: docker.APIClient) -> None:
    async def work() -> None:
        await PauseMaker(bench.platform._client, bench.platform._labels).make(
            "none", bench.platform._labels.passing_name()
        )

    bench.run(work)
    assert pods(api, bench) == set()


def test_names_beside_a_run_belong_to_that_run_alone() -> None:
    labels, run = WorkerLabels("w1", Path("/home")), RunKey("task", 1)
    mine = [labels.container_name(run), labels.pod_name(run), labels.service_name(run, "db")]
    assert all(labels.is_of_run(name, run) and labels.is_container_name(name) for name in mine)
    others = [RunKey("task", 2), RunKey("task2", 1), RunKey(labels.pod_name(run), 1)]
    assert not any(labels.is_of_run(labels.pod_name(other), run) for other in others)
    for stranger in (WorkerLabels("w2", Path("/home")), WorkerLabels("w1", Path("/other"))):
        assert not any(stranger.is_of_run(name, run) or stranger.is_container_name(name) for name in mine)
    assert len({labels.service_name(run, name) for name in ("db", "cache")}) == 2


# ---- the pause container --------------------------------------------------------------------------------


def test_the_pause_program_of_this_machine_waits(tmp_path: Path, api: docker.APIClient) -> None:
    program = tmp_path / "pause"
    program.write_bytes(pause_program(api.version()["Arch"]))
    program.chmod(0o700)
    assert program.stat().st_size < 200
    with subprocess.Popen([program]) as waiting:
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                waiting.wait(0.1)
        finally:
            waiting.kill()


def test_the_pause_program_of_arm64_is_what_its_comment_says() -> None:
    program = pause_program("arm64")
    (machine,) = struct.unpack_from("<H", program, 18)
    assert machine == 183
    *moves, number, call, back = struct.unpack_from("<8I", program, 120)
    assert moves == [0xD2800000 + register for register in range(5)]
    assert (number >> 5 & 0xFFFF, number & 31) == (73, 8)
    assert call == 0xD4000001
    assert back >> 26 == 0b000101
    assert (back & 0x3FFFFFF) - (1 << 26) == -7


def test_the_pause_image_is_the_same_each_time() -> None:
    assert PauseImage.make("amd64") == PauseImage.make("amd64")
    assert PauseImage.make("amd64").archive != PauseImage.make("arm64").archive


def test_listeners_of_a_namespace_are_seen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert Sockets(os.getpid()).has_listener(port)
    assert not Sockets(os.getpid()).has_listener(port)
