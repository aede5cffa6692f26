"""The table of malformed payloads: each is refused with exactly its words, without a daemon."""

from __future__ import annotations

from typing import Any

import pytest

from taskrunner.errors import MalformedPayload
from taskrunner.schema.check import check_task
from taskrunner.schema.decode import decode
from taskrunner_docker import DockerOptions, DockerPayload, DockerPlatform
from taskrunner_docker.payload import local_tag_complaints, refused_complaints
from tests.docker.malformed_payloads import KEY, ROWS, WORKER


def complaints(document: dict[str, Any]) -> list[str]:
    """As a worker says them: what is wrong anywhere, or else what this worker does not allow."""
    image = {} if "build" in document else {"image": "busybox"}
    if document.get("image") == "":
        document = {name: value for name, value in document.items() if name != "image"}
        image = {}
    task = {"id": "t1", "platform": "docker", **image, **document}
    try:
        _, payload = check_task(task, {"docker": DockerPlatform})
    except MalformedPayload as error:
        return [str(each) for each in error.complaints]
    assert isinstance(payload, DockerPayload)
    options = decode(DockerOptions, WORKER)
    tags = local_tag_complaints(payload.build, options.local_tags) if payload.build else ()
    return [str(each) for each in (*refused_complaints(payload, options), *tags)]


@pytest.mark.parametrize(("document", "message"), ROWS, ids=[message.partition(":")[0] for _, message in ROWS])
def test_it_is_refused_in_these_words(document: dict[str, Any], message: str) -> None:
    assert complaints(document) == [message]


def test_what_is_allowed_is_taken() -> None:
    isolation = {
        "user": "1000:1000",
        "capabilities": ["NET_RAW", "SYS_PTRACE"],
        "devices": ["/dev/dri/card0"],
        "host_folders": [{"path": "/srv/models", "target": "/models"}],
    }
    limits = {"shm": "1GiB", "disk": "20GiB", "tmpfs": {"/tmp": "1MiB"}, "ulimits": {"core": 0}}
    assert complaints({"resources": {"memory": "6MiB", "gpu": 2}, "limits": limits, "isolation": isolation}) == []


def test_there_is_a_build_with_all_of_these_right() -> None:
    build = {
        "dockerfile": "docker/web",
        "context": "web",
        "tags": ["registry.example/web:1"],
        "push": True,
        "ssh": {"keys": {"web": KEY}, "agent": True},
        "extra_hosts": {"db.internal": "10.0.0.1", "six": "fd00::1"},
        "cache_from": ["registry.example/web:main"],
        "cache_to": "inline",
    }
    assert complaints({"build": build}) == []
