"""Services of a run: when they are ready, what is told when they are not, and their logs."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import Awaitable

import attrs
import docker
import pytest

from taskrunner.amounts import Amounts
from taskrunner.errors import MalformedPayload, TaskFailed
from taskrunner.interfaces.attachments import Service
from taskrunner.interfaces.results import Results
from taskrunner.schema.decode import decode
from taskrunner_docker import DockerOptions, DockerPayload
from taskrunner_docker.payload import Network
from tests.support.docker_bench import DockerBench

SECRET = "hunter2-hunter2"
CHECKED = b"""
FROM taskrunner-base
HEALTHCHECK --interval=100ms --timeout=5s CMD [ -e /ready ]
CMD ["sh", "-c", "sleep 0.3; touch /ready; exec sleep 1000"]
"""
GREET = "while :; do echo hello from the service | nc -l -p 5000; done"


def task(script: str, network: Network = "isolated") -> DockerPayload:
    return DockerPayload(image="taskrunner-base", command=("sh", "-c", script), network=network)


def service(script: str, ready: int | tuple[str, ...] | None = None, limit: float = 20.0) -> Service:
    return Service("taskrunner-base", ("sh", "-c", script), {"PASSWORD": SECRET}, ready, limit)


async def use(bench: DockerBench, payload: DockerPayload, **services: Service) -> int:
    """The exit code of a run with these services."""
    engine = await bench.loaded(payload)
    try:
        for name, each in services.items():
            await engine.attach_service(name, each)
        execution = await engine.start({})
    except BaseException:
        await engine.discard()
        raise
    results = await execution.wait()
    await results.dispose()
    return results.exit_code


def failure(bench: DockerBench, each: Service) -> str:
    """Why a run with this service fails."""
    bench.log.mask(SECRET)
    with pytest.raises(TaskFailed) as caught:
        bench.run(lambda: use(bench, task("true"), db=each))
    assert caught.value.reason == "service-failed"
    return str(caught.value)


@pytest.mark.parametrize("ready", [5000, ("sh", "-c", "netstat -ltn | grep -q :5000")])
def test_a_task_starts_when_its_service_is_ready(bench: DockerBench, ready: int | tuple[str, ...]) -> None:
    slow = service(f"echo begins; sleep 0.3; {GREET}", ready)
    assert bench.run(lambda: use(bench, task("nc -w 5 db 5000"), db=slow)) == 0
    assert "hello from the service" in bench.log.text
    assert bench.service_logs["db"].text == "begins\n"


def test_the_check_of_its_image_says_that_a_service_is_ready(bench: DockerBench, api: docker.APIClient) -> None:
    image = f"taskrunner-health-{uuid.uuid4().hex[:8]}"
    list(api.build(fileobj=io.BytesIO(CHECKED), tag=image, rm=True))
    try:
        assert bench.run(lambda: use(bench, task("true"), db=Service(image, limit=20.0))) == 0
        never = Service(image, ("sleep", "1000"), limit=20.0)
        assert "is unhealthy by the HEALTHCHECK of its image" in failure(bench, never)
    finally:
        api.remove_image(image, force=True)


def test_two_services_reach_each_other_by_their_names(bench: DockerBench) -> None:
    second = service("nc -w 5 first 5000 >/greeting; exec nc -l -p 6000 -e cat /greeting", ("test", "-s", "/greeting"))
    services = {"first": service(GREET, 5000), "second": second}
    assert bench.run(lambda: use(bench, task("nc -w 5 second 6000 </dev/null"), **services)) == 0
    assert "hello from the service" in bench.log.text


def test_a_service_that_ends_too_early_fails_the_run_with_its_last_words(bench: DockerBench) -> None:
    told = failure(bench, service('exec >&2; seq 100; echo "no room, $PASSWORD"; exit 3', 5000))
    assert "the service db has ended with exit code 3 before it was ready; its last lines:" in told
    assert "\n100\n" in told
    assert "\n50\n" not in told
    assert "no room, " in told
    assert SECRET not in told


def test_a_service_that_is_not_ready_in_time_fails_the_run(bench: DockerBench) -> None:
    told = failure(bench, service("echo still loading; exec sleep 1000", 5000, limit=0.5))
    assert told == "the service db was not ready within 0.5 s; its last lines:\nstill loading"


@pytest.mark.parametrize(
    ("each", "problem"),
    [
        (Service("taskrunner-base", ("no-such-program",), ready=5000), "has ended with exit code 127"),
        (service("exec sleep 1000", ("no-such-check",)), "cannot start"),
    ],
)
def test_a_service_that_cannot_be_started(bench: DockerBench, each: Service, problem: str) -> None:
    with pytest.raises(TaskFailed, match=problem):
        bench.run(lambda: use(bench, task("true"), db=each))


def test_a_service_that_dies_while_the_task_runs_is_told(bench: DockerBench) -> None:
    dying = service("nc -l -p 5000 </dev/null; exit 9", 5000)
    waits = "nc -w 5 db 5000 </dev/null; while nc -w 1 db 5000 </dev/null; do :; done; sleep 1"
    assert bench.run(lambda: use(bench, task(waits), db=dying)) == 0
    assert "[taskrunner] the service db has ended while the task runs, with exit code 9" in bench.log.text


def hungry(script: str) -> Service:
    """A service with little memory."""
    return attrs.evolve(service(script, 5000), resources=Amounts(memory=16 << 20))


STORY = (
    "the service db ran out of memory, and the kernel killed a process in it: its peak was its limit, 16MiB "
    "(16777216 bytes); ask for more in the service's `resources.memory`"
)


def test_a_service_without_memory_fails_the_run_with_limit_and_peak(bench: DockerBench) -> None:
    told = failure(bench, hungry("echo begins; exec tail /dev/zero"))
    assert told == (
        f"the service db has ended with exit code 137 before it was ready: {STORY}; its last lines:\nbegins"
    )


def test_a_service_that_runs_out_of_memory_while_the_task_runs(bench: DockerBench) -> None:
    results = bench.run(lambda: _starved(bench, "exec tail /dev/zero", bench.log.until("exit code 137")))
    assert (results.exit_code, results.reason, results.message) == (7, "out-of-memory", STORY)
    assert f"the service db has ended while the task runs, with exit code 137: {STORY}" in bench.log.text


def test_a_service_that_goes_on_without_a_child_that_was_killed(bench: DockerBench, api: docker.APIClient) -> None:
    """As a database does, whose server processes end one by one."""

    async def is_killed() -> None:
        events = api.events(since=0, filters={"event": "oom", "label": f"taskrunner.worker={bench.worker_id}"})
        assert await asyncio.to_thread(next, events)
        events.close()

    results = bench.run(lambda: _starved(bench, "tail /dev/zero; exec sleep 1000", is_killed()))
    assert (results.exit_code, results.reason, results.message) == (7, "out-of-memory", STORY)
    assert STORY in bench.log.text


async def _starved(bench: DockerBench, script: str, killed: Awaitable[None]) -> Results:
    """The results of a run that fails after its service was killed, by this script, for memory."""
    engine = await bench.loaded(task("nc -w 5 db 5000 </dev/null; read go; exit 7"))
    await engine.attach_service("db", hungry(f"nc -l -p 5000 </dev/null; {script}"))
    execution = await engine.start({}, stdin=True)
    await killed
    await execution.stdin.write(b"go\n")
    results = await execution.wait()
    await results.dispose()
    return results


def test_a_service_has_limits_of_its_own_and_is_isolated_like_any_container(bench: DockerBench) -> None:
    script = """
        cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max pids/pids.max pids.max
        grep -E "CapEff|NoNewPrivs" /proc/self/status; df -k /dev/shm
    """
    bench.options = decode(DockerOptions, {"limits": {"default": {"shm": "2MiB"}}})
    limited = Service("taskrunner-base", ("sh", "-c", f"({script}) 2>/dev/null; {GREET}"), ready=5000)
    limited = attrs.evolve(limited, resources=Amounts(memory=32 << 20, cpus=0.5, pids=20))
    assert bench.run(lambda: use(bench, task("true"), db=limited)) == 0
    seen = bench.service_logs["db"].text
    assert {"33554432", "20", "NoNewPrivs:\t1", "CapEff:\t00000000000004fb"} <= set(seen.splitlines())
    assert " 2048 " in seen


def test_a_service_that_ends_with_its_run_is_not_told(bench: DockerBench) -> None:
    bench.run(lambda: use(bench, task("true"), db=service(GREET, 5000)))
    assert "has ended" not in bench.log.text


@pytest.mark.parametrize("network", ["none", "host"])
def test_a_network_without_services(bench: DockerBench, network: Network) -> None:
    with pytest.raises(MalformedPayload, match=r"isolated|host_network"):
        bench.run(lambda: use(bench, task("true", network), db=service(GREET, 5000)))
