"""Keys of a job that this worker does not know: launchers are newer than their workers.

A key beside the steps is for another worker, as a rule: jobs have many. One within a step or a secret may be what its
author relies on, so it is told of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from taskrunner.schema.validators import at_key

MOST = 10
"""Keys that are named."""


def without_unknown(tables: Any, known: Collection[str]) -> Any:
    """Tables of a list without keys that are not known, and without those that are null: an optional key may be. What
    is no list of tables stays as it is."""
    return [_only(table, known) for table in tables] if isinstance(tables, list) else tables


def _only(table: Any, known: Collection[str]) -> Any:
    if not isinstance(table, Mapping):
        return table
    return {key: value for key, value in table.items() if key in known and value is not None}


def unknown_keys(tables: Any, path: str, known: Collection[str]) -> Iterator[str]:
    """The paths of what `without_unknown` leaves out, but for what is null."""
    for index, table in enumerate(tables if isinstance(tables, list) else ()):
        for key, value in table.items() if isinstance(table, Mapping) else ():
            if key not in known and value is not None:
                yield at_key(f"{path}[{index}]", key)


def told(paths: Sequence[str]) -> str:
    """One line about these; empty when there are none."""
    if not paths:
        return ""
    more = f" and {len(paths) - MOST:,} more" if len(paths) > MOST else ""
    return f"ignored, since this worker does not know it: {', '.join(paths[:MOST])}{more}"
