"""The `[resources]` table of the configuration: what the runs of a worker may have together, and each of them."""

from __future__ import annotations

from typing import Any

import attrs

from taskrunner.amounts import Amounts, amounts_text, beyond


@attrs.frozen
class ResourceOptions(Amounts):
    """What all runs of the worker may use at a time. What is absent is not counted."""

    default: Amounts = attrs.field(factory=Amounts)
    """What a task gets that asks for none of it."""
    maximum: Amounts = attrs.field(factory=Amounts)
    """The most that one task may ask for; a task that asks for more is malformed."""


def check_default(_: object, __: attrs.Attribute[Any], options: ResourceOptions) -> None:
    """A validator: with such a default, no task could run. Raises ValueError."""
    for limit, name in ((options.maximum, "the maximum"), (options, "what the worker has")):
        if too_much := beyond(options.default.items, limit.items):
            raise ValueError(f"the default {amounts_text(too_much)} is more than {name}")
    if unknown := sorted(set(options.default.named) - set(options.named)):
        raise ValueError(f"the default asks for {', '.join(unknown)}, which the worker does not have")
