"""Plain values to attrs classes, strictly: every mistake is refused, all of them at once.

A class declares its fields by annotations (`str`, `int`, `float`, `bool`, `datetime`, `ByteCount`, `Secret`, `Json`,
`Literal[...]`, `X | None`, `tuple[X, ...]`, `bool | tuple[str, ...]`, `str | tuple[str, ...]`, `Mapping[str, X]`, other
attrs classes) and its attrs validators. A field `if_` is the key `if` of a document. A `Mapping[str, X]` with
`metadata={"rest": True}` is no key: it takes all keys that are no other field. Nothing is coerced: `"yes"` is no
flag, `"rm"` is no list of two texts, `1.0` is not `1`. The purpose of a field stands in the docstring below it, or in
`metadata={"doc": ...}`; what to write when a validator refuses a value, in `metadata={"hint": ...}`.

The converter is that of cattrs, which coerces by default: every hook of ours (`hooks`) accepts exactly one kind of
value. A type without a hook is a Bug of the class.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import attrs
import cattrs

from taskrunner.errors import Bug, Complaint, MalformedPayload
from taskrunner.model import Secret
from taskrunner.schema.complaints import complaints_of
from taskrunner.schema.field_types import (
    is_byte_count,
    is_choice,
    is_flag_or_list,
    is_json,
    is_list,
    is_optional,
    is_table,
    is_text_or_list,
)
from taskrunner.schema.hooks import collections, values
from taskrunner.schema.hooks.classes import field_hook, object_hook
from taskrunner.schema.validators import below

T = TypeVar("T")

MAX_COMPLAINTS = 100
"""Of one document. The text of all goes into a resolution."""


def decode(cls: type[T], document: object, path: str = "", known: Collection[str] = ()) -> T:
    """An instance of an attrs class from plain JSON values. `path` goes before the path of each complaint.

    `known` are keys that stand beside this class's own at the top level, for suggestions.

    Raises: MalformedPayload with every complaint; none of them repeats a value of the document.
    """
    try:
        return _CONVERTER.structure(document, cls)
    except (cattrs.BaseValidationError, MalformedPayload) as error:
        complaints = list(islice(complaints_of(error, path, known), MAX_COMPLAINTS))
    raise MalformedPayload(*complaints)  # outside of `except`: the chain of causes may quote the document


def field_complaints(cls: type, name: str, value: object) -> tuple[Complaint, ...]:
    """What is wrong with the value of one field of an attrs class, in the words of `decode`."""
    field = getattr(attrs.fields(attrs.resolve_types(cls)), name)
    try:
        field_hook(field, _CONVERTER)(value, field.type)
    except MalformedPayload as error:
        return tuple(attrs.evolve(each, path=below(name, each.path)) for each in error.complaints)
    return ()


def _unsupported(tp: Any) -> NoReturn:
    raise Bug(f"a document cannot hold {tp}: use the types that taskrunner.schema.decode names")


def _make_converter() -> cattrs.Converter:
    """Cattrs uses the last hook that fits a type, so that the catch-all comes first."""
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook_factory(lambda _: True, _unsupported)
    for tp in (bytes, Path):
        converter.register_structure_hook(tp, lambda _, tp: _unsupported(tp))
    converter.register_structure_hook(str, values.text)
    converter.register_structure_hook(bool, values.flag)
    converter.register_structure_hook(int, values.whole_number)
    converter.register_structure_hook(float, values.number)
    converter.register_structure_hook(datetime, values.time_of_day)
    converter.register_structure_hook_factory(attrs.has, object_hook)
    converter.register_structure_hook(Secret, values.secret)
    converter.register_structure_hook_func(is_json, values.json)
    converter.register_structure_hook_func(is_byte_count, values.byte_count)
    converter.register_structure_hook_factory(is_choice, values.choice)
    converter.register_structure_hook_factory(is_optional, collections.optional)
    converter.register_structure_hook_factory(is_list, collections.list_of)
    converter.register_structure_hook_factory(is_flag_or_list, collections.flag_or_list)
    converter.register_structure_hook_factory(is_table, collections.table)
    converter.register_structure_hook_factory(is_text_or_list, collections.text_or_list)
    return converter


_CONVERTER = _make_converter()
