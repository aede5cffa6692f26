"""The JSON Schema (2020-12) of a task, made from the classes that decode it.

An editor completes and checks task files with it. It says everything that the decoder says of one field, but for the
years of a time. Only the decoder checks what relates several fields to each other (no artifact is named twice). JSON
Schema counts `1.0` as an integer; the decoder does not.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any, get_args

import attrs

from taskrunner.byte_counts import BYTES_PATTERN
from taskrunner.errors import Bug
from taskrunner.limits import SECRET_PATTERN
from taskrunner.model import Secret, Task
from taskrunner.schema.field_types import (
    document_key,
    is_byte_count,
    is_choice,
    is_flag_or_list,
    is_json,
    is_list,
    is_optional,
    is_table,
    is_text_or_list,
    rest_field,
)
from taskrunner.schema.hooks.collections import MAX_ITEMS
from taskrunner.schema.validators import Schema, constrained
from taskrunner.schema.variants import variant_schema


def task_schema(payload_classes: Mapping[str, type]) -> Schema:
    """The schema of a task file, for workers that have these platforms: payload classes by the platform's name."""
    common = object_schema(Task)
    common["properties"]["platform"]["enum"] = sorted(payload_classes)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A task for taskrunner",
        "type": "object",
        "description": common["description"],
        "properties": common["properties"],
        "required": ["platform"],  # an absent id is generated
        "allOf": [_if_platform(name, payload_classes[name]) for name in sorted(payload_classes)],
        "unevaluatedProperties": False,
    }


def _if_platform(name: str, payload: type) -> Schema:
    then = object_schema(payload)
    del then["additionalProperties"]  # the common fields stand beside these
    return {"if": {"properties": {"platform": {"const": name}}, "required": ["platform"]}, "then": then}


def object_schema(cls: type) -> Schema:
    """The schema of one attrs class. Raises Bug for a type that a document cannot hold."""
    rest = rest_field(cls)
    fields = [field for field in attrs.fields(attrs.resolve_types(cls)) if field.init and field is not rest]
    docs = documentation(cls)
    return {
        "type": "object",
        "description": _one_line(cls.__doc__),
        "properties": {document_key(field.name): _field_schema(field, docs.get(field.name, "")) for field in fields},
        "required": [document_key(field.name) for field in fields if field.default is attrs.NOTHING],
        "additionalProperties": False,
        **variant_schema(cls),
        **_rest_schema(rest, {document_key(field.name) for field in fields}, docs),
    }


def _rest_schema(rest: attrs.Attribute[Any] | None, keys: set[str], docs: Mapping[str, str]) -> Schema:
    """What all other keys may be. A name that is a field's as well is of the pattern, or gets no schema from it."""
    if rest is None:
        return {}
    schema = _field_schema(rest, docs.get(rest.name, ""))
    names = {"anyOf": [{"enum": sorted(keys)}, schema["propertyNames"]]}
    return {"additionalProperties": schema["additionalProperties"], "propertyNames": names}


def documentation(cls: type) -> dict[str, str]:
    """The purpose of each field: its `metadata={"doc": ...}`, or the docstring below it where there is source code."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        found |= dict(_docstrings(base))
    return found | {field.name: field.metadata["doc"] for field in attrs.fields(cls) if "doc" in field.metadata}


def _docstrings(cls: type) -> Iterator[tuple[str, str]]:
    try:
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError):
        return  # made at run time, or without source code
    lines = body.body if isinstance(body, ast.ClassDef) else []
    for field, text in pairwise(lines):
        match field, text:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(doc))):
                yield name, _one_line(doc)


def _one_line(doc: str | None) -> str:
    return " ".join((doc or "").split())


def _field_schema(field: attrs.Attribute[Any], doc: str) -> Schema:
    schema = constrained(type_schema(field.type), field.validator)
    return schema | ({"description": doc} if doc else {}) | _default(field.default)


def _default(default: Any) -> Schema:
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a class, though typed as a function
        default = default.factory() if not default.takes_self else attrs.NOTHING
    if default is None or isinstance(default, str | int | float):
        return {"default": default}
    if isinstance(default, tuple | dict) and not default:
        return {"default": [] if isinstance(default, tuple) else {}}
    return {}


_SECRET: Schema = {
    "oneOf": [
        {"type": "string", "minLength": 1},
        {
            "type": "object",
            "properties": {"secret": {"type": "string", "pattern": f"^{SECRET_PATTERN}$"}},
            "required": ["secret"],
            "additionalProperties": False,
        },
    ]
}

_SIMPLE: Mapping[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
    Secret: _SECRET,
}


def type_schema(tp: Any) -> Schema:
    """The schema of a type that a document may hold. Raises Bug for any other."""
    if tp in _SIMPLE:
        return _SIMPLE[tp]
    if is_json(tp):
        return {}
    if is_byte_count(tp):
        return {"type": ["integer", "string"], "pattern": f"^(?:{BYTES_PATTERN})$"}
    if attrs.has(tp):
        return object_schema(tp)
    if is_choice(tp):
        return {"enum": list(get_args(tp))}
    return _compound_schema(tp)


def _compound_schema(tp: Any) -> Schema:
    if is_optional(tp):
        (inner,) = (member for member in get_args(tp) if member is not type(None))
        return {"anyOf": [type_schema(inner), {"type": "null"}]}
    if is_flag_or_list(tp):
        return {"anyOf": [type_schema(bool), type_schema(tuple[str, ...])]}
    if is_text_or_list(tp):
        return {"anyOf": [type_schema(str), type_schema(tuple[str, ...])]}
    if is_list(tp):
        return {"type": "array", "items": type_schema(get_args(tp)[0]), "maxItems": MAX_ITEMS}
    if is_table(tp):
        return {"type": "object", "additionalProperties": type_schema(get_args(tp)[1]), "maxProperties": MAX_ITEMS}
    raise Bug(f"a document cannot hold {tp}: use the types that taskrunner.schema.decode names")
