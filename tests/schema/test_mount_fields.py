"""What is wrong with the `mounts` of a task, before it runs."""

from __future__ import annotations

from typing import Any

import pytest

from taskrunner.errors import MalformedPayload
from taskrunner.model import MountSpec
from taskrunner.schema.check import check_task
from taskrunner.testing import FakePlatform

SUM = "0123456789abcdefABCDEF" + "0" * 42
URL = {"target": "data", "url": "https://files.example.com/a.tar.gz", "sha256": SUM}
TEXT = {"target": "data", "content": "hello\n"}
FILE = {"target": "data", "file": "/srv/models/one.bin"}
ARTIFACT = {"target": "data", "task": "build-1", "artifact": "public/out.tar"}


def checked(*mounts: Any, **more: Any) -> tuple[MountSpec, ...]:
    document = {"id": "t", "platform": "fake", "mounts": list(mounts), **more}
    return check_task(document, {"fake": FakePlatform})[0].mounts


def test_the_four_kinds() -> None:
    targets = iter(("a", "/b", "c/d", "c/e"))
    given = [{**mount, "target": next(targets)} for mount in (URL, TEXT, FILE, ARTIFACT)]
    assert [mount.target for mount in checked(*given)] == ["a", "/b", "c/d", "c/e"]


OWN = "give each mount and each cache a path of its own"
WRONG: dict[str, tuple[list[Any], str]] = {
    "nothing in it": ([{"target": "a"}], "mounts[0].url: is missing"),
    "no target": ([{"content": "x"}], "mounts[0].target: is missing"),
    "two kinds": ([{**URL, "content": "x"}], "mounts[0].content: stands beside `url`"),
    "a field of another kind": ([{**TEXT, "token": "x"}], "mounts[0].token: means nothing to `content`"),
    "a task without an artifact": ([{"target": "a", "task": "x"}], "mounts[0].url: is missing"),
    "an artifact without a task": ([{"target": "a", "artifact": "x"}], "mounts[0].task: is missing"),
    "an artifact by a bad name": ([{**ARTIFACT, "artifact": "../x"}], "mounts[0].artifact: "),
    "the log of a task": ([{**ARTIFACT, "artifact": "log"}], "mounts[0].artifact: is the log of a run"),
    "a task by a bad id": ([{**ARTIFACT, "task": "../x"}], "mounts[0].task: "),
    "no checksum": ([{**URL, "sha256": ""}], "mounts[0].sha256: is missing"),
    "half a checksum": ([{**URL, "sha256": SUM[:32]}], "mounts[0].sha256: "),
    "a checksum of a text": ([{**TEXT, "sha256": SUM}], "mounts[0].sha256: means nothing to `content`"),
    "a text as an archive": ([{**TEXT, "unpack": True}], "mounts[0].unpack: means nothing to `content`"),
    "the name of a format": ([{**URL, "unpack": "tar.gz"}], "mounts[0].unpack: "),
    "an executable archive": ([{**URL, "unpack": True, "executable": True}], "mounts[0].executable: means nothing"),
    "another scheme": ([{**URL, "url": "ftp://files.example.com/x"}], "mounts[0].url: "),
    "a URL of a file": ([{**URL, "url": "file:///etc/passwd"}], "mounts[0].url: "),
    "a URL with a line break": ([{**URL, "url": "https://x/\nHost: y"}], "mounts[0].url: "),
    "a relative file": ([{**FILE, "file": "etc/passwd"}], "mounts[0].file: "),
    "half a pair": ([{**TEXT, "content": "\ud800"}], "mounts[0].content: "),
    "a target that leads out": ([{**TEXT, "target": "a/../../b"}], "mounts[0].target: "),
    "an absolute one that does": ([{**TEXT, "target": "/a/../../b"}], "mounts[0].target: "),
    "a target with a zero byte": ([{**TEXT, "target": "a\0b"}], "mounts[0].target: "),
    "the run's folder": ([{**TEXT, "target": "."}], f"mounts[0].target: . is everything that the run has ({OWN})"),
    "everything": ([{**TEXT, "target": "/./"}], "mounts[0].target: "),
    "a place twice": ([TEXT, {**FILE, "target": "./data/"}], "mounts[1].target: is the same place as mounts[0].target"),
    "one in another": ([TEXT, {**FILE, "target": "data/x"}], "mounts[1].target: is the same place"),
    "one around another": ([{**TEXT, "target": "/a/b"}, {**FILE, "target": "/a"}], "mounts[1].target: is the same"),
    "a place of a cache": ([{**TEXT, "target": "cache/x"}], "mounts[0].target: is the same place as caches[0].path"),
    "an unknown key": ([{**TEXT, "readonly": True}], "mounts[0].readonly: "),
    "too many": ([{"target": f"t{number}", "content": "x"} for number in range(65)], "mounts: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mount_that_is_refused(name: str) -> None:
    mounts, problem = WRONG[name]
    with pytest.raises(MalformedPayload) as caught:
        checked(*mounts, caches=[{"name": "some", "path": "cache"}])
    assert any(str(complaint).startswith(problem) for complaint in caught.value.complaints), str(caught.value)


def test_places_that_begin_alike_are_two() -> None:
    assert len(checked(TEXT, {**TEXT, "target": "data-2"}, {**TEXT, "target": "/data"})) == 3
