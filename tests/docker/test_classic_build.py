"""Builds without BuildKit: limits of memory and CPUs, and a Docker that has no sessions."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from taskrunner.errors import MalformedPayload
from taskrunner.interfaces.results import Results
from taskrunner.model import Secret, Source
from taskrunner_docker import BuildSpec, DockerOptions, DockerPayload
from taskrunner_docker.build_fields.limits import BuildLimits
from taskrunner_docker.build_fields.ssh import BuildSsh
from taskrunner_docker.options import RegistryOptions
from tests.support.docker_bench import DockerBench, DockerState, SourceRepository, built
from tests.support.docker_proxy import docker_proxy
from tests.support.registry import registry

LIMITS = BuildLimits(memory=64 << 20, cpus=0.5)
PASSWORD = "s3cret-passw0rd"


@pytest.fixture
def bench(tmp_path: Path, api: docker.APIClient, base_image: str) -> Iterator[DockerBench]:
    worker = f"w-{uuid.uuid4().hex[:8]}"
    bench = DockerBench(tmp_path / "home", DockerOptions(), worker)
    yield bench
    assert not DockerState.of(api, worker, bench.home).containers


@pytest.fixture
def repository(tmp_path: Path, bench: DockerBench) -> SourceRepository:
    made = SourceRepository(tmp_path / "repository")
    bench.source = Source(made.url)
    return made


def image_of(bench: DockerBench, api: docker.APIClient, spec: BuildSpec, command: list[str]) -> str:
    """The output of a command in the image that was built, which is removed."""

    async def work() -> str:
        results = await built(bench, spec)
        assert results.exit_code == 0, f"{results.message}\n{bench.log.text}"
        image = (await results.deliver())["image_id"]
        container = api.create_container(image, command, network_disabled=True)
        try:
            api.start(container)
            api.wait(container)
            return str(api.logs(container).decode())
        finally:
            api.remove_container(container, force=True)
            await results.dispose()

    return bench.run(work)


def test_a_step_has_the_limits_of_the_build(
    bench: DockerBench, repository: SourceRepository, api: docker.APIClient
) -> None:
    old, new = "memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us", "memory.max cpu.max"
    step = f"echo {uuid.uuid4()}; cd /sys/fs/cgroup; cat {old} {new} >/seen 2>/dev/null; true"
    repository.commit({"Dockerfile": f"FROM taskrunner-base\nRUN {step}\n"})
    seen = image_of(bench, api, BuildSpec(limits=LIMITS), ["cat", "/seen"]).split()
    assert str(64 << 20) in seen
    assert "50000" in seen
    assert "without BuildKit, the context as a tar: BuildKit takes no limits" in bench.log.text
    assert {progress.step for progress in bench.reported} >= {"build"}


@pytest.mark.parametrize(
    ("files", "target", "why"),
    [
        ({"Dockerfile": "FROM taskrunner-base\nBOGUS x\n"}, "", "unknown instruction: BOGUS"),
        ({"Dockerfile": "# nothing\n"}, "", "no instructions"),
        ({"Dockerfile": "FROM taskrunner-base\n"}, "nope", "target nope"),
        ({"other": "1\n"}, "", "there is no file Dockerfile in the build context"),
        ({"Dockerfile/other": "1\n"}, "", "is a directory"),
        ({"Dockerfile": "FROM taskrunner-base\n", ".dockerignore": "a[\n"}, "", r"\.dockerignore: the pattern 'a\['"),
        ({"Dockerfile": "FROM taskrunner-base\n", ".dockerignore/a": "1\n"}, "", r"reading \.dockerignore"),
    ],
)
def test_a_mistake_in_the_context_is_the_fault_of_the_build(
    bench: DockerBench, repository: SourceRepository, files: dict[str, str], target: str, why: str
) -> None:
    repository.commit(files)
    results = bench.run(lambda: built(bench, BuildSpec(limits=LIMITS, target=target)))
    assert results.reason == "build-failed"
    assert re.search(why, results.message)


@pytest.mark.parametrize("link", ["Dockerfile", "/nowhere", "../../etc/passwd"])
def test_a_dockerfile_that_is_a_link_to_nothing_is_the_fault_of_the_build(
    bench: DockerBench, repository: SourceRepository, link: str
) -> None:
    (repository.folder / "Dockerfile").symlink_to(link)
    repository.commit({"other": "1\n"})
    assert bench.run(lambda: built(bench, BuildSpec(limits=LIMITS))).reason == "build-failed"


def test_a_dockerfile_may_be_a_link(bench: DockerBench, repository: SourceRepository, api: docker.APIClient) -> None:
    (repository.folder / "docker").mkdir()
    (repository.folder / "docker" / "Dockerfile").symlink_to("../Dockerfile.real")
    repository.commit({"Dockerfile.real": "FROM taskrunner-base\nRUN echo made > /made\n"})
    spec = BuildSpec(limits=LIMITS, dockerfile="docker/Dockerfile")
    assert image_of(bench, api, spec, ["cat", "/made"]) == "made\n"


def test_a_step_that_needs_more_memory_is_said_to(bench: DockerBench, repository: SourceRepository) -> None:
    eater = "head -c 200000000 /dev/zero | tail -c 199999999 >/dev/null"
    repository.commit({"Dockerfile": f"FROM taskrunner-base\nRUN echo {uuid.uuid4()}; exec sh -c '{eater}; exit $?'\n"})
    results = bench.run(lambda: built(bench, BuildSpec(limits=BuildLimits(memory=64 << 20))))
    assert results.reason == "build-failed"
    assert "out of memory: the step needs more than its limit, 64 MiB of memory" in results.message


def test_a_build_that_fails_leaves_no_image_and_its_base(
    bench: DockerBench, repository: SourceRepository, api: docker.APIClient
) -> None:
    mark = uuid.uuid4().hex
    repository.commit({"Dockerfile": f"FROM taskrunner-base\nENV MARK={mark}\nRUN echo {mark}\nRUN exit 3\n"})
    results = bench.run(lambda: built(bench, BuildSpec(limits=LIMITS)))
    assert "failed at RUN exit 3: exit code: 3" in results.message
    left = [found["Id"] for found in api.images(all=True)]
    assert [image for image in left if mark in str(environment_of(api, image))] == []
    assert api.inspect_image("taskrunner-base")


def environment_of(api: docker.APIClient, image: str) -> list[str]:
    """Of an image, which another test may have removed meanwhile."""
    try:
        return api.inspect_image(image)["Config"]["Env"] or []
    except docker.errors.ImageNotFound:
        return []


def test_a_step_that_is_killed_otherwise_is_not_out_of_memory(bench: DockerBench, repository: SourceRepository) -> None:
    repository.commit({"Dockerfile": f"FROM taskrunner-base\nRUN echo {uuid.uuid4()}; sh -c 'kill -9 $$'; exit $?\n"})
    results = bench.run(lambda: built(bench, BuildSpec(limits=LIMITS)))
    assert "exit code: 137" in results.message
    assert "needs more than its limit" not in results.message


@pytest.mark.parametrize(
    ("spec", "secrets", "named"),
    [
        (BuildSpec(limits=LIMITS, ssh=BuildSsh({"default": Secret(literal="x")})), {}, "build.ssh"),
        (BuildSpec(limits=LIMITS, tags=("a.example/b:1",), push=True, cache_to="inline"), {}, "build.cache_to"),
        (BuildSpec(limits=LIMITS), {"TOKEN": "t0ken"}, "secrets"),
    ],
)
def test_what_needs_buildkit_is_refused_by_name(
    bench: DockerBench, spec: BuildSpec, secrets: dict[str, str], named: str
) -> None:
    with pytest.raises(MalformedPayload) as caught:
        bench.run(lambda: built(bench, spec, **secrets))
    assert str(caught.value) == (
        f"{named}: needs BuildKit, and this build is made without: BuildKit takes no limits of memory and CPUs from"
        " Docker (leave it out, or build without `limits`)"
    )


def test_a_mount_in_the_dockerfile_says_why_there_is_none(bench: DockerBench, repository: SourceRepository) -> None:
    repository.commit({"Dockerfile": "FROM taskrunner-base\nRUN --mount=type=cache,target=/c true\n"})
    results = bench.run(lambda: built(bench, BuildSpec(limits=LIMITS)))
    assert "requires BuildKit" in results.message
    assert "this build is made without: its log says why" in results.message


def test_the_context_is_that_of_a_build_with_buildkit(
    bench: DockerBench, repository: SourceRepository, api: docker.APIClient
) -> None:
    name = "a" * 90 + "/" + "b" * 90 + ".txt"
    repository.commit({
        "Dockerfile": "FROM taskrunner-base AS first\nARG WHO\nCOPY . /src\nRUN echo $WHO >/src/who\n"
        "FROM first AS last\nRUN false\n",
        ".dockerignore": "# all but these\n*\n!keep\n!a*\nkeep/x.log\n",
        "keep/x.log": "", "keep/y.txt": "y", "other": "", name: "long",
    })  # fmt: skip
    spec = BuildSpec(limits=LIMITS, target="first", build_args={"WHO": "me"})
    seen = image_of(bench, api, spec, ["sh", "-c", "cd /src; find . -type f | sort; cat who keep/y.txt"])
    assert seen.split() == [f"./{name}", "./keep/y.txt", "./who", "me", "y"]


def test_a_stopped_build_leaves_nothing_that_runs(bench: DockerBench, repository: SourceRepository) -> None:
    mark = uuid.uuid4().hex
    repository.commit({"Dockerfile": f"FROM taskrunner-base\nRUN echo up-{mark}; exec sleep 1000000\n"})

    async def stop() -> list[str]:
        engine = await bench.loaded(DockerPayload(build=BuildSpec(limits=LIMITS)))
        execution = await engine.start({})
        await bench.log.until(f"\nup-{mark}")
        assert (await execution.kill()).reason == "killed"
        api = docker.APIClient(version="auto")
        try:
            async with asyncio.timeout(60):
                while left := [found["Id"] for found in api.containers(all=True) if mark in found["Command"]]:
                    await asyncio.to_thread(api.wait, left[0])
        except docker.errors.NotFound:
            pass
        finally:
            api.close()
        return left

    bench.run(stop)


def test_a_docker_without_sessions_gets_the_context_as_a_tar(
    bench: DockerBench, repository: SourceRepository, tmp_path: Path, api: docker.APIClient
) -> None:
    """With a private base image, whose login is sent with the request."""
    socket = tmp_path / "docker.sock"
    with registry(tmp_path / "registry", {"ci": PASSWORD}) as private:
        name = f"{private.host}/base"
        api.tag("taskrunner-base", name, "1")
        api.push(name, "1", auth_config={"username": "ci", "password": PASSWORD})
        api.remove_image(f"{name}:1")
        repository.commit({"Dockerfile": f"FROM {name}:1\nCOPY hello /hello\n", "hello": "hello\n"})
        logins = {private.host: RegistryOptions("ci", Secret(literal=PASSWORD))}
        bench.options = DockerOptions(host=f"unix://{socket}", registries=logins)

        async def main() -> Results:
            async with docker_proxy(socket, hidden=b"/session"):
                return await bench.within(lambda: built(bench, BuildSpec()))

        results = asyncio.run(main())
        api.remove_image(f"{name}:1")
    assert results.exit_code == 0, results.message
    assert "the context as a tar: this Docker has no sessions" in bench.log.text
    assert PASSWORD not in bench.log.text
