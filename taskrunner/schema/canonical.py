"""One text for each JSON value, so that equal documents have equal texts and one size."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def canonical_json(value: object) -> str:
    """The value as ASCII, keys sorted, without spaces.

    Raises: TypeError, ValueError or RecursionError for what is no JSON value.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def _plain(value: Any) -> Any:
    """Mappings and sequences other than `dict` and `list` are JSON as well."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return list(value)
    raise TypeError(f"a value is of the type {type(value).__name__}")
