"""The payload of a task: an image to run, or one to build."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Literal

import attrs

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.steps.specification import StepSpec, step_complaints
from taskrunner_docker.build_fields import cache, hosts, ssh
from taskrunner_docker.build_fields.limits import BuildLimits
from taskrunner_docker.build_fields.ssh import BuildSsh
from taskrunner_docker.image_file import ImageFile, image_file_complaints
from taskrunner_docker.isolation import ContainerIsolation, isolation_complaints, refusals
from taskrunner_docker.limits import ContainerLimits, limit_complaints, tmpfs_complaints
from taskrunner_docker.options import DockerOptions, PullPolicy
from taskrunner_docker.registry.references import Reference, is_registry

RESERVED = "taskrunner."
"""How the keys of the labels of a worker's containers begin. An image with one of them would be shown as a worker's."""
BUILDS = "taskrunner-build"
"""How the names of images begin that are being built."""


Network = Literal["none", "isolated", "bridge", "host"]
"""What a task reaches: nothing; its services alone; also what is outside; the machine itself."""


@attrs.frozen
class BuildSpec:
    """An image to be built from the source of the task, and perhaps pushed.

    The secrets of the task are there for `RUN --mount=type=secret,id=NAME`, under the name of their environment
    variable. They never become build arguments, which everyone can read in an image. A build does not get the task's
    plain environment: the values for the Dockerfile stand in `build_args`.
    """

    dockerfile: str = attrs.field(default="Dockerfile", metadata={"doc": "Path of the Dockerfile, below the context."})
    context: str = attrs.field(
        default=".", metadata={"doc": "The folder of the repository that is the build's context."}
    )
    keep_git: bool = attrs.field(
        default=False,
        metadata={"doc": "Whether the context has a `.git` with the commit, in which `git status` is clean."},
    )
    build_args: Mapping[str, str] = attrs.field(
        factory=dict, metadata={"doc": "Values for the ARGs of the Dockerfile. Anyone who has the image can read them."}
    )
    target: str = attrs.field(default="", metadata={"doc": "The stage to build; by default the last one."})
    labels: Mapping[str, str] = attrs.field(
        factory=dict,
        metadata={
            "doc": "Labels for the image. Without its own, it gets org.opencontainers.image.source, revision, created "
            "(the time of the commit) and version (the first tag but `latest`)."
        },
    )
    ssh: BuildSsh | None = attrs.field(default=None, metadata={"doc": "Keys for RUN --mount=type=ssh."})
    limits: BuildLimits | None = attrs.field(
        default=None,
        metadata={
            "doc": "What each step may use of the machine. Such a build is made without BuildKit, which takes no "
            "limits from Docker: no `secrets`, `ssh`, `cache_to` and RUN --mount."
        },
    )
    extra_hosts: Mapping[str, str] = attrs.field(
        factory=dict, metadata={"doc": "Further hosts for the commands of the build: names to IP addresses."}
    )
    cache_from: tuple[str, ...] = attrs.field(
        default=(),
        metadata={"doc": "Images whose layers are used again, built with cache_to. A missing one does no harm."},
    )
    cache_to: str = attrs.field(
        default="",
        metadata={"doc": '"inline": the pushed image can be the cache of later builds. Other kinds are refused.'},
    )
    tags: tuple[str, ...] = attrs.field(
        default=(), metadata={"doc": "Names for the image, with the registry in front: registry.example/team/app:1.0."}
    )
    registry: str = attrs.field(
        default="",
        metadata={
            "doc": "Where `push` takes tags that name no registry: host and port, or the name of an `ecr` entry of the "
            "worker's [docker.registries], whose host Amazon tells. By default Docker Hub."
        },
    )
    push: bool = attrs.field(
        default=False,
        metadata={
            "doc": "Push the tags to their registries. Without, they are names in the local Docker, if the worker's "
            "configuration allows these."
        },
    )


@attrs.frozen
class DockerPayload:
    """Either `image` or `image_file`, a container to run, or `build`, an image to make."""

    image: str = attrs.field(default="", metadata={"doc": "The image to run; pulled when it is not there."})
    command: tuple[str, ...] = attrs.field(
        default=(), metadata={"doc": "Program and arguments, one by one; empty for the image's own."}
    )
    working_dir: str = attrs.field(
        default="", metadata={"doc": "Where the command starts, absolute; empty for the image's own."}
    )
    steps: tuple[StepSpec, ...] = attrs.field(
        default=(),
        metadata={"doc": "Instead of `command`: scripts and commands, one after the other."},
    )
    build: BuildSpec | None = attrs.field(default=None, metadata={"doc": "The image to build."})
    image_file: ImageFile | None = attrs.field(
        default=None, metadata={"doc": "Instead of `image`: a file that `docker save` has made."}
    )
    pull_policy: tuple[PullPolicy, ...] = attrs.field(
        default=(),
        metadata={"doc": "always, if-not-present, never: tried in this order; by default as the worker is configured."},
    )
    network: Network = attrs.field(
        default="bridge",
        metadata={
            "doc": "What the task reaches: `none` nothing, `isolated` its services, `bridge` also what is outside. "
            "`host` is the network of the machine itself, if the worker's configuration allows it."
        },
    )
    limits: ContainerLimits = attrs.field(
        factory=ContainerLimits, metadata={"doc": "What the container may use, beside the task's `resources`."}
    )
    isolation: ContainerIsolation = attrs.field(
        factory=ContainerIsolation, metadata={"doc": "What separates the container from the machine."}
    )


def check(payload: DockerPayload) -> None:
    """Checks what types cannot. Raises MalformedPayload with every complaint."""
    complaints = [*_kind_complaints(payload), *_run_complaints(payload)]
    if payload.build is not None:
        complaints += _build_complaints(payload.build)
    if complaints:
        raise MalformedPayload(*complaints)


def _kind_complaints(payload: DockerPayload) -> Iterator[Complaint]:
    if payload.image and payload.build:
        yield Complaint(
            "build", "stands beside `image`", "a task either runs an image or builds one: make it two tasks"
        )
    if payload.image_file and (payload.image or payload.build):
        beside = "image" if payload.image else "build"
        yield Complaint("image_file", f"stands beside `{beside}`", "leave one of them out")
    if not (payload.image or payload.image_file or payload.build):
        yield Complaint("image", "is missing", "name the image to run, or write an `image_file` or a `build`")


def _beside_build(payload: DockerPayload) -> Iterator[Complaint]:
    for field in ("command", "working_dir", "steps"):
        if getattr(payload, field):
            yield Complaint(field, "means nothing to a build", "write it into the Dockerfile")
    for field in ("limits", "isolation", "network"):
        if getattr(payload, field) != getattr(DockerPayload(), field):
            yield Complaint(field, "means nothing to a build", "leave it out")
    if payload.pull_policy:
        yield Complaint("pull_policy", "means nothing to a build", "leave it out: BuildKit looks up each base image")


def _run_complaints(payload: DockerPayload) -> Iterator[Complaint]:
    if payload.build:
        yield from _beside_build(payload)
    yield from isolation_complaints(payload.isolation)
    yield from tmpfs_complaints(payload.limits)
    if payload.steps and payload.command:
        yield Complaint("command", "stands beside `steps`", "leave one of them out")
    if not payload.build:
        yield from step_complaints(payload.steps)
    if payload.image_file:
        yield from image_file_complaints(payload.image_file)
        if payload.pull_policy:
            yield Complaint("pull_policy", "means nothing to an image file", "leave it out")
    if payload.image:
        yield from _name_complaints("image", payload.image)
    if any("\0" in word for word in payload.command):
        yield Complaint("command", "holds a zero byte", "no program takes one in its arguments")
    if payload.working_dir and not payload.working_dir.startswith("/"):
        yield Complaint("working_dir", f"{payload.working_dir!r} is relative", "write the full path in the container")


def _build_complaints(build: BuildSpec) -> Iterator[Complaint]:
    for key in build.labels:
        if key.startswith(RESERVED):
            yield Complaint(f"build.labels[{key!r}]", "is a label of the worker's own containers", "take another name")
    for field in ("dockerfile", "context"):
        yield from _inner_path_complaints(f"build.{field}", getattr(build, field))
    if build.keep_git and PurePosixPath(build.context) != PurePosixPath():
        yield Complaint("build.keep_git", "needs the whole repository as the context", 'leave `context` as "."')
    if build.push and not build.tags:
        yield Complaint("build.tags", "is empty", "to push, name the image: registry.example/team/app:1.0")
    if build.registry and not build.push:
        yield Complaint("build.registry", "has no effect without `push`", "set `push`, or leave it out")
    if build.registry and not is_registry(build.registry):
        yield Complaint("build.registry", f"{build.registry!r} is no registry", "write host and port: registry.example")
    for number, tag in enumerate(build.tags):
        yield from _tag_complaints(f"build.tags[{number}]", tag)
    if build.limits == BuildLimits():
        yield Complaint("build.limits", "names no limit", "write memory, cpus or both, or leave it out")
    yield from ssh.complaints(build.ssh) if build.ssh else ()
    yield from hosts.complaints(build.extra_hosts)
    yield from cache.from_complaints(build.cache_from)
    yield from cache.to_complaints(build.cache_to, push=build.push)


def _inner_path_complaints(where: str, path: str) -> Iterator[Complaint]:
    if not path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        yield Complaint(where, f"{path!r} leaves the repository", "write a relative path without ..")


def _name_complaints(where: str, name: str) -> Iterator[Complaint]:
    try:
        Reference.parse(name)
    except ValueError as error:
        yield Complaint(where, f"{name!r} is no image name: {error}", "write it as registry.example/team/app:1.0")


def _tag_complaints(where: str, tag: str) -> Iterator[Complaint]:
    if "@" in tag:
        yield Complaint(where, f"{tag!r} names a digest", "the digest comes out of the push: give a tag")
        return
    yield from _name_complaints(where, tag)
    if tag.startswith(f"{BUILDS}/"):
        yield Complaint(where, f"{BUILDS} is where the worker keeps images meanwhile", "take another name")


def refused_complaints(payload: DockerPayload, options: DockerOptions) -> Iterator[Complaint]:
    """What the operator does not let a container have."""
    yield from limit_complaints(payload.limits, options.limits)
    yield from refusals(payload.isolation, options.allow)
    if payload.network == "host" and not options.host_network:
        fix = 'take "bridge", or let the operator set [docker] host_network'
        yield Complaint("network", 'this worker does not allow "host"', fix)


def local_tag_complaints(build: BuildSpec, allowed: Sequence[str]) -> Iterator[Complaint]:
    """The names of a build without `push` that the configuration does not allow."""
    for number, tag in enumerate(() if build.push else build.tags):
        if not any(_matches(Reference.parse(tag), pattern) for pattern in allowed):
            fix = "set `push`, leave the name out, or let the operator add it to [docker] local_tags"
            yield Complaint(f"build.tags[{number}]", f"this worker does not give the name {tag!r} in its Docker", fix)


def _matches(name: Reference, pattern: str) -> bool:
    has_tag = ":" in pattern.rpartition("/")[2]
    return fnmatchcase(f"{name.name}:{name.tag or 'latest'}" if has_tag else name.name, pattern)
