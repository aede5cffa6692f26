"""The kinds of types that a field of a document may have, for the decoder and for the JSON Schema."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin


def document_key(field_name: str) -> str:
    """The key of a field in a document: its name, without the `_` that keeps it from being a word of Python (`if_`)."""
    return field_name.removesuffix("_")


def is_optional(tp: Any) -> bool:
    """Whether a type is `X | None`."""
    members = set(get_args(tp)) - {type(None)}
    return get_origin(tp) in {Union, types.UnionType} and len(members) == 1


def is_list(tp: Any) -> bool:
    """Whether a type is `tuple[X, ...]`."""
    return get_origin(tp) is tuple and get_args(tp)[1:] == (Ellipsis,)


def is_flag_or_list(tp: Any) -> bool:
    """Whether a type is `bool | tuple[str, ...]`."""
    return set(get_args(tp)) == {bool, tuple[str, ...]}


def is_text_or_list(tp: Any) -> bool:
    """Whether a type is `str | tuple[str, ...]`."""
    return set(get_args(tp)) == {str, tuple[str, ...]}


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
