"""The `[docker]` table of the worker's configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

import attrs

from taskrunner.byte_counts import ByteCount
from taskrunner.errors import Complaint
from taskrunner.model import Secret
from taskrunner_docker.isolation import Allowed
from taskrunner_docker.limits import LimitOptions, limit_option_complaints

_PLACE = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?(?:/[a-z0-9._-]+)*")

PullPolicy = Literal["always", "if-not-present", "never"]


@attrs.frozen
class EcrOptions:
    """A registry of Amazon: the password comes from AWS, by the usual chain of credentials."""

    region: str = attrs.field(
        default="", metadata={"doc": "The registry's AWS region: eu-west-1. By default that of AWS_REGION."}
    )
    endpoint: str = attrs.field(default="", metadata={"doc": "URL of another ECR API than Amazon's own."})
    create: bool = attrs.field(
        default=False, metadata={"doc": "Make the repository of a pushed image, if it is missing."}
    )


@attrs.frozen
class RegistryOptions:
    """The login to one registry: `username` and `password`, or `ecr`."""

    username: str = attrs.field(default="", metadata={"doc": "The name to log in with."})
    password: Secret | None = attrs.field(default=None, metadata={"doc": "The password, or {secret = its name}."})
    ecr: EcrOptions | None = attrs.field(default=None, metadata={"doc": "Ask Amazon for the password."})


@attrs.frozen
class DockerOptions:
    """Docker's socket, the logins to registries, and what builds may have."""

    host: str = attrs.field(
        default="",
        metadata={
            "doc": "Docker's socket, as in DOCKER_HOST: unix:///var/run/docker.sock. By default it is searched for."
        },
    )
    registries: Mapping[str, RegistryOptions] = attrs.field(
        factory=dict,
        metadata={
            "doc": "By host and port, as it stands in front of an image name; Docker Hub is docker.io. An entry "
            "with `ecr` may have any name, by which tasks push to the registry of the worker's AWS account."
        },
    )
    ssh_agent: str = attrs.field(
        default="",
        metadata={
            "doc": "The socket of an SSH agent that any build may sign with, by RUN --mount=type=ssh: /run/ci/agent. "
            "By default none."
        },
    )
    mirrors: Mapping[str, tuple[str, ...]] = attrs.field(
        factory=dict,
        metadata={
            "doc": "By registry: the hosts, with a path or without, that are asked first for its images. An image "
            "keeps its own name."
        },
    )
    pull_policy: tuple[PullPolicy, ...] = attrs.field(
        default=("if-not-present",),
        validator=attrs.validators.min_len(1),
        metadata={"doc": "always, if-not-present, never: tried in this order, until one has the image."},
    )
    allowed_pull_policies: tuple[PullPolicy, ...] = attrs.field(
        default=(), metadata={"doc": "Those that a task may choose; by default those of `pull_policy`."}
    )
    image_cache: ByteCount | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(attrs.validators.ge(0)),
        metadata={
            "doc": "Bytes of the images that workers of this home have pulled: beyond it, those that nothing uses are "
            "removed, the least recently used first. By default any number."
        },
    )
    build_cache: ByteCount | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(attrs.validators.ge(0)),
        metadata={"doc": "Bytes of BuildKit's cache, which is pruned to it after a build. By default any number."},
    )
    min_free_disk: ByteCount = attrs.field(
        default=256 << 20,
        validator=attrs.validators.ge(0),
        metadata={
            "doc": "Bytes on Docker's disk: with less free, unused images of this home are removed, and while that is "
            "not enough, no task is claimed."
        },
    )
    host_network: bool = attrs.field(
        default=False,
        metadata={
            "doc": 'Whether tasks may have `network = "host"`: they reach all that listens on this machine, and may '
            "listen on its ports."
        },
    )
    local_tags: tuple[str, ...] = attrs.field(
        default=(),
        metadata={
            "doc": "The names that builds without `push` may give in the local Docker, with * and ?: team/*, app:dev. "
            "Without a tag, any tag. By default none: everybody on the machine runs what has a name."
        },
    )
    limits: LimitOptions = attrs.field(
        factory=LimitOptions, metadata={"doc": "Defaults and maxima of what containers may use."}
    )
    allow: Allowed = attrs.field(factory=Allowed, metadata={"doc": "What containers may reach of this machine."})


def complaints(options: DockerOptions) -> Iterator[Complaint]:
    """The mistakes that types cannot find."""
    if options.ssh_agent and not options.ssh_agent.startswith("/"):
        yield Complaint("ssh_agent", "is no absolute path", "give the agent's socket, as in SSH_AUTH_SOCK")
    yield from limit_option_complaints(options.limits)
    for host, registry in options.registries.items():
        path = f'registries."{host}"'
        if "/" in host:
            yield Complaint(path, "is no registry's name", "give host and port, as in front of an image: no https://")
        if registry.ecr and (registry.username or registry.password):
            yield Complaint(path, "has both `ecr` and a username or password", "remove one of them")
        if not registry.ecr and not (registry.username and registry.password):
            yield Complaint(path, "has no login", "give `username` and `password`, or `ecr = {region = ...}`")
    for host, mirrors in options.mirrors.items():
        for number, mirror in enumerate(mirrors):
            if not _is_place(mirror):
                path = f'mirrors."{host}"[{number}]'
                yield Complaint(path, "is no place of images", "give host and port, and perhaps a path: no https://")


def _is_place(mirror: str) -> bool:
    """Whether an image's name can begin with it: a host with a dot or a port."""
    host = mirror.partition("/")[0]
    return bool(_PLACE.fullmatch(mirror)) and ("." in host or ":" in host or host == "localhost")
