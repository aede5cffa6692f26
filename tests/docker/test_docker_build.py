"""Builds from git to a registry: tsuccessor images, tsuccessor errors, and that nothing of them stays."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import docker
import pytest

from taskrunner.errors import Bug, MalformedPayload, NotSupported, TaskFailed, Unavailable
from taskrunner.interfaces.execution import Execution
from taskrunner.interfaces.platform import PlatformContext
from taskrunner.interfaces.results import Results
from taskrunner.model import Document, RunKey, Secret, Source
from taskrunner_docker import BuildSpec, DockerOptions, DockerPayload, DockerPlatform
from taskrunner_docker.build_fields.ssh import BuildSsh
from taskrunner_docker.cleanup.labels import WorkerLabels
from taskrunner_docker.options import RegistryOptions
from tests.support.docker_bench import DockerBench, DockerState, SourceRepository, built
from tests.support.docker_sessions import wait_for_end
from tests.support.githttp import GitServer, make_repository
from tests.support.registry import Registry, registry
from tests.support.stuck_registry import StuckRegistry, stuck_registry

PASSWORD = "s3cret-passw0rd"
NEW_STEP = "ARG SALT\nRUN echo $SALT\n"
"""A step that is in no cache."""


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("private"), {"ci": PASSWORD}) as running:
        yield running


@pytest.fixture
def bench(tmp_path: Path, api: docker.APIClient, private: Registry) -> Iterator[DockerBench]:
    """Checks that Docker has no more objects after a test than before it."""
    logins = {private.host: RegistryOptions("ci", Secret(literal=PASSWORD))}
    worker = f"w-{uuid.uuid4().hex[:8]}"
    options = DockerOptions(registries=logins, local_tags=("kept-by-test",))
    bench = DockerBench(tmp_path / "home", options, worker)
    yield bench
    left = DockerState.of(api, worker, bench.home)
    assert not left.containers | left.networks | left.volumes
    ours = (WorkerLabels(worker, bench.home).build_repository, private.host, "kept-by-test")
    assert [name for name in left.images if name.startswith(ours)] == []
    assert bench.caches.leased == []


@pytest.fixture
def repository(tmp_path: Path, base_image: str, bench: DockerBench) -> SourceRepository:
    """The source of every run of the bench."""
    made = SourceRepository(tmp_path / "repository")
    bench.source = Source(made.url)
    return made


async def delivered(bench: DockerBench, spec: BuildSpec) -> Document:
    results = await built(bench, spec)
    try:
        assert results.exit_code == 0, results.message
        return await results.deliver()
    finally:
        await results.dispose()


def test_a_commit_becomes_a_pushed_image(bench: DockerBench, repository: SourceRepository, private: Registry) -> None:
    commit = repository.commit({"Dockerfile": "FROM taskrunner-base\nCOPY hello /hello\n", "hello": "hello\n"})
    name = f"{private.host}/team/app:1.0"
    result = bench.run(lambda: delivered(bench, BuildSpec(tags=(name,), push=True)))
    (image,) = result["images"]
    assert result["commit"] == commit
    assert result["image_id"].startswith("sha256:")
    assert image["name"] == name
    assert image["digest"] in private.digests()
    assert f"pushed {name} ({image['digest']})" in bench.log.text
    assert PASSWORD not in bench.log.text


def test_the_same_commit_has_the_same_digest(
    bench: DockerBench, repository: SourceRepository, private: Registry
) -> None:
    repository.commit({"Dockerfile": "FROM taskrunner-base\nRUN date +%N > /time\n"})
    spec = BuildSpec(tags=(f"{private.host}/app:1", f"{private.host}/app:2"), push=True)

    async def twice() -> list[Document]:
        return [await delivered(bench, spec), await delivered(bench, spec)]

    first, second = bench.run(twice)
    assert first == second
    assert len({image["digest"] for image in first["images"]}) == 1


def test_files_that_docker_has_are_not_sent_again(
    bench: DockerBench, repository: SourceRepository, api: docker.APIClient
) -> None:
    repository.commit({"Dockerfile": "FROM taskrunner-base\nCOPY . /src\n", "a": uuid.uuid4().hex})

    async def log_of(spec: BuildSpec) -> str:
        before = len(bench.log.text)
        await (await built(bench, spec)).dispose()
        return bench.log.text[before:]

    async def logs() -> list[str]:
        first = await log_of(BuildSpec())
        [record] = (bench.home / "docker" / "contexts").iterdir()
        await asyncio.to_thread(wait_for_end, api, json.loads(record.read_bytes())["session_id"])
        return [first, await log_of(BuildSpec()), await log_of(BuildSpec(keep_git=True)), await log_of(BuildSpec())]

    sent = ["transferring context" in log for log in bench.run(logs)]
    assert sent == [True, False, True, True], "with its `.git` the context is another one, and so is the one after it"


def test_an_image_says_where_it_is_from(
    bench: DockerBench, tmp_path: Path, private: Registry, base_image: str, api: docker.APIClient
) -> None:
    commit = make_repository(tmp_path / "served" / "web", {"Dockerfile": "FROM taskrunner-base\nENV A=b\n"})
    with GitServer(tmp_path / "served", token="t0ken-for-git") as server:
        bench.source = Source(server.url("web").replace("://", "://ci:t0ken-for-git@"))
        spec = BuildSpec(tags=("kept-by-test:7",), labels={"org.opencontainers.image.title": "Web"})
        result = bench.run(lambda: delivered(bench, spec))
        url = server.url("web")
    try:
        found = api.inspect_image("kept-by-test:7")["Config"]["Labels"]
    finally:
        api.remove_image(result["image_id"], force=True)
    assert {name.rpartition(".")[2]: value for name, value in found.items() if "opencontainers" in name} == {
        "title": "Web",
        "source": url,
        "revision": commit,
        "created": "2024-01-01T00:00:00Z",
        "version": "7",
    }


def test_a_key_that_is_none_is_refused_before_the_source_is_fetched(bench: DockerBench) -> None:
    spec = BuildSpec(ssh=BuildSsh({"default": Secret(literal="no-key-at-all")}, agent=False))
    with pytest.raises(MalformedPayload, match=r"build\.ssh\.keys\['default'\]: is no private key") as caught:
        bench.run(lambda: built(bench, spec))
    assert "no-key-at-all" not in str(caught.value)


def test_an_agent_that_the_worker_does_not_have_is_refused_by_name(bench: DockerBench) -> None:
    with pytest.raises(MalformedPayload, match=r"build\.ssh\.agent: .*\[docker\] ssh_agent"):
        bench.run(lambda: built(bench, BuildSpec(ssh=BuildSsh(agent=True))))


def test_an_address_that_docker_20_10_does_not_take_is_refused_by_name(
    bench: DockerBench, repository: SourceRepository, api: docker.APIClient
) -> None:
    repository.commit({"Dockerfile": f"FROM taskrunner-base\nRUN grep -q fd00::1 /etc/hosts; echo {uuid.uuid4()}\n"})
    is_old = tuple(map(int, api.api_version.split("."))) < (1, 42)
    refused = pytest.raises(MalformedPayload, match=r"build\.extra_hosts\['six'\]: is an IPv6 address")
    with refused if is_old else nullcontext():
        bench.run(lambda: delivered(bench, BuildSpec(extra_hosts={"six": "fd00::1"})))


def test_a_push_that_fails_names_what_was_pushed_before(
    bench: DockerBench, repository: SourceRepository, private: Registry, tmp_path: Path
) -> None:
    repository.commit({"Dockerfile": "FROM taskrunner-base\nENV PUSHED=once\n"})
    with registry(tmp_path / "other", {"else": PASSWORD}) as other:
        tags = (f"{private.host}/team/first:1", f"{other.host}/team/second:1")
        with pytest.raises(TaskFailed) as caught:
            bench.run(lambda: delivered(bench, BuildSpec(tags=tags, push=True)))
    assert caught.value.reason == "login-failed"
    assert f"; pushed before it: {tags[0]} (sha256:" in str(caught.value)


def test_without_push_the_names_are_local_and_move(
    bench: DockerBench, repository: SourceRepository, api: docker.APIClient
) -> None:
    spec = BuildSpec(tags=("kept-by-test:latest",))

    async def twice() -> list[Document]:
        repository.commit({"Dockerfile": "FROM taskrunner-base\nENV VERSION=1\n"})
        first = await delivered(bench, spec)
        repository.commit({"Dockerfile": "FROM taskrunner-base\nENV VERSION=2\n"})
        return [first, await delivered(bench, spec)]

    first, second = bench.run(twice)
    try:
        assert second["images"] == [{"name": "kept-by-test:latest", "digest": None}]
        found = api.inspect_image("kept-by-test:latest")
        assert found["Id"] == second["image_id"]
        assert found["RepoTags"] == ["kept-by-test:latest"]
        assert api.inspect_image(first["image_id"])["RepoTags"] == [], "what existed before stays"
    finally:
        for image in (first, second):
            with suppress(docker.errors.ImageNotFound):
                api.remove_image(image["image_id"])


def test_a_name_that_the_configuration_does_not_allow_is_refused(bench: DockerBench, api: docker.APIClient) -> None:
    """Whoever runs it on this machine would run the image of this task."""
    before = api.inspect_image("taskrunner-base")["Id"]
    with pytest.raises(MalformedPayload, match=r"build\.tags\[1\].*'taskrunner-base:latest'.*\[docker\] local_tags"):
        bench.run(lambda: built(bench, BuildSpec(tags=("kept-by-test:2", "taskrunner-base:latest"))))
    assert api.inspect_image("taskrunner-base")["Id"] == before


def test_a_name_that_existed_before_a_push_has_its_image_again(
    bench: DockerBench, repository: SourceRepository, private: Registry, api: docker.APIClient
) -> None:
    name = f"{private.host}/team/was-here:1"
    api.tag("taskrunner-base", name.rpartition(":")[0], "1")
    before = api.inspect_image(name)["Id"]
    repository.commit({"Dockerfile": "FROM taskrunner-base\nENV PUSHED=over-a-name\n"})
    try:
        result = bench.run(lambda: delivered(bench, BuildSpec(tags=(name,), push=True)))
        assert result["image_id"] != before
        assert result["images"][0]["digest"] in private.digests()
        assert api.inspect_image(name)["Id"] == before
        with pytest.raises(docker.errors.ImageNotFound):
            api.inspect_image(result["image_id"])  # no name by its digest keeps it
    finally:
        api.remove_image(name)


def test_a_step_that_fails_is_named(bench: DockerBench, repository: SourceRepository) -> None:
    repository.commit({"Dockerfile": "FROM taskrunner-base\nRUN echo so far so good\nRUN echo oh no >&2; exit 5\n"})

    async def fail() -> Results:
        results = await built(bench, BuildSpec())
        await results.dispose()
        return results

    results = bench.run(fail)
    assert (results.exit_code, results.reason) == (1, "build-failed")
    assert "RUN echo oh no" in results.message
    assert "so far so good" in bench.log.text


def test_secrets_are_there_for_a_step_and_nowhere_else(
    bench: DockerBench, repository: SourceRepository, api: docker.APIClient
) -> None:
    step = "RUN --mount=type=secret,id=TOKEN echo got $(wc -c < /run/secrets/TOKEN); cat /run/secrets/TOKEN\n"
    repository.commit({"Dockerfile": f"FROM taskrunner-base\n{NEW_STEP}{step}"})
    secret = uuid.uuid4().hex

    async def build() -> Any:
        results = await built(bench, BuildSpec(build_args={"SALT": uuid.uuid4().hex}), TOKEN=secret)
        assert results.exit_code == 0, results.message
        try:
            return api.history(f"{_repository(bench)}:{_only_tag(api, bench)}")
        finally:
            await results.dispose()

    history = bench.run(build)
    assert "got 32" in bench.log.text
    assert secret not in bench.log.text
    assert secret not in str(history)


def _repository(bench: DockerBench) -> str:
    return WorkerLabels(bench.worker_id, bench.home).build_repository


def _only_tag(api: docker.APIClient, bench: DockerBench) -> str:
    (image,) = api.images(name=_repository(bench))
    (tag,) = (tag for tag in image["RepoTags"] if tag.startswith(_repository(bench)))
    return str(tag).rpartition(":")[2]


@pytest.fixture
def private_base(api: docker.APIClient, base_image: str, private: Registry) -> str:
    """An image that only the private registry has."""
    name = f"{private.host}/base/{uuid.uuid4().hex[:8]}"
    api.tag(base_image, name, "1")
    said = api.push(name, tag="1", auth_config={"username": "ci", "password": PASSWORD})
    assert "digest: sha256" in said
    api.remove_image(f"{name}:1")
    return f"{name}:1"


def test_a_private_base_image_is_fetched_with_the_login(
    bench: DockerBench, repository: SourceRepository, private_base: str
) -> None:
    repository.commit({"Dockerfile": f"FROM {private_base}\nRUN echo from the private base\n"})
    bench.run(lambda: delivered(bench, BuildSpec()))
    assert PASSWORD not in bench.log.text


def test_a_private_base_image_without_a_login(
    bench: DockerBench, repository: SourceRepository, private_base: str
) -> None:
    repository.commit({"Dockerfile": f"FROM {private_base}\n"})
    bench.options = DockerOptions()

    async def fail() -> Results:
        results = await built(bench, BuildSpec())
        await results.dispose()
        return results

    results = bench.run(fail)
    assert (results.exit_code, results.reason) == (1, "build-failed")
    assert private_base in results.message
    assert "check the login for its registry in [docker.registries]" in results.message


def test_a_branch_that_is_not_there_leaves_the_mirror(bench: DockerBench, repository: SourceRepository) -> None:
    repository.commit({"Dockerfile": "FROM taskrunner-base\n"})
    bench.source = Source(repository.url, "nope")
    with pytest.raises(TaskFailed) as caught:
        bench.run(lambda: bench.loaded(DockerPayload(build=BuildSpec())))
    assert caught.value.reason == "clone-failed"
    (lease,) = bench.caches.leases
    assert lease.ended == "committed"


def test_the_folder_of_the_context_and_the_stage(bench: DockerBench, repository: SourceRepository) -> None:
    stages = "FROM taskrunner-base AS one\nCOPY x /x\nFROM one AS two\nRUN exit 9\n"
    repository.commit({"sub/build/Dockerfile": stages, "sub/x": "x"})
    spec = BuildSpec(context="sub", dockerfile="build/Dockerfile", target="one")
    assert bench.run(lambda: delivered(bench, spec))["images"] == []


def test_a_wrong_password_fails_the_delivery_and_leaves_nothing(
    bench: DockerBench, repository: SourceRepository, private: Registry
) -> None:
    repository.commit({"Dockerfile": "FROM taskrunner-base\n"})
    bench.options = DockerOptions(registries={private.host: RegistryOptions("ci", Secret(literal="wr0ng"))})
    spec = BuildSpec(tags=(f"{private.host}/app:1",), push=True)
    with pytest.raises(TaskFailed, match="check the login") as caught:
        bench.run(lambda: delivered(bench, spec))
    assert caught.value.reason == "login-failed"


ONE_LARGE_LAYER = """
FROM taskrunner-base AS made
RUN head -c 16777216 /dev/urandom > /large
FROM scratch
COPY --from=made /large /
"""
"""Larger than a socket's buffers: Docker is sending it for as long as the registry reads nothing."""


def test_a_cancelled_push_removes_its_name(bench: DockerBench, repository: SourceRepository) -> None:
    repository.commit({"Dockerfile": ONE_LARGE_LAYER})

    async def cancel(stuck: StuckRegistry) -> None:
        results = await built(bench, BuildSpec(tags=(f"{stuck.host}/app:1",), push=True))
        delivering = asyncio.create_task(results.deliver())
        assert await asyncio.to_thread(stuck.came.wait, 60)
        delivering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await delivering
        stuck.resume.set()
        assert await asyncio.to_thread(stuck.gone.wait, 60)
        await results.dispose()

    with stuck_registry() as stuck:
        bench.run(lambda: cancel(stuck))
        assert [name for name in docker_names() if name.startswith(stuck.host)] == []


def docker_names() -> list[str]:
    client = docker.APIClient(version="auto")
    try:
        return [name for image in client.images() for name in image["RepoTags"] or []]
    finally:
        client.close()


def test_crash_recovery_removes_a_name_that_was_being_pushed(
    bench: DockerBench, repository: SourceRepository, api: docker.APIClient
) -> None:
    repository.commit({"Dockerfile": "FROM taskrunner-base\nENV PUSHED=before-a-crash\n"})

    async def crash(stuck: StuckRegistry) -> list[str]:
        """As Docker and the disk are after a crash."""
        results = await built(bench, BuildSpec(tags=(f"{stuck.host}/app:1",), push=True))
        delivering = asyncio.create_task(results.deliver())
        assert await asyncio.to_thread(stuck.came.wait, 60)
        successor = await DockerPlatform.open(bench.options, PlatformContext("successor", bench.home, bench.reveal))
        lines = await successor.clean_up_after(bench.worker_id)
        assert f"{stuck.host}/app:1" not in docker_names()
        assert await successor.clean_up_after(bench.worker_id) == []
        await successor.dispose()
        delivering.cancel()
        await asyncio.wait([delivering])
        return lines

    with stuck_registry() as stuck:
        lines = bench.run(lambda: crash(stuck))
        assert f"removed the image name {stuck.host}/app:1, which was being pushed" in lines


def test_crash_recovery_gives_a_name_back_that_existed_before(
    bench: DockerBench, repository: SourceRepository, api: docker.APIClient
) -> None:
    repository.commit({"Dockerfile": "FROM taskrunner-base\nENV PUSHED=before-another-crash\n"})
    base = api.inspect_image("taskrunner-base")["Id"]

    async def crash(stuck: StuckRegistry) -> None:
        name = f"{stuck.host}/app:1"
        api.tag("taskrunner-base", name.rpartition(":")[0], "1")
        results = await built(bench, BuildSpec(tags=(name,), push=True))
        delivering = asyncio.create_task(results.deliver())
        assert await asyncio.to_thread(stuck.came.wait, 60)
        pushed = api.inspect_image(name)["Id"]
        assert pushed != base
        await bench.platform.clean_up_run(bench.worker_id, RunKey("task1", 0))
        assert api.inspect_image(name)["Id"] == base
        with pytest.raises(docker.errors.ImageNotFound):
            api.inspect_image(pushed)
        delivering.cancel()
        await asyncio.wait([delivering])
        assert api.inspect_image(name)["Id"] == base
        api.remove_image(name)

    with stuck_registry() as stuck:
        bench.run(lambda: crash(stuck))


def test_push_records_that_cannot_be_read_are_left(bench: DockerBench) -> None:
    folder = WorkerLabels(bench.worker_id, bench.home).push_folder
    (folder / "no-file").mkdir(parents=True)
    with pytest.raises(Unavailable, match=f"push: {folder} cannot be read: "):
        bench.run(lambda: bench.platform.clean_up_after(bench.worker_id))


async def sleeping(bench: DockerBench, repository: SourceRepository) -> Execution:
    """A build in the middle of a step that does not end."""
    step = "RUN echo asleep; exec sleep 1000000\n"
    repository.commit({"Dockerfile": f"FROM taskrunner-base\n{NEW_STEP}{step}"})
    spec = BuildSpec(build_args={"SALT": uuid.uuid4().hex})
    execution = await (await bench.loaded(DockerPayload(build=spec))).start({})
    await bench.log.until(" asleep")
    return execution


def test_a_build_that_is_killed_is_reported_as_killed(bench: DockerBench, repository: SourceRepository) -> None:
    async def kill() -> tuple[Results, Results]:
        execution = await sleeping(bench, repository)
        waiting = asyncio.create_task(execution.wait())
        killed = await execution.kill()
        assert await execution.kill() is killed
        waited = await waiting
        await killed.dispose()
        return killed, waited

    killed, waited = bench.run(kill)
    assert killed is waited
    assert (killed.exit_code, killed.reason) == (1, "killed")


def test_a_build_that_is_aborted_has_no_results(bench: DockerBench, repository: SourceRepository) -> None:
    async def abort() -> None:
        execution = await sleeping(bench, repository)
        await execution.abort()
        await execution.abort()
        with pytest.raises(Bug):
            await execution.wait()

    bench.run(abort)


def test_a_build_that_is_killed_before_it_begins_releases_the_mirror(
    bench: DockerBench, repository: SourceRepository
) -> None:
    repository.commit({"Dockerfile": "FROM taskrunner-base\n"})

    async def kill() -> Results:
        engine = await bench.loaded(DockerPayload(build=BuildSpec()))
        return await (await engine.start({})).kill()

    assert bench.run(kill).reason == "killed"


def test_a_cancelled_fetch_discards_the_mirror(bench: DockerBench, base_image: str) -> None:
    async def cancel() -> None:
        came = asyncio.Event()

        async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            came.set()
            await reader.read()
            writer.close()

        async with await asyncio.start_server(stay_silent, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            bench.source = Source(f"http://127.0.0.1:{port}/repository.git")
            loading = asyncio.create_task(bench.loaded(DockerPayload(build=BuildSpec())))
            await came.wait()
            loading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await loading

    bench.run(cancel)
    (lease,) = bench.caches.leases
    assert lease.ended == "discarded"


def test_crash_recovery_removes_a_built_image(
    bench: DockerBench, repository: SourceRepository, api: docker.APIClient
) -> None:
    repository.commit({"Dockerfile": "FROM taskrunner-base\nENV MADE=before-a-crash\n"})

    async def crash_and_recover() -> tuple[list[str], list[str]]:
        await built(bench, BuildSpec())
        tag = f"{_repository(bench)}:{_only_tag(api, bench)}"
        assert await bench.platform.clean_up_after("another-worker") == []
        found = await bench.platform.clean_up_after(bench.worker_id)
        assert found == [f"removed image {tag}"]
        return found, await bench.platform.clean_up_after(bench.worker_id)

    assert bench.run(crash_and_recover)[1] == []


def test_a_build_takes_neither_caches_nor_input(bench: DockerBench, repository: SourceRepository) -> None:
    repository.commit({"Dockerfile": "FROM taskrunner-base\n"})

    async def ask() -> None:
        engine = await bench.loaded(DockerPayload(build=BuildSpec()))
        with pytest.raises(NotSupported, match="--mount=type=cache"):
            await engine.attach_cache((await bench.caches.exclusive("some")).folder, "cache")
        with pytest.raises(NotSupported):
            await engine.start({}, stdin=True)
        await engine.discard()
        await engine.discard()
        for lease in bench.caches.leased:
            await lease.commit()

    bench.run(ask)


def test_a_build_without_source_is_told_what_to_write(bench: DockerBench) -> None:
    with pytest.raises(MalformedPayload, match="source"):
        bench.run(lambda: bench.loaded(DockerPayload(build=BuildSpec())))
