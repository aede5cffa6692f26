"""`limits.disk`, on a Docker whose storage driver can limit the size of a container."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskrunner.errors import TaskFailed
from taskrunner.interfaces.results import Results
from taskrunner.model import Source
from taskrunner.schema.decode import decode
from taskrunner_docker import DockerOptions, DockerPayload
from taskrunner_docker.container.disk import out_of_disk_text
from tests.support.docker_bench import DockerBench, SourceRepository
from tests.support.own_docker import OwnDocker, own_docker

MIB = 1 << 20


@pytest.fixture(scope="module")
def daemon() -> Iterator[OwnDocker]:
    with own_docker(own_disk=True) as running:
        running.load_base_image()
        yield running


@pytest.fixture
def bench(tmp_path: Path, daemon: OwnDocker) -> DockerBench:
    return DockerBench(tmp_path / "home", decode(DockerOptions, {"host": daemon.host}))


def run(bench: DockerBench, **fields: Any) -> Results:
    """The results of a task, which are disposed of."""

    async def finish() -> Results:
        payload = decode(DockerPayload, {"image": "taskrunner-base", "network": "none", **fields})
        results = await (await (await bench.loaded(payload)).start({})).wait()
        await results.dispose()
        return results

    return bench.run(finish)


def test_a_run_that_writes_past_its_limit_names_the_limit(bench: DockerBench) -> None:
    results = run(bench, command=["dd", "if=/dev/zero", "of=/file", "bs=64k"], limits={"disk": "16MiB"})
    assert (results.exit_code, results.reason) == (1, "out-of-disk")
    assert results.message.startswith("the disk of the container is full: the files of its image and those that")
    assert results.message.endswith("its limit is 16MiB (16777216 bytes); ask for more in `limits.disk`")


def test_a_step_that_writes_past_its_limit_names_the_limit(bench: DockerBench) -> None:
    steps = [{"name": "small", "run": "true"}, {"name": "large", "run": "dd if=/dev/zero of=/file bs=64k"}]
    results = run(bench, steps=steps, limits={"disk": "16MiB"})
    assert (results.exit_code, results.reason) == (1, "out-of-disk")
    assert "large" in results.message
    assert "its limit is 16MiB" in results.message


@pytest.mark.parametrize("script", ["exit 3", "dd if=/dev/zero of=/file bs=64k count=64; exit 3"])
def test_another_failure_is_told_as_it_is(bench: DockerBench, script: str) -> None:
    results = run(bench, command=["sh", "-c", script], limits={"disk": "16MiB"})
    assert (results.exit_code, results.reason, results.message) == (3, "", "")


def test_a_run_that_goes_on_with_a_full_disk_is_no_failure(bench: DockerBench) -> None:
    script = "dd if=/dev/zero of=/file bs=64k; true"
    results = run(bench, command=["sh", "-c", script], limits={"disk": "16MiB"})
    assert (results.exit_code, results.reason) == (0, "")


def test_a_worker_gives_a_limit_to_a_task_that_names_none(bench: DockerBench) -> None:
    bench.options = decode(DockerOptions, {"host": bench.options.host, "limits": {"default": {"disk": "16MiB"}}})
    results = run(bench, command=["dd", "if=/dev/zero", "of=/file", "bs=64k"])
    assert results.reason == "out-of-disk"


def test_a_limit_below_the_image_is_refused_by_name(bench: DockerBench) -> None:
    with pytest.raises(TaskFailed, match=r"disk quota exceeded; check `limits\.disk`"):
        run(bench, command=["true"], limits={"disk": "1MiB"})


def test_a_source_that_does_not_fit_names_the_limit(bench: DockerBench, tmp_path: Path) -> None:
    repository = SourceRepository(tmp_path / "repository")
    repository.commit({f"{number}.txt": "x" * MIB for number in range(16)})
    bench.source = Source(repository.url)
    with pytest.raises(TaskFailed, match=r"the files of the source do not fit: .* its limit is 16MiB") as caught:
        run(bench, command=["true"], limits={"disk": "16MiB"})
    assert caught.value.reason == "out-of-disk"


@pytest.mark.parametrize(
    ("driver", "used", "words"),
    [
        ("overlay2", 100 * MIB, "what it has written has 100MiB"),
        ("zfs", 94 * MIB, "what it has written has 94MiB"),
        ("overlay2", 93 * MIB, ""),
        ("btrfs", 50 * MIB, "the files of its image and those that it has written have 100MiB"),
        ("btrfs", 43 * MIB, ""),
    ],
)
def test_what_counts_is_up_to_the_driver(driver: str, used: int, words: str) -> None:
    """The image of these has 50 MiB. A sixteenth of the limit may be left."""
    text = out_of_disk_text(driver, {"SizeRw": used, "SizeRootFs": used + 50 * MIB}, 100 * MIB)
    assert text.startswith("the disk of the container is full") == bool(words)
    assert words in text
