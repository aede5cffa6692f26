"""The kinds of types that a field of a document may have, for the decoder and for the JSON Schema."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

import attrs

from taskrunner.byte_counts import ByteCount

_UNIONS = frozenset({Union, types.UnionType})


def document_key(field_name: str) -> str:
    """The key of a field in a document: its name, without the `_` that keeps it from being a word of Python (`if_`)."""
    return field_name.removesuffix("_")


def rest_field(cls: type) -> attrs.Attribute[Any] | None:
    """The field of a class that takes every key which is no other field of it: `metadata={"rest": True}`."""
    return next((field for field in attrs.fields(attrs.resolve_types(cls)) if field.metadata.get("rest")), None)


def is_byte_count(tp: Any) -> bool:
    """Whether a type is `ByteCount`."""
    return bool(tp == ByteCount)


def holds_byte_counts(tp: Any) -> bool:
    """Whether a type is `ByteCount`, or has it within: a table, `None` beside it."""
    return is_byte_count(tp) or any(map(holds_byte_counts, get_args(tp)))


def is_optional(tp: Any) -> bool:
    """Whether a type is `X | None`."""
    members = set(get_args(tp)) - {type(None)}
    return get_origin(tp) in _UNIONS and len(members) == 1


def is_list(tp: Any) -> bool:
    """Whether a type is `tuple[X, ...]`."""
    return get_origin(tp) is tuple and get_args(tp)[1:] == (Ellipsis,)


def is_flag_or_list(tp: Any) -> bool:
    """Whether a type is `bool | tuple[str, ...]`."""
    return set(get_args(tp)) == {bool, tuple[str, ...]}


def is_text_or_list(tp: Any) -> bool:
    """Whether a type is `str | tuple[str, ...]`."""
    return get_origin(tp) in _UNIONS and set(get_args(tp)) == {str, tuple[str, ...]}  # not a table of lists


def is_table(tp: Any) -> bool:
    """Whether a type is `Mapping[str, X]`."""
    return get_origin(tp) is Mapping and get_args(tp)[0] is str


def is_choice(tp: Any) -> bool:
    """Whether a type is `Literal[...]`."""
    origin: Any = get_origin(tp)
    return origin is Literal


def is_json(tp: Any) -> bool:
    """Whether a type is `model.Json`. It is recursive, and two resolved ones are not equal."""
    return {bool, int, float, str} <= set(get_args(tp))
