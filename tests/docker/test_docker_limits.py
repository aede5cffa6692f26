"""What a container may use and reach, as a process in it sees it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from taskrunner.amounts import Amounts
from taskrunner.errors import MalformedPayload, TaskFailed, Unavailable
from taskrunner.interfaces.results import Results
from taskrunner.model import Source
from taskrunner.schema.decode import decode
from taskrunner_docker import DockerOptions, DockerPayload
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.container.start_errors import check_warnings, start_error
from taskrunner_docker.isolation import GIVEN_BACK, KEPT
from tests.support.docker_bench import DockerBench, DockerState, SourceRepository

MIB = 1 << 20
BITS = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8,
    "NET_BIND_SERVICE": 10, "NET_RAW": 13, "SYS_CHROOT": 18, "MKNOD": 27, "AUDIT_WRITE": 29, "SETFCAP": 31,
}  # fmt: skip
"""The numbers of capabilities, by linux/capability.h."""


@pytest.fixture
def bench(tmp_path: Path, api: docker.APIClient, base_image: str) -> Iterator[DockerBench]:
    bench = DockerBench(tmp_path / "home", worker_id=f"w-{uuid.uuid4().hex[:8]}")
    yield bench
    left = DockerState.of(api, bench.worker_id, bench.home)
    assert not left.containers | left.networks | left.volumes


def run(bench: DockerBench, script: str, **fields: Any) -> Results:
    """The results of a script, which are disposed of; its output is in the bench's log."""

    async def finish() -> Results:
        payload = decode(DockerPayload, {"image": "taskrunner-base", "command": ["sh", "-c", script], **fields})
        engine = await bench.loaded(payload)
        results = await (await engine.start({})).wait()
        await results.dispose()
        return results

    return bench.run(finish)


def lines(bench: DockerBench) -> set[str]:
    return set(bench.log.text.splitlines())


def test_a_container_has_the_limits_of_its_task(bench: DockerBench) -> None:
    bench.resources = Amounts(memory=64 * MIB, cpus=0.5, pids=20)
    script = """
        cd /sys/fs/cgroup
        echo memory $(cat memory/memory.limit_in_bytes memory.max 2> /dev/null)
        echo cpu $(cat cpu/cpu.cfs_quota_us cpu.max 2> /dev/null)
        echo pids $(cat pids/pids.max pids.max 2> /dev/null)
        echo shm $(df -k /dev/shm | tail -n 1 | awk '{print $2}')
        echo tmp $(df -k /tmp | tail -n 1 | awk '{print $2}')
        echo nofile $(ulimit -n)
        printf '#!/bin/sh\\necho runs in tmp\\n' > /tmp/x; chmod +x /tmp/x; /tmp/x
    """
    limits = {"shm": "8MiB", "tmpfs": {"/tmp": "4MiB"}, "ulimits": {"nofile": 77}}
    assert run(bench, script, limits=limits).exit_code == 0
    seen = lines(bench)
    assert {"memory 67108864", "pids 20", "shm 8192", "tmp 4096", "nofile 77", "runs in tmp"} <= seen
    assert seen & {"cpu 50000", "cpu 50000 100000"}


def test_by_default_a_container_has_a_limit_of_processes(bench: DockerBench) -> None:
    run(bench, "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2> /dev/null; df -k /dev/shm")
    assert "2048" in lines(bench)
    bench.options = decode(DockerOptions, {"limits": {"pids": 77, "default": {"shm": "2MiB"}}})
    run(bench, "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2> /dev/null; df -k /dev/shm")
    assert "77" in lines(bench)
    assert " 2048 " in bench.log.text


@pytest.mark.parametrize("script", ["exec tail /dev/zero", "tail /dev/zero; exit 3"])
def test_a_run_without_memory_names_limit_and_peak(bench: DockerBench, script: str) -> None:
    bench.resources = Amounts(memory=16 * MIB)
    results = run(bench, script)
    assert (results.exit_code, results.reason) == (3 if "exit 3" in script else 137, "out-of-memory")
    assert "its peak was its limit, 16MiB (16777216 bytes); ask for more in `resources.memory`" in results.message


def test_a_step_without_memory_names_limit_and_peak(bench: DockerBench) -> None:
    bench.resources = Amounts(memory=16 * MIB)

    async def starve() -> Results:
        steps = [{"name": "hungry", "run": "tail /dev/zero || exit 4"}]
        engine = await bench.loaded(decode(DockerPayload, {"image": "taskrunner-base", "steps": steps}))
        results = await (await engine.start({})).wait()
        await results.dispose()
        return results

    results = bench.run(starve)
    assert (results.exit_code, results.reason) == (4, "out-of-memory")
    assert "hungry" in results.message
    assert "its peak was its limit, 16MiB" in results.message


def test_a_child_that_was_killed_is_no_failure_by_itself(bench: DockerBench) -> None:
    bench.resources = Amounts(memory=16 * MIB)
    results = run(bench, "tail /dev/zero; exit 0")
    assert (results.exit_code, results.reason) == (0, "")


def bounding(bench: DockerBench) -> int:
    (line,) = [line for line in bench.log.text.splitlines() if line.startswith("CapBnd")]
    return int(line.split()[1], 16)


def mask(*names: str) -> int:
    return sum(1 << BITS[name] for name in names)


def test_by_default_a_container_has_few_privileges(bench: DockerBench) -> None:
    script = (
        "cat /proc/self/status; chown nobody /etc/group && su -s /bin/sh nobody -c id; nc -l -p 80 -w 1 < /dev/null"
    )
    run(bench, script)
    assert bounding(bench) == mask(*KEPT)
    assert {"NoNewPrivs:\t1", "Seccomp:\t2"} <= lines(bench)
    assert "uid=65534(nobody)" in bench.log.text
    assert "Permission denied" not in bench.log.text


def test_a_task_gets_single_privileges_back(bench: DockerBench) -> None:
    isolation = {"capabilities": ["NET_RAW", "MKNOD"], "new_privileges": True}
    run(bench, "cat /proc/self/status; mknod /tmp/null c 1 3 && echo made", isolation=isolation)
    assert bounding(bench) == mask(*KEPT, "NET_RAW", "MKNOD")
    assert {"NoNewPrivs:\t0", "made"} <= lines(bench)


def test_dockers_own_default_is_known(api: docker.APIClient, base_image: str) -> None:
    """What is kept and what is given back are together what Docker gives, so that nothing is lost for good."""
    made = api.create_container(base_image, ["grep", "CapBnd", "/proc/self/status"])
    try:
        api.start(made)
        api.wait(made)
        assert int(api.logs(made).split()[1], 16) == mask(*KEPT, *GIVEN_BACK)
    finally:
        api.remove_container(made, force=True)


def test_a_read_only_root(bench: DockerBench) -> None:
    isolation = {"read_only_root": True, "user": "1234:5678"}
    run(bench, "id; touch /tmp/a && echo tmp; touch /b", isolation=isolation, limits={"tmpfs": {"/tmp": "1MiB"}})
    assert "uid=1234 gid=5678" in bench.log.text
    assert "tmp" in lines(bench)
    assert "/b: Read-only file system" in bench.log.text


def test_a_user_owns_the_files_of_the_source(bench: DockerBench, tmp_path: Path) -> None:
    repository = SourceRepository(tmp_path / "repository")
    repository.commit({"a.txt": "a"})
    bench.source = Source(repository.url)
    run(bench, "touch new && stat -c %u .", isolation={"user": "1234"})
    assert "1234" in lines(bench)

    with pytest.raises(MalformedPayload, match=r"isolation.read_only_root: keeps the files of the source out"):
        run(bench, "true", isolation={"read_only_root": True})


def test_folders_and_devices_of_the_machine(bench: DockerBench, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "shut").mkdir()
    (tmp_path / "shut" / "model").write_text("a model\n")
    allow = {
        "devices": ["/dev/fu*"],
        "host_folders": {str(tmp_path / "open"): "read-write", str(tmp_path / "shut"): "read-only"},
    }
    bench.options = decode(DockerOptions, {"allow": allow})
    folders = [
        {"path": str(tmp_path / "open"), "target": "/open", "read_only": False},
        {"path": str(tmp_path / "shut"), "target": "/shut"},
    ]
    script = "cat /shut/model; touch /shut/x; echo written > /open/x; test -c /dev/full && echo device"
    run(bench, script, isolation={"devices": ["/dev/full"], "host_folders": folders})
    assert {"a model", "device"} <= lines(bench)
    assert "/shut/x: Read-only file system" in bench.log.text
    assert (tmp_path / "open" / "x").read_text() == "written\n"


@pytest.mark.parametrize(
    ("isolation", "field", "setting"),
    [
        ({"privileged": True}, "privileged", "set `privileged`"),
        ({"devices": ["/dev/full"]}, "devices[0]", "add it to `devices`"),
        ({"gpus": 1}, "gpus", "set `gpus`"),
        ({"capabilities": ["SYS_ADMIN"]}, "capabilities[0]", "add it to `capabilities`"),
        ({"host_folders": [{"path": "/etc", "target": "/x"}]}, "host_folders[0]", "add it to `host_folders`"),
    ],
)
def test_what_the_operator_does_not_allow_is_refused_before_a_pull(
    bench: DockerBench, isolation: dict[str, Any], field: str, setting: str
) -> None:
    """Each is allowed by a setting of its own, which the refusal names; the others do not help."""
    allow = {"privileged": True, "devices": ["/dev/*"], "gpus": True, "capabilities": ["SYS_ADMIN"],
             "host_folders": {"/etc": "read-only"}}  # fmt: skip
    del allow[field.partition("[")[0]]
    bench.options = decode(DockerOptions, {"allow": allow})
    with pytest.raises(MalformedPayload) as caught:
        run(bench, "true", image="nowhere.invalid/none:1", isolation=isolation)
    [complaint] = caught.value.complaints
    assert complaint.path == f"isolation.{field}"
    assert complaint.fix == f"leave it out, or let the operator {setting} in [docker.allow]"


@pytest.mark.parametrize(
    ("fields", "resources", "error", "words"),
    [
        (
            {"limits": {"disk": "1GiB"}},
            Amounts(),
            Unavailable,
            r"limits\.disk: this worker's Docker has a storage driver",
        ),
        ({"isolation": {"gpus": 1}}, Amounts(), Unavailable, r"isolation\.gpus: this worker's Docker has no driver"),
        ({}, Amounts(cpus=4096), Unavailable, r"resources\.cpus: this worker's Docker cannot give as many"),
        ({"isolation": {"user": "nosuch"}}, Amounts(), TaskFailed, r"check `isolation\.user`"),
        ({"isolation": {"devices": ["/dev/none"]}}, Amounts(), TaskFailed, r"check `isolation\.devices`"),
        ({"limits": {"ulimits": {"nofile": 1 << 50}}}, Amounts(), TaskFailed, r"check `limits\.ulimits`"),
    ],
)
def test_what_this_docker_cannot_do_is_refused_by_name(
    bench: DockerBench, fields: dict[str, Any], resources: Amounts, error: type[Exception], words: str
) -> None:
    bench.options = decode(DockerOptions, {"allow": {"gpus": True, "devices": ["*"]}})
    bench.resources = resources
    with pytest.raises(error, match=words):
        run(bench, "true", **fields)


def test_a_limit_that_docker_has_left_out_is_refused() -> None:
    warning = (
        "Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded."
    )
    check_warnings(["Your kernel does not support swap limit capabilities. Memory limited without swap."])
    with pytest.raises(DockerError) as caught:
        check_warnings([warning])
    refused = start_error("busybox", caught.value)
    assert isinstance(refused, Unavailable)
    assert str(refused).startswith("resources: this worker's Docker cannot keep a container to its limits: Your kernel")
