"""Cache folders that containers write to as root."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import docker
import pytest

from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.cleanup.labels import WorkerLabels
from taskrunner_docker.container.cache_folder import DockerCacheFolder
from taskrunner_docker.container.ownership import take_folders

T = TypeVar("T")
LABELS = WorkerLabels("cache-test", Path("/home"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    (folder / "deep/deeper").mkdir(parents=True)
    (folder / "deep/file").write_bytes(b"x" * 1_000_001)
    (folder / "deep/empty").touch()
    (folder / "link").symlink_to("/etc/passwd")
    os.link(folder / "deep/file", folder / "second-name")
    return folder


def with_folder(path: Path, work: Callable[[DockerCacheFolder, DockerClient], Awaitable[T]]) -> T:
    async def main() -> T:
        client = await DockerClient.connect("")
        try:
            return await work(DockerCacheFolder("kept", path, client, LABELS), client)
        finally:
            client.dispose()

    return asyncio.run(main())


def test_its_size_is_that_on_disk(path: Path) -> None:
    async def size(folder: DockerCacheFolder, _: DockerClient) -> int:
        return (await folder.usage()).size

    assert 1_000_001 <= with_folder(path, size) < 1_100_000


def test_it_is_deleted_once_or_twice(path: Path) -> None:
    async def delete(folder: DockerCacheFolder, _: DockerClient) -> None:
        await folder.delete()
        await folder.delete()

    with_folder(path, delete)
    assert not path.exists()


def test_folders_get_another_owner_and_files_do_not(path: Path, api: docker.APIClient) -> None:
    (path / "deep").chmod(0)
    before = {image["Id"] for image in api.images(all=True)}

    async def take(_: DockerCacheFolder, client: DockerClient) -> None:
        await take_folders(client, path, LABELS, uid=4321)

    with_folder(path, take)
    for folder in (path, path / "deep", path / "deep/deeper"):
        assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (4321, 0o700)
    assert (path / "deep/file").stat().st_uid == os.geteuid()
    assert api.containers(all=True, filters={"label": "taskrunner.worker=cache-test"}) == []
    assert {image["Id"] for image in api.images(all=True) if image["Size"] == 0} <= before
