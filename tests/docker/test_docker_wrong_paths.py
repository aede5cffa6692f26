"""A path that can never be there is the fault of the task, and never the worker's."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from taskrunner.errors import TaskFailed
from taskrunner.interfaces.results import Results
from taskrunner.schema.decode import decode
from taskrunner.testing.conformance.platform.harness import joined
from taskrunner_docker import DockerPayload
from tests.support.docker_bench import DockerBench

TOO_LONG = "x" * 256


@pytest.fixture
def bench(tmp_path: Path, base_image: str) -> DockerBench:
    return DockerBench(tmp_path / "home", worker_id=f"w-{uuid.uuid4().hex[:8]}")


def payload(script: str, **more: object) -> DockerPayload:
    return decode(DockerPayload, {"image": "taskrunner-base", "command": ["sh", "-c", script], **more})


async def finished(bench: DockerBench, what: DockerPayload) -> Results:
    return await (await (await bench.loaded(what)).start({})).wait()


def test_artifacts_behind_a_file_or_with_a_name_that_is_too_long_are_not_there(bench: DockerBench) -> None:
    async def look() -> bytes:
        results = await finished(bench, payload("echo kept > file; ln -s file link", working_dir="/w"))
        try:
            for path in ("file/x", "link/x", "/w/file/x/y", TOO_LONG, f"file/{TOO_LONG}"):
                with pytest.raises(FileNotFoundError):
                    await results.archive_file(path)
                with pytest.raises(FileNotFoundError):
                    await anext(aiter(results.archive_folder(path)))
                with pytest.raises(FileNotFoundError):
                    await results.archive(path)
            return await joined((await results.archive_file("file")).read())
        finally:
            await results.dispose()

    assert bench.run(look) == b"kept\n"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"working_dir": "/sys/x"}, "working_dir"),
        ({"working_dir": "/etc/passwd/x"}, "working_dir"),
        ({"working_dir": f"/{TOO_LONG}"}, "working_dir"),
        ({"isolation": {"user": "2147483648"}}, "isolation.user"),
    ],
)
def test_a_container_that_cannot_start_there(bench: DockerBench, more: dict[str, object], field: str) -> None:
    with pytest.raises(TaskFailed, match=field) as caught:
        bench.run(lambda: finished(bench, payload("true", **more)))
    assert caught.value.reason == "start-failed"


@pytest.mark.parametrize("target", ["/proc/x", "/sys/x", "/etc/passwd/x", f"/{TOO_LONG}"])
def test_a_mount_where_nothing_can_be(bench: DockerBench, tmp_path: Path, target: str) -> None:
    content = tmp_path / "content"
    content.write_text("x")

    async def start() -> None:
        engine = await bench.loaded(payload("true"))
        try:
            await engine.attach_mount(content, target)
            await engine.start({})
        finally:
            await engine.discard()

    with pytest.raises(TaskFailed, match="`mounts`") as caught:
        bench.run(start)
    assert caught.value.reason == "start-failed"
