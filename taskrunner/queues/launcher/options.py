"""The table `[queue.launcher]`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs
from attrs.validators import deep_iterable, deep_mapping, ge, le, matches_re, optional

from taskrunner.errors import Complaint
from taskrunner.interfaces.source import OVER_NETWORK
from taskrunner.limits import REPOSITORY_HINT, REPOSITORY_PATTERN
from taskrunner.model import MAX_RUN_TIME, Secret
from taskrunner.queues.listening import ListenOptions

_PATTERNS = deep_iterable(matches_re(REPOSITORY_PATTERN))


@attrs.frozen
class LogUpload:
    """Where the log of the build goes."""

    url: Secret
    """A signed URL, to which the log is PUT."""
    headers: Mapping[str, Secret] = attrs.field(
        factory=dict,
        validator=deep_mapping(matches_re(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")),
        metadata={"hint": "write the name of an HTTP header"},
    )
    """Headers that the URL was signed with."""


@attrs.frozen
class LauncherOptions:
    """The build of this worker, and what its launcher may do."""

    listen: ListenOptions = attrs.field(factory=ListenOptions)
    development: bool = False
    """Lets in launchers that do not know the name of this machine."""
    platform: str = "process"
    """What runs the steps: `process`, `docker`, or another platform that the worker has."""
    image: str = ""
    """The image in which the steps run, for `docker`. It has `/bin/sh`, and `/bin/bash` for steps without a `shell`."""
    log_upload: LogUpload | None = attrs.field(
        default=None, validator=optional(attrs.validators.instance_of(LogUpload))
    )
    """Without it, the log is kept in the home and in the store only."""
    repositories: tuple[str, ...] = attrs.field(
        default=OVER_NETWORK, validator=_PATTERNS, metadata={"hint": REPOSITORY_HINT}
    )
    """The repositories that a job may name, among those that `[source]` allows to all tasks: patterns as there."""
    archives: tuple[str, ...] = attrs.field(
        default=OVER_NETWORK, validator=_PATTERNS, metadata={"hint": REPOSITORY_HINT}
    )
    """The archives that a job may name: the same patterns. A path of this machine must be in `[source]` `archives`,
    too."""
    max_run_time: int = attrs.field(default=24 * 3600, validator=[ge(1), le(MAX_RUN_TIME)], metadata={"unit": "s"})
    """Seconds for a build and the fetch of its source. The launcher has a limit of its own, and aborts."""
    close_timeout: int = attrs.field(default=3600, validator=[ge(1), le(MAX_RUN_TIME)], metadata={"unit": "s"})
    """Seconds after the end of the build in which its launcher says `close`; then the worker stops by itself."""


def option_complaints(options: LauncherOptions) -> Iterator[Complaint]:
    """What the decoder cannot see."""
    if options.platform == "docker" and not options.image:
        yield Complaint("image", "is missing", "name the image in which the steps run")
    if options.platform != "docker" and options.image:
        yield Complaint("image", f"means nothing to the platform {options.platform}", 'write platform = "docker"')
