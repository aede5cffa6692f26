"""Tasks with mounts, by the installed command, on both platforms: a real server, a real artifact of an earlier task."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.archives import COMPRESS, entry, folder, tar
from tests.support.e2e import Site
from tests.support.file_server import Exchange, FileServer, serving
from tests.support.githttp import make_repository

TOOL = b"#!/bin/sh\necho tool $1\n"
ARCHIVE = COMPRESS["gz"](tar(folder("bin"), entry("bin/tool", TOOL, mode=0o755), entry("data", b"packed\n")))

SCRIPT = """
cat mnt/text mnt/file mnt/built mnt/unpacked/data
mnt/tool downloaded
mnt/unpacked/bin/tool unpacked
for path in mnt/text mnt/file mnt/built mnt/tool mnt/unpacked/data; do
    case "$(ls -l $path)" in -r-?r-?r-?*) ;; *) echo "can write to $path"; ls -l $path;; esac
done
"""
OUTPUT = "text\nallowed\nbuilt\npacked\ntool downloaded\ntool unpacked\n"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as running:
        running.answers = [lambda exchange: exchange.send(200, TOOL if exchange.path == "/tool" else ARCHIVE)]
        yield running


def on(platform: str, script: str, **more: Any) -> dict[str, Any]:
    """A task that runs a shell script."""
    command = {"command": ["sh", "-c", script]}
    image = {"image": "taskrunner-base", "working_dir": "/work"} if platform == "docker" else {}
    return {"id": "t", "platform": platform, **command, **image, **more}


def mounts(server: FileServer, file: Path) -> list[Mapping[str, Any]]:
    return [
        {"target": "mnt/text", "content": "text\n"},
        {"target": "mnt/file", "file": str(file)},
        {"target": "mnt/built", "task": "build", "artifact": "out.txt"},
        download(server, TOOL, "/tool", target="mnt/tool", executable=True),
        download(server, ARCHIVE, target="mnt/unpacked", unpack=True),
    ]


def download(server: FileServer, data: bytes, path: str = "/src.tar", **more: Any) -> Mapping[str, Any]:
    return {"target": "data", "url": server.url(path), "sha256": hashlib.sha256(data).hexdigest(), **more}


def build(site: Site) -> None:
    """A task whose artifact another one mounts, compressed by its store."""
    kept = {"name": "out.txt", "path": "out.txt", "compression": "gzip"}
    site.submit({**site.process("echo built > out.txt", artifacts=[kept]), "id": "build"})
    site.run_worker()


def written(log: str) -> str:
    """What the task has printed."""
    return "".join(line for line in log.splitlines(keepends=True) if not line.startswith("[taskrunner]"))


@pytest.mark.parametrize("platform", ["process", "docker"])
def test_every_kind_of_mount(site: Site, server: FileServer, tmp_path: Path, platform: str) -> None:
    file = tmp_path / "allowed.txt"
    file.write_text("allowed\n")
    site.configure(f'[source]\nfiles = ["{file}"]\n')
    build(site)
    for task in ("t1", "t2"):
        site.submit(on(platform, f"{SCRIPT}exit 3", id=task, mounts=mounts(server, file)))
    site.run_worker("--capacity", "2")
    for task in ("t1", "t2"):
        assert written(site.log(task)) == OUTPUT, site.log(task)
        assert site.resolutions(task) == ["failed (exit-code)"]
    again = site.submit(on(platform, SCRIPT, mounts=mounts(server, file)))
    site.run_worker()
    assert site.resolutions(again) == ["completed"]
    assert sorted(exchange.path for exchange in server.requests) == ["/src.tar", "/tool"], "once for all runs"
    assert site.leftovers() == []


def test_a_container_cannot_write_to_its_mounts(site: Site, server: FileServer) -> None:
    script = "touch data/new; rm -rf data/data; echo x > data/data; chmod 777 data; umount data; cat data/data"
    site.submit(on("docker", script, mounts=[download(server, ARCHIVE, unpack=True)]))
    site.run_worker()
    assert site.log("t").count("Read-only file system") >= 4, site.log("t")
    assert "packed\n" in written(site.log("t"))


def test_a_process_has_a_copy_of_its_own(site: Site, server: FileServer) -> None:
    script = "chmod -R u+w data && echo spoilt > data/data && rm data/bin/tool && cat data/data"
    site.submit(on("process", script, mounts=[download(server, ARCHIVE, unpack=True)]))
    later = on("process", "cat data/data && data/bin/tool", id="t2", mounts=[download(server, ARCHIVE, unpack=True)])
    site.submit(later)
    site.run_worker()
    assert written(site.log("t")) == "spoilt\n"
    assert written(site.log("t2")) == "packed\ntool\n"
    assert len(server.requests) == 1


def test_git_takes_no_notice_of_mounts(site: Site, tmp_path: Path) -> None:
    make_repository(tmp_path / "web", {"page": "x\n"})
    site.configure(f'[source]\nrepositories = ["{tmp_path}"]\n')
    source, mount = {"repository": f"{tmp_path}/web"}, {"target": "settings/local", "content": "x"}
    for platform in ("process", "docker"):
        script = "cat settings/local page; test -e .git" + ("; git status --short" * (platform == "process"))
        site.submit(on(platform, script, id=platform, source=source, mounts=[mount]))
    site.run_worker()
    for platform in ("process", "docker"):
        assert written(site.log(platform)) == "xx\n", site.log(platform)
        assert site.resolutions(platform) == ["completed"]


WRONG: dict[str, tuple[Mapping[str, Any], str, str]] = {
    "another checksum": ({"url": "URL", "sha256": "0" * 64}, "failed (download-failed)", "mounts[0]: download: "),
    "no archive": ({"file": "/etc/hostname", "unpack": True}, "failed (mount-refused)", "mounts[0]: unpack: "),
    "a file": ({"file": "/etc/passwd"}, "failed (mount-refused)", "mounts[0]: "),
    "an unknown task": ({"task": "x", "artifact": "y"}, "failed (mount-missing)", "mounts[0]: there is no task x"),
    "an unknown secret": (
        {"url": "URL", "sha256": "0" * 64, "token": {"secret": "none"}},
        "exception (malformed-payload)",
        "secret",
    ),
    "an outer place": ({"target": "/etc/x", "content": "x"}, "exception (malformed-payload)", "mounts[0].target: "),
    "a place of the worker": ({"target": ".tmp", "content": "x"}, "exception (malformed-payload)", "mounts[0].target"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_by_its_mount(site: Site, server: FileServer, name: str) -> None:
    mount, resolution, message = WRONG[name]
    site.configure('[source]\nfiles = ["/etc/hostname"]\n')
    mount = {"target": "data", **mount, **({"url": server.url()} if "url" in mount else {})}
    site.submit(on("process", "true", mounts=[mount]))
    site.run_worker()
    assert site.resolutions("t") == [resolution]
    assert message in site.command("show", "t").everything
    assert list(site.home.glob("engine-caches/*/*/content")) == []
    assert site.leftovers() == []


def test_a_build_has_no_mounts(site: Site, tmp_path: Path) -> None:
    make_repository(tmp_path / "web", {"Dockerfile": "FROM scratch\n"})
    site.configure(f'[source]\nrepositories = ["{tmp_path}"]\n')
    document = site.build(f"{tmp_path}/web", mounts=[{"target": "data", "content": "x"}])
    site.submit(document)
    site.run_worker()
    shown = site.command("show", document["id"]).everything
    assert "exception (malformed-payload)" in shown
    assert "mounts[0]: the docker platform cannot give the mount data to this run" in shown


def test_two_mounts_that_meet_in_a_container(site: Site) -> None:
    """Where a relative path is, the image or the task says."""
    both = [{"target": "data", "content": "x"}, {"target": "/work/data/y", "content": "y"}]
    site.submit(on("docker", "true", mounts=both))
    site.run_worker()
    assert "mounts[1].target: /work/data/y is the same place as /work/data, or" in site.command("show", "t").everything


@pytest.mark.parametrize("platform", ["process", "docker"])
def test_a_worker_that_is_killed_while_it_downloads(site: Site, server: FileServer, platform: str) -> None:
    server.answers = [Exchange.stall, lambda exchange: exchange.send(200, ARCHIVE)]
    site.submit(on(platform, "cat data/data", mounts=[download(server, ARCHIVE, unpack=True)]))
    worker = site.worker()
    assert server.asked.acquire(timeout=40)
    worker.kill()
    site.run_worker()
    assert site.resolutions("t") == ["exception (worker-shutdown)", "completed"]
    assert written(site.log("t", 1)) == "packed\n"
    assert len(list(site.home.glob("engine-caches/*/?"))) == 1, "the half of it was removed"
    assert site.leftovers() == []


@pytest.mark.parametrize("platform", ["process", "docker"])
def test_a_worker_that_is_killed_while_its_run_has_a_mount(site: Site, server: FileServer, platform: str) -> None:
    first = f"cat data/data text; test $RUN_ID = 1 || exec sleep {site.token}"
    both = [download(server, ARCHIVE, unpack=True), {"target": "text", "content": "text\n"}]
    site.submit(on(platform, first, mounts=both))
    worker = site.worker()
    site.wait_for_sleep()
    worker.kill()
    site.run_worker()
    assert written(site.log("t", 1)) == "packed\ntext\n"
    assert site.resolutions("t") == ["exception (worker-shutdown)", "completed"]
    assert len(server.requests) == 1, "what the dead worker had fetched is used"
    assert list(site.home.glob("engine-caches/mount/*/content")) == [], "its text was removed"
    assert site.leftovers() == []
