"""The `[docker]` section of the worker's configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from taskrunner.errors import Complaint
from taskrunner.model import Secret


@attrs.frozen
class EcrOptions:
    """A registry of Amazon: the password comes from AWS, by the usual chain of credentials."""

    region: str = attrs.field(metadata={"doc": "The registry's AWS region: eu-west-1."})
    endpoint: str = attrs.field(default="", metadata={"doc": "URL of another ECR API than Amazon's own."})


@attrs.frozen
class RegistryOptions:
    """The login to one registry: `username` and `password`, or `ecr`."""

    username: str = attrs.field(default="", metadata={"doc": "The name to log in with."})
    password: Secret | None = attrs.field(default=None, metadata={"doc": "The password, or {secret = its name}."})
    ecr: EcrOptions | None = attrs.field(default=None, metadata={"doc": "Ask Amazon for the password."})


@attrs.frozen
class DockerOptions:
    """Docker's socket, and the logins to registries."""

    host: str = attrs.field(
        default="",
        metadata={
            "doc": "Docker's socket, as in DOCKER_HOST: unix:///var/run/docker.sock. By default it is searched for."
        },
    )
    registries: Mapping[str, RegistryOptions] = attrs.field(
        factory=dict,
        metadata={"doc": "By host and port, as it stands in front of an image name; Docker Hub is docker.io."},
    )


def complaints(options: DockerOptions) -> Iterator[Complaint]:
    """The mistakes that types cannot find."""
    for host, registry in options.registries.items():
        path = f'registries."{host}"'
        if "/" in host:
            yield Complaint(path, "is no registry's name", "give host and port, as in front of an image: no https://")
        if registry.ecr and (registry.username or registry.password):
            yield Complaint(path, "has both `ecr` and a username or password", "remove one of them")
        if not registry.ecr and not (registry.username and registry.password):
            yield Complaint(path, "has no login", "give `username` and `password`, or `ecr = {region = ...}`")
