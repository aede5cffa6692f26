"""Fields of other workers, and of older docker-workers: what their authors are told in place of "not known"."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from taskrunner.errors import Complaint
from taskrunner.schema.complaints import UNKNOWN_KEY

_GENERIC = "is a field of generic-worker, and this worker takes payloads of docker-worker"
_GENERIC_FEATURE = "is a feature of generic-worker, and this worker takes payloads of docker-worker"
_OLD = "is a feature of older docker-workers, which this worker does not have"
_OWN_LOG = "leave it out: each run has its log, live too if the worker is set up for that"

_FIELDS: Mapping[str, tuple[str, str]] = {
    "mounts": (_GENERIC, "use `cache` for folders that outlive the task, and download the rest in the command"),
    "osGroups": (_GENERIC, "set user and groups in the image, or by `su` in the command"),
    "logs": (_GENERIC, "write the name of the live log as `payload.log`"),
    "rdpInfo": (_GENERIC, "leave it out"),
    "taskclusterProxyInterface": (_GENERIC, "leave it out: the proxy is at $TASKCLUSTER_PROXY_URL"),
    "devices": (UNKNOWN_KEY, "write it as payload.capabilities.devices"),
    "privileged": (UNKNOWN_KEY, "write it as payload.capabilities.privileged"),
    "encryptedEnv": (
        "is a field of older docker-workers, and no worker can read it any more",
        "get the values from the secrets service through features.taskclusterProxy",
    ),
    "features.liveLog": (_GENERIC_FEATURE, _OWN_LOG),
    "features.backingLog": (_GENERIC_FEATURE, _OWN_LOG),
    "features.resourceMonitor": (_GENERIC_FEATURE, "leave it out"),
    "features.runAsAdministrator": (_GENERIC_FEATURE, "leave it out: the image says which user runs the command"),
    "features.runTaskAsCurrentUser": (_GENERIC_FEATURE, "leave it out: the image says which user runs the command"),
    "features.hideCmdWindow": (_GENERIC_FEATURE, "leave it out"),
    "features.loopbackVideo": (_GENERIC_FEATURE, "leave it out, or use a worker type that has it"),
    "features.loopbackAudio": (_GENERIC_FEATURE, "leave it out, or use a worker type that has it"),
    "features.relengAPIProxy": (_OLD, "leave it out"),
    "features.balrogVPNProxy": (_OLD, "leave it out"),
    "features.balrogStageVPNProxy": (_OLD, "leave it out"),
}

_OF_ARTIFACT: Mapping[str, tuple[str, str]] = {
    "contentType": (_GENERIC, "leave it out: the extension of the name decides"),
    "contentEncoding": (_GENERIC, "leave it out: files are uploaded as they are"),
    "optional": (_GENERIC, "leave it out: a missing artifact fails no task here"),
    "name": (_GENERIC, "write it in front: {name: {type, path}}"),
}


def explained(complaints: Sequence[Complaint], payload: object) -> list[Complaint]:
    """The complaints of the decoder about a payload, with more help where the field is one of another worker."""
    told = [_explained(complaint) for complaint in complaints]
    command = payload.get("command") if isinstance(payload, Mapping) else None
    if not isinstance(command, list) or not any(isinstance(item, list) for item in command):
        return told
    lists = Complaint(
        "payload.command",
        "is a list of commands, as generic-worker takes it, and this worker takes one command, as docker-worker does",
        'write one list of texts, such as ["sh", "-c", "make && make test"]',
    )
    return [lists, *(each for each in told if not each.path.startswith("payload.command["))]


def _explained(complaint: Complaint) -> Complaint:
    field = complaint.path.removeprefix("payload.")
    if field == "artifacts" and "got a list" in complaint.problem:
        problem = "is a list, as generic-worker takes it, and this worker takes a table by name, as docker-worker does"
        return Complaint(complaint.path, problem, "write {name: {type, path, expires}}")
    if complaint.problem != UNKNOWN_KEY:
        return complaint
    table = _OF_ARTIFACT if re.match(r"artifacts[.\[]", field) else _FIELDS
    name = field.rpartition(".")[2] if table is _OF_ARTIFACT else field
    problem, fix = table.get(name, (complaint.problem, complaint.fix))
    return attrs.evolve(complaint, problem=problem, fix=fix)
