"""The payload of a task: an image to run, or one to build."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import attrs

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.steps.specification import StepSpec, step_complaints
from taskrunner_docker.registry.references import Reference


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
    build_args: Mapping[str, str] = attrs.field(
        factory=dict, metadata={"doc": "Values for the ARGs of the Dockerfile. Anyone who has the image can read them."}
    )
    target: str = attrs.field(default="", metadata={"doc": "The stage to build; by default the last one."})
    labels: Mapping[str, str] = attrs.field(factory=dict, metadata={"doc": "Labels for the image."})
    tags: tuple[str, ...] = attrs.field(
        default=(), metadata={"doc": "Names for the image, with the registry in front: registry.example/team/app:1.0."}
    )
    push: bool = attrs.field(
        default=False,
        metadata={
            "doc": "Push the tags to their registries, and remove them here. Without, they stay in the local Docker."
        },
    )


@attrs.frozen
class DockerPayload:
    """Either `image`, a container to run, or `build`, an image to make."""

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
    if not payload.image and not payload.build:
        yield Complaint("image", "is missing", "name the image to run, or write a `build`")


def _run_complaints(payload: DockerPayload) -> Iterator[Complaint]:
    if payload.build:
        for field in ("command", "working_dir", "steps"):
            if getattr(payload, field):
                yield Complaint(field, "means nothing to a build", "write it into the Dockerfile")
    if payload.steps and payload.command:
        yield Complaint("command", "stands beside `steps`", "leave one of them out")
    if not payload.build:
        yield from step_complaints(payload.steps)
    if payload.image:
        yield from _name_complaints("image", payload.image)
    if any("\0" in word for word in payload.command):
        yield Complaint("command", "holds a zero byte", "no program takes one in its arguments")
    if payload.working_dir and not payload.working_dir.startswith("/"):
        yield Complaint("working_dir", f"{payload.working_dir!r} is relative", "write the full path in the container")


def _build_complaints(build: BuildSpec) -> Iterator[Complaint]:
    for field in ("dockerfile", "context"):
        yield from _inner_path_complaints(f"build.{field}", getattr(build, field))
    if build.push and not build.tags:
        yield Complaint("build.tags", "is empty", "to push, name the image: registry.example/team/app:1.0")
    for number, tag in enumerate(build.tags):
        yield from _tag_complaints(f"build.tags[{number}]", tag)


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
    else:
        yield from _name_complaints(where, tag)
