"""A build: the request and its outcome."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from taskrunner_docker.ssh import Agent
from taskrunner_git import FileTree

SecretValue = bytes | Callable[[], bytes]
Credentials = Callable[[str], tuple[str, str] | None]
"""Registry host (`registry.example:5000`) to user and password, or None for none. Docker Hub is tried by each of its
names: `docker.io`, `index.docker.io`, `https://index.docker.io/v1/`. Called from a thread of the build, and must
answer within seconds: the daemon ends a session that does not answer for ten."""


def _anonymous(_host: str) -> None:
    return None


@attrs.frozen
class BuildRequest:
    """One image to build."""

    context: FileTree
    dockerfile: str = "Dockerfile"
    """Relative to the root of the context, with `/`. `<dockerfile>.dockerignore` goes before the context's own."""
    tags: Sequence[str] = ()
    """Names for the image. Without any, it has its id only."""
    build_args: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    labels: Mapping[str, str] = attrs.field(factory=dict)
    target: str = ""
    """The stage to build; empty: the last one."""
    extra_hosts: Mapping[str, str] = attrs.field(factory=dict)
    """Names to addresses, for the commands of the build."""
    cache_from: Sequence[str] = ()
    """Images that were built with `inline_cache`: their layers are used where the daemon's own cache has none."""
    inline_cache: bool = False
    """Whether the image gets what another build needs to use it as `cache_from`."""
    secrets: Mapping[str, SecretValue] = attrs.field(factory=dict, repr=False)
    """For `RUN --mount=type=secret,id=…`; a callable is called when the build requests the value."""
    ssh: Mapping[str, Agent] = attrs.field(factory=dict, repr=False)
    """For `RUN --mount=type=ssh,id=…`; the id of a mount without one is `default`."""
    credentials: Credentials = attrs.field(default=_anonymous, repr=False)
    """For base images that are private."""
    shared_key: str = "taskrunner"
    """Builds with the same key share the daemon's copy of their context, so that only changes are sent. One key for
    each repository; builds at the same time do not disturb each other."""
    context_state: str = ""
    """Names the files of `context` with their times and modes: under one shared key, equal states have equal files.
    Empty where that is not known."""


@attrs.frozen
class BuildOutcome:
    """How a build ended. It succeeded exactly when there is an `image_id`."""

    image_id: str | None = None
    """`sha256:…`."""
    failed_step: str = ""
    """The step as the Dockerfile has it, `[base 2/5] RUN make`; empty when none had begun."""
    error: str = ""
    """Why, in one or a few lines; empty after a success."""
    exit_code: int | None = None
    """Of the command that failed, if one did."""
    sent_bytes: int = 0
    """Bytes of the context that were sent; files that the daemon still had are not sent again."""
