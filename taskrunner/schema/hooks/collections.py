"""A value with others in it: a list, a table, and one of two kinds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, get_args

import cattrs
from cattrs.cols import homogenous_tuple_structure_factory
from cattrs.gen import make_mapping_structure_fn

from taskrunner.limits import DOCUMENT_HINT
from taskrunner.schema.complaints import refusal
from taskrunner.schema.hooks.values import Hook, text
from taskrunner.schema.parse import kind_of

MAX_ITEMS = 10_000
"""Of one list or table. A hostile megabyte of wrong items must not block the worker: this many take 0.2 seconds."""


def optional(tp: Any, converter: cattrs.Converter) -> Hook:
    (inner,) = (member for member in get_args(tp) if member is not type(None))
    hook = converter.get_structure_hook(inner)
    return lambda value, _: None if value is None else hook(value, inner)


def list_of(tp: Any, converter: cattrs.Converter) -> Hook:
    inner = homogenous_tuple_structure_factory(tp, converter)

    def structure_list(value: Any, _: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise refusal(f"expected a list, got {kind_of(value)}", "write a list in brackets, even of one")
        _check_length(value)
        return inner(value, tp)

    return structure_list


def flag_or_list(_: Any, converter: cattrs.Converter) -> Hook:
    flag, texts = converter.get_structure_hook(bool), converter.get_structure_hook(tuple[str, ...])

    def structure_flag_or_list(value: Any, _: Any) -> Any:
        if isinstance(value, list | tuple):
            return texts(value, tuple[str, ...])
        return flag(value, bool)

    return structure_flag_or_list


def text_or_list(_: Any, converter: cattrs.Converter) -> Hook:
    structure_list = list_of(tuple[str, ...], converter)

    def structure_either(value: Any, tp: Any) -> Any:
        if isinstance(value, list | tuple):
            return structure_list(value, tp)
        if not isinstance(value, str):
            raise refusal(f"expected a text or a list of texts, got {kind_of(value)}", "write it in quotes")
        return text(value, tp)

    return structure_either


def table(tp: Any, converter: cattrs.Converter) -> Hook:
    inner = make_mapping_structure_fn(tp, converter, structure_to=dict)

    def structure_table(value: Any, _: Any) -> Any:
        return inner(mapping(value), tp)

    return structure_table


def mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise refusal(f"expected a table, got {kind_of(value)}", "write keys and values")
    _check_length(value)
    return value


def _check_length(value: Collection[Any]) -> None:
    if len(value) > MAX_ITEMS:
        raise refusal(f"has more than {MAX_ITEMS} items", DOCUMENT_HINT)
