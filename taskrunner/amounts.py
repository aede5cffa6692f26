"""Amounts of what a machine has: memory, CPUs, processes, and what its operator gives a name, such as `gpu`.

A task asks for some of them, and a worker has some in all: both as `Amounts`. What is computed of these, such as what
is free, is a plain mapping from name to number, since it may be zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from attrs.validators import and_, deep_mapping, ge, le, matches_re, optional

from taskrunner.byte_counts import MAX_BYTES, ByteCount, bytes_text

LEAST_MEMORY = 6 << 20
"""Bytes: Docker sets no smaller limit."""

MAX_COUNT = 4096 << 10
"""Of processes, Linux allows no more (PID_MAX_LIMIT); of anything else, more than a machine has."""

NAME_PATTERN = r"(?!(?:default|maximum)$)[a-z][a-z0-9_-]{0,63}"
"""The name of a resource, and not one of the other keys of `[resources]`."""

NAME_HINT = "name it with lower-case letters, digits, `_` and `-`, and count it in whole numbers from 1"


@attrs.frozen
class Amounts:
    """How much of each resource. What is absent is not asked for, or not counted."""

    memory: ByteCount | None = attrs.field(default=None, validator=optional(and_(ge(LEAST_MEMORY), le(MAX_BYTES))))
    """Bytes of memory: a number, or a text such as "512MiB"."""
    cpus: float | None = attrs.field(default=None, validator=optional(and_(ge(0.01), le(4096))))
    """Processors; 0.5 is half of the time of one."""
    pids: int | None = attrs.field(default=None, validator=optional(and_(ge(1), le(MAX_COUNT))))
    """Processes and threads at a time."""
    named: Mapping[str, int] = attrs.field(
        factory=dict,
        validator=deep_mapping(matches_re(NAME_PATTERN), and_(ge(1), le(MAX_COUNT))),
        metadata={"rest": True, "hint": NAME_HINT},
    )
    """Every other key: whole numbers of what the operator has given a name, such as `gpu`."""

    @property
    def items(self) -> Mapping[str, float]:
        """All of them by name."""
        known = {"memory": self.memory, "cpus": self.cpus, "pids": self.pids}
        return {name: amount for name, amount in known.items() if amount is not None} | dict(self.named)

    def filled(self, default: Amounts) -> Amounts:
        """These amounts, with those that are absent taken from others."""
        return attrs.evolve(
            self,
            memory=default.memory if self.memory is None else self.memory,
            cpus=default.cpus if self.cpus is None else self.cpus,
            pids=default.pids if self.pids is None else self.pids,
            named={**default.named, **self.named},
        )

    def __str__(self) -> str:
        return amounts_text(self.items)


def beyond(asked: Mapping[str, float], limit: Mapping[str, float]) -> dict[str, float]:
    """What is asked for beyond a limit. What that does not count is never too much."""
    return {name: amount for name, amount in asked.items() if amount > limit.get(name, amount)}


def less(amounts: Mapping[str, float], used: Mapping[str, float]) -> dict[str, float]:
    """What is left of amounts when some of it is used."""
    return {name: max(0.0, round(amount - used.get(name, 0), 6)) for name, amount in amounts.items()}


def amounts_text(amounts: Mapping[str, float]) -> str:
    """For people: `memory 512MiB, cpus 0.5`."""
    return ", ".join(f"{name} {amount_text(name, amount)}" for name, amount in amounts.items()) or "nothing"


def amount_text(name: str, amount: float) -> str:
    """One amount for people, with its unit if it has one: `512MiB`, `0.5`."""
    return bytes_text(int(amount)) if name == "memory" else format(amount, ".10g")


@attrs.frozen
class Room:
    """What a worker has left for further runs."""

    total: Amounts
    """What it has in all. What is absent here is not counted."""
    default: Amounts
    """What a task gets that asks for none of it."""
    free: Mapping[str, float]
    """How much of the total no run has."""

    def has(self, asked: Amounts) -> bool:
        """Whether a task can be taken now. So can one that never fits: the worker takes it to say so."""
        return self._never(asked) or not beyond(asked.filled(self.default).items, self.free)

    def without(self, asked: Amounts) -> Room:
        """What is left when that is taken."""
        return (
            self if self._never(asked) else attrs.evolve(self, free=less(self.free, asked.filled(self.default).items))
        )

    def _never(self, asked: Amounts) -> bool:
        need = asked.filled(self.default)
        return bool(beyond(need.items, self.total.items)) or not set(need.named) <= set(self.total.named)
