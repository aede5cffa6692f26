"""What each step of a build may use of the machine."""

from __future__ import annotations

import attrs
from attrs.validators import and_, ge, le, optional

from taskrunner.amounts import LEAST_MEMORY
from taskrunner.byte_counts import MAX_BYTES, ByteCount


@attrs.frozen
class BuildLimits:
    """The limits of each step's container."""

    memory: ByteCount | None = attrs.field(
        default=None,
        validator=optional(and_(ge(LEAST_MEMORY), le(MAX_BYTES))),
        metadata={"doc": "Bytes of memory for each step: 2GiB."},
    )
    cpus: float | None = attrs.field(
        default=None, validator=optional(and_(ge(0.01), le(4096))), metadata={"doc": "CPUs for each step: 1.5."}
    )

    def __str__(self) -> str:
        memory = [f"{self.memory / (1 << 20):g} MiB of memory"] if self.memory else []
        return " and ".join([*memory, *([f"{self.cpus:g} CPUs"] if self.cpus else [])])
