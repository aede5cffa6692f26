"""Payloads as their authors write them: what becomes of right ones, and what each wrong one is told, in their words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.queues.taskcluster.docker_worker.translation import Translation, translate
from taskrunner.queues.taskcluster.options import TaskQueueAddress
from taskrunner.queues.taskcluster.service.answers import ClaimedRun, TakenLease
from taskrunner.queues.taskcluster.service.credentials import Credentials
from taskrunner.schema.check import check_task
from taskrunner_docker import DockerOptions, DockerPayload, DockerPlatform
from taskrunner_docker.isolation import Allowed
from taskrunner_docker.payload import refused_complaints

ROOT = "https://tc.example"
NEW_YEAR = "2030-01-01T00:00:00Z"
LEASE = TakenLease(datetime(2030, 1, 1, tzinfo=UTC), Credentials("claim", "secret"))
SMALL = {"image": "alpine:3", "maxRunTime": 60}
EVERYTHING = {
    "image": {"type": "docker-image", "name": "registry.example/team/app:1"},
    "command": ["sh", "-c", "make"], "env": {"CI": "1", "TASK_GROUP_ID": "mine"}, "maxRunTime": 3600,
    "cache": {"web-npm": "/root/.npm"},
    "artifacts": {"public/out": {"type": "directory", "path": "/work/out", "expires": NEW_YEAR}},
    "features": {"taskclusterProxy": True, "localLiveLog": False, "dind": False},
    "capabilities": {"privileged": False, "devices": {"kvm": False}},
    "onExitStatus": {"retry": [75], "purgeCaches": [75, 9]}, "log": "public/logs/build.log.txt",
    "supersederUrl": "https://superseder.example",
}  # fmt: skip


def translated(payload: Any, scopes: tuple[str, ...] = (), **task: Any) -> Translation:
    definition = {"payload": payload, "taskGroupId": "G1", "deadline": NEW_YEAR, "metadata": {"name": "build"}, **task}
    return translate(ClaimedRun("T1", 0, LEASE, definition), TaskQueueAddress(ROOT, "proj-web/linux"), scopes)


def complaints(payload: Any, **task: Any) -> list[str]:
    """All that the author is told, as the worker finds it."""
    translation = translated(payload, **task)
    found: tuple[Complaint, ...] = ()
    try:
        check_task({**translation.document, "id": "T1"}, {"docker": DockerPlatform})
    except MalformedPayload as error:
        found = error.complaints
    return [str(complaint) for complaint in translation.in_authors_words(found)]


def test_every_field_has_its_place() -> None:
    translation = translated(EVERYTHING, scopes=("docker-worker:cache:web-*",))
    assert translation.complaints == ()
    assert translation.document == {
        "platform": "docker", "name": "build", "deadline": NEW_YEAR, "image": "registry.example/team/app:1",
        "command": ["sh", "-c", "make"], "max_run_time": 3600,
        "env": {
            "CI": "1", "TASK_GROUP_ID": "G1", "TASKCLUSTER_ROOT_URL": ROOT,
            "TASKCLUSTER_PROXY_URL": "http://taskcluster",
        },
        "caches": [{"name": "web-npm", "path": "/root/.npm"}],
        "artifacts": [{"name": "public/out", "path": "/work/out", "optional": True}],
        "on_exit_status": {"retry": [75], "purge_caches": [75, 9]},
        "isolation": {
            "new_privileges": True,
            "capabilities": ["AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP", "SETPCAP", "SYS_CHROOT"],
        },
    }  # fmt: skip
    task, payload = check_task({**translation.document, "id": "T1"}, {"docker": DockerPlatform})
    assert (task.max_run_time, payload.image) == (3600, "registry.example/team/app:1")  # type: ignore[attr-defined]


def test_the_smallest_payload_runs_the_image() -> None:
    assert complaints(SMALL) == []
    assert "TASKCLUSTER_PROXY_URL" not in translated(SMALL).document["env"]  # type: ignore[operator]


def with_(**more: Any) -> dict[str, Any]:
    return {**SMALL, **more}


def artifact(**more: Any) -> dict[str, Any]:
    return with_(artifacts={"public/a": {"type": "file", "path": "/a", **more}})


GENERIC_FEATURES = (
    "liveLog", "backingLog", "resourceMonitor", "runAsAdministrator", "runTaskAsCurrentUser", "hideCmdWindow",
)  # fmt: skip
GENERIC = {
    "command": [["/bin/bash", "-c", "make"], ["make", "test"]], "env": {"A": "1"}, "maxRunTime": 3600,
    "artifacts": [{"type": "file", "path": "a.txt", "name": "public/a", "contentType": "text/plain"}],
    "mounts": [{"cacheName": "npm", "directory": "npm"}], "osGroups": ["docker"], "rdpInfo": "login/rdp.json",
    "logs": {"live": "public/live.log", "backing": "public/backing.log"}, "onExitStatus": {"retry": [1]},
    "taskclusterProxyInterface": "docker-bridge", "supersederUrl": "https://superseder.example",
    "features": {**dict.fromkeys(GENERIC_FEATURES, True), "taskclusterProxy": True},
}  # fmt: skip
CASES: list[tuple[str, Any, list[str]]] = [
    ("no payload", None, ["payload: expected a table"]),
    ("a list", [], ["payload: expected a table"]),
    ("a text", "run it", ["payload: expected a table"]),
    ("nothing in it", {}, ["payload.image: is missing", "payload.maxRunTime: is missing"]),
    (
        "two mistakes",
        {"maxRunTime": "60"},
        ["payload.image: is missing", "payload.maxRunTime: expected a whole number"],
    ),
    ("no image", {"maxRunTime": 60}, ["payload.image: is missing"]),
    ("an image of null", with_(image=None), ["payload.image: is neither a name nor an object"]),
    ("an image of a number", with_(image=3), ["payload.image: is neither a name nor an object"]),
    ("an empty image", with_(image=""), ["payload.image: is missing"]),
    ("a bad name", with_(image="Not An Image"), ["payload.image: 'Not An Image' is no image name"]),
    (
        "a bad name in an object",
        with_(image={"type": "docker-image", "name": "a b"}),
        ["payload.image.name: 'a b' is no"],
    ),
    ("an image without a type", with_(image={"name": "alpine"}), ["payload.image.type: is not one of the choices"]),
    ("an unknown type", with_(image={"type": "docker-imag"}), ["payload.image.type: is not one of the choices"]),
    ("a docker-image without name", with_(image={"type": "docker-image"}), ["payload.image.name: is missing"]),
    (
        "a docker-image with more",
        with_(image={"type": "docker-image", "name": "a", "tag": "1"}),
        ["payload.image.tag: is"],
    ),
    ("a task-image", with_(image={"type": "task-image", "taskId": "T0", "path": "public/image.tar"}), []),
    ("an indexed-image", with_(image={"type": "indexed-image", "namespace": "a.b", "path": "public/image.tar"}), []),
    (
        "a task-image without path and task",
        with_(image={"type": "task-image"}),
        ["payload.image.path: is missing", "payload.image.taskId: is missing"],
    ),
    (
        "a task-image with a namespace",
        with_(image={"type": "task-image", "taskId": "T0", "path": "public/a", "namespace": "a.b"}),
        ["payload.image.namespace: is not known here"],
    ),
    (
        "an indexed-image with a bad name and path",
        with_(image={"type": "indexed-image", "namespace": "a b", "path": "/image.tar"}),
        ["payload.image.namespace: ", "payload.image.path: "],
    ),
    (
        "an image of a task without an id",
        with_(image={"type": "task-image", "taskId": "", "path": "a"}),
        [
            "payload.image.taskId: is not of the form it needs (write the id of a task)",
        ],
    ),
    ("no time", {"image": "alpine"}, ["payload.maxRunTime: is missing"]),
    ("a time of zero", with_(maxRunTime=0), ["payload.maxRunTime: "]),
    ("a negative time", with_(maxRunTime=-1), ["payload.maxRunTime: "]),
    ("half a second", with_(maxRunTime=1.5), ["payload.maxRunTime: expected a whole number"]),
    ("a time that is true", with_(maxRunTime=True), ["payload.maxRunTime: expected a whole number"]),
    ("a year", with_(maxRunTime=366 * 86400), ["payload.maxRunTime: "]),
    ("a command of one text", with_(command="make all"), ["payload.command: expected a list"]),
    ("a command with a number", with_(command=["sleep", 1]), ["payload.command[1]: expected a text"]),
    ("a command with a zero byte", with_(command=["a\0b"]), ["payload.command: holds a zero byte"]),
    (
        "a command of lists",
        with_(command=[["make"]]),
        ["payload.command: is a list of commands, as generic-worker takes it"],
    ),
    ("an env of a list", with_(env=["A=1"]), ["payload.env: expected a table"]),
    ("a value that is a number", with_(env={"A": 1}), ["payload.env.A: expected a text"]),
    ("a name with a space", with_(env={"MY VAR": "1"}), ['payload.env["MY VAR"]: ']),
    ("a value with a zero byte", with_(env={"A": "a\0"}), ["payload.env.A: "]),
    (
        "a cache without a scope",
        with_(cache={"npm": "/npm"}),
        ["payload.cache.npm: the task lacks the scope docker-worker:cache:npm"],
    ),
    ("a cache at a relative path", with_(cache={"web": "npm"}), ["payload.cache.web: is no absolute path"]),
    ("a cache at the root", with_(cache={"web": "/a/../.."}), ["payload.cache.web: "]),
    ("a cache with a bad name", with_(cache={"web/x": "/x"}), ['payload.cache["web/x"]: ']),
    ("caches of a list", with_(cache=[]), ["payload.cache: expected a table"]),
    (
        "two caches at one path",
        with_(cache={"web": "/x", "web-2": "/x/"}),
        ["payload.cache: /x is the place of two caches"],
    ),
    ("artifacts of a list", with_(artifacts=[]), ["payload.artifacts: is a list, as generic-worker takes it"]),
    ("an artifact of a text", with_(artifacts={"a": "/a"}), ["payload.artifacts.a: expected a table"]),
    ("an artifact without path", with_(artifacts={"a": {"type": "file"}}), ["payload.artifacts.a.path: is missing"]),
    ("an artifact of type volume", artifact(type="volume"), ['payload.artifacts["public/a"].type: ']),
    ("an artifact at a relative path", artifact(path="a"), ['payload.artifacts["public/a"].path: is no absolute path']),
    ("an artifact above the root", artifact(path="/../a"), ['payload.artifacts["public/a"].path: ']),
    ("an artifact with a pattern", artifact(path="/*.log"), ['payload.artifacts["public/a"].path: has one of * ? [']),
    (
        "an artifact until never",
        artifact(expires="never"),
        ['payload.artifacts["public/a"].expires: is no time of day'],
    ),
    (
        "an artifact until a local time",
        artifact(expires="2030-01-01T00:00:00"),
        ['payload.artifacts["public/a"].expires: '],
    ),
    (
        "an artifact with a bad name",
        with_(artifacts={"../a": {"type": "file", "path": "/a"}}),
        ['payload.artifacts["../a"]: '],
    ),
    (
        "an artifact in place of the log",
        with_(artifacts={"public/logs/live_backing.log": {"type": "file", "path": "/a"}}),
        ['payload.artifacts["public/logs/live_backing.log"]: is the name of the task\'s log'],
    ),
    (
        "an artifact by a reserved name",
        with_(artifacts={"log": {"type": "file", "path": "/a"}}),
        ["payload.artifacts.log: is a name"],
    ),
    (
        "an artifact with more",
        artifact(contentType="text/plain"),
        ['payload.artifacts["public/a"].contentType: is a field of generic-worker'],
    ),
    (
        "the feature interactive",
        with_(features={"interactive": True}),
        ["payload.features.interactive: this worker does not have"],
    ),
    ("the feature dind", with_(features={"dind": True}), ["payload.features.dind: this worker does not have"]),
    (
        "the feature chainOfTrust",
        with_(features={"chainOfTrust": True}),
        ["payload.features.chainOfTrust: this worker does not have"],
    ),
    (
        "an unknown feature",
        with_(features={"taskclusterproxy": True}),
        ["payload.features.taskclusterproxy: is not known here"],
    ),
    ("a feature of a text", with_(features={"dind": "no"}), ["payload.features.dind: expected true or false"]),
    (
        "privileged",
        with_(capabilities={"privileged": True}),
        ["payload.capabilities.privileged: the task lacks the scope docker-worker:capability:privileged"],
    ),
    (
        "a device",
        with_(capabilities={"devices": {"kvm": True}}),
        ["payload.capabilities.devices.kvm: the task lacks the scope docker-worker:capability:device:kvm"],
    ),
    (
        "a device that no container gets",
        with_(capabilities={"disableSeccomp": True, "devices": {"loopbackVideo": True}}),
        [
            "payload.capabilities.disableSeccomp: this worker gives no container this capability",
            "payload.capabilities.devices.loopbackVideo: this worker gives no container this capability",
        ],
    ),
    (
        "the feature allowPtrace",
        with_(features={"allowPtrace": True}),
        ["payload.features.allowPtrace: the task lacks the scope docker-worker:feature:allowPtrace"],
    ),
    (
        "an unknown device",
        with_(capabilities={"devices": {"gpu": True}}),
        ["payload.capabilities.devices.gpu: is not known here"],
    ),
    ("a retry of success", with_(onExitStatus={"retry": [0]}), ["payload.onExitStatus.retry[0]: "]),
    ("a retry beyond a byte", with_(onExitStatus={"retry": [256]}), ["payload.onExitStatus.retry[0]: "]),
    (
        "a retry of a text",
        with_(onExitStatus={"retry": ["75"]}),
        ["payload.onExitStatus.retry[0]: expected a whole number"],
    ),
    ("a retry of one number", with_(onExitStatus={"retry": 75}), ["payload.onExitStatus.retry: expected a list"]),
    ("a purge below zero", with_(onExitStatus={"purgeCaches": [-1]}), ["payload.onExitStatus.purgeCaches[0]: "]),
    ("a log at a bad name", with_(log="/live.log"), ["payload.log: "]),
    ("encrypted variables", with_(encryptedEnv=["abc"]), ["payload.encryptedEnv: is a field of older docker-workers"]),
    (
        "a device at the top",
        with_(devices={"kvm": True}),
        ["payload.devices: is not known here (write it as payload.capabilities.devices)"],
    ),
    (
        "a feature of old",
        with_(features={"relengAPIProxy": True}),
        ["payload.features.relengAPIProxy: is a feature of older docker-workers"],
    ),
    (
        "a payload of generic-worker",
        GENERIC,
        [
            "payload.image: is missing",
            "payload.command: is a list of commands",
            "payload.artifacts: is a list",
            "payload.mounts: is a field of generic-worker",
            "payload.osGroups: is a field of generic-worker",
            "payload.logs: is a field of generic-worker",
            "payload.rdpInfo: is a field of generic-worker",
            "payload.taskclusterProxyInterface: is a field of generic-worker",
            *(f"payload.features.{name}: is a feature of generic-worker" for name in GENERIC_FEATURES),
        ],
    ),
    ("our own word", with_(max_run_time=60), ["payload.max_run_time: is not known here (did you mean maxRunTime?)"]),
    (
        "four mistakes in four places",
        {**SMALL, "image": "A B", "features": {"dind": True}, "cache": {"npm": "/n"}, "env": {"1": "x"}},
        ["payload.features.dind: ", "payload.cache.npm: ", "payload.env.1: ", "payload.image: "],
    ),
]


@pytest.mark.parametrize(("payload", "begins"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_an_author_is_told(payload: Any, begins: list[str]) -> None:
    said = complaints(payload, scopes=("docker-worker:cache:web*",))
    assert len(said) == len(begins), said
    for text in begins:
        assert any(each.startswith(text) for each in said), said


@pytest.mark.parametrize(
    ("more", "scope", "is_enough"),
    [
        ({"capabilities": {"privileged": True}}, "docker-worker:capability:privileged", True),
        ({"capabilities": {"privileged": True}}, "docker-worker:capability:privileged:proj-web/linux", True),
        ({"capabilities": {"privileged": True}}, "docker-worker:capability:privileged:proj-web/*", True),
        ({"capabilities": {"privileged": True}}, "docker-worker:capability:privileged:proj-web/other", False),
        ({"capabilities": {"devices": {"kvm": True}}}, "docker-worker:capability:device:kvm:proj-web/linux", True),
        ({"features": {"allowPtrace": True}}, "docker-worker:feature:allowPtrace:proj-web/linux", False),
    ],
)
def test_a_capability_may_be_granted_for_one_task_queue(more: dict[str, Any], scope: str, *, is_enough: bool) -> None:
    assert (translated(with_(**more), scopes=(scope,)).complaints == ()) is is_enough


BEYOND = ("docker-worker:capability:*", "docker-worker:feature:allowPtrace")
EVERY_DEVICE = {"devices": {"kvm": True, "hostSharedMemory": True}}
ALLOWED: list[tuple[dict[str, Any], Allowed, list[str]]] = [
    ({"capabilities": {"privileged": True}}, Allowed(privileged=True), ["payload.capabilities.privileged"]),
    ({"features": {"allowPtrace": True}}, Allowed(capabilities=("SYS_PTRACE",)), ["payload.features.allowPtrace"]),
    (
        {"capabilities": EVERY_DEVICE},
        Allowed(devices=("/dev/kvm",), host_folders={"/dev/shm": "read-write"}),
        ["payload.capabilities.devices.kvm", "payload.capabilities.devices.hostSharedMemory"],
    ),
    (
        {"capabilities": EVERY_DEVICE},
        Allowed(devices=("/dev/kvm",), host_folders={"/dev/shm": "read-only"}),
        ["payload.capabilities.devices.kvm", "payload.capabilities.devices.hostSharedMemory"],
    ),
    (
        {"capabilities": {"privileged": True}, "features": {"allowPtrace": True}},
        Allowed(privileged=True),
        ["payload.capabilities.privileged"],
    ),
]


@pytest.mark.parametrize(("more", "allowed", "fields"), ALLOWED)
def test_what_reaches_the_machine_is_the_operators_to_allow(
    more: dict[str, Any], allowed: Allowed, fields: list[str]
) -> None:
    translation = translated(with_(**more), scopes=BEYOND)
    assert translation.complaints == ()
    _, payload = check_task({**translation.document, "id": "T1"}, {"docker": DockerPlatform})
    assert isinstance(payload, DockerPayload)
    found = translation.in_authors_words(list(refused_complaints(payload, DockerOptions())))
    assert [complaint.path for complaint in found] == fields
    assert all("let the operator" in complaint.fix for complaint in found)
    left = translation.in_authors_words(list(refused_complaints(payload, DockerOptions(allow=allowed))))
    read_only = allowed.host_folders.get("/dev/shm") == "read-only"
    assert [complaint.path for complaint in left] == (fields[-1:] if read_only else [])
