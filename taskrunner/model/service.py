"""A service beside a run."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from attrs.validators import deep_iterable, deep_mapping, ge, le, matches_re, min_len

from taskrunner import limits
from taskrunner.amounts import Amounts
from taskrunner.model.document import Secret


@attrs.frozen
class ReadySpec:
    """How a service is known to be ready."""

    port: int = attrs.field(default=0, validator=[ge(0), le(65535)])
    """A TCP port that accepts connections; 0 for none."""
    command: tuple[str, ...] = attrs.field(default=(), validator=deep_iterable(matches_re(r"[^\x00]*")))
    """A command in the service that exits with 0; it is repeated until it does."""


@attrs.frozen
class ServiceSpec:
    """A container beside the run, such as a database."""

    name: str = attrs.field(validator=matches_re(limits.HOST_PATTERN), metadata={"hint": limits.HOST_HINT})
    """The host name by which the run reaches it. Its log is kept with that of the run, under this name."""
    image: str = attrs.field(validator=min_len(1))
    """The image to run; pulled when it is not there."""
    command: tuple[str, ...] = attrs.field(default=(), validator=deep_iterable(matches_re(r"[^\x00]*")))
    """Program and arguments, one by one; empty for the image's own."""
    env: Mapping[str, str] = attrs.field(
        factory=dict,
        validator=deep_mapping(matches_re(limits.ENV_PATTERN), matches_re(r"[^\x00]*")),
        metadata={"hint": f"{limits.ENV_HINT}; a value has no NUL"},
    )
    """Environment variables of the service."""
    secrets: Mapping[str, Secret] = attrs.field(
        factory=dict,
        validator=deep_mapping(matches_re(limits.ENV_PATTERN)),
        metadata={"hint": limits.ENV_HINT},
    )
    """Environment variable to secret; masked in all logs of the run."""
    resources: Amounts = attrs.field(factory=Amounts)
    """What it may use, out of the task's `resources`: memory, cpus and pids. Without, an equal share of what is left
    there."""
    ready: ReadySpec = ReadySpec()
    """How it is known to be ready: `port` or `command`. By default by the HEALTHCHECK of its image, and without one as
    soon as it has started."""
    limit: int = attrs.field(default=60, validator=[ge(1), le(3600)], metadata={"unit": "s"})
    """Seconds from its start until it must be ready; otherwise the run is failed, `service-failed`."""
