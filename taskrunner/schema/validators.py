"""The validators of an attrs class, as complaints and as JSON Schema.

Both come from the same validators, so that the decoder and the published schema cannot drift apart. Supported are the
validators of attrs (`ge`, `le`, `min_len`, `max_len`, `matches_re`, `in_`, `optional`, `deep_iterable`,
`deep_mapping`, `and_`). Any other validator may raise ValueError; its text is shown and must not contain the value.
A bound is told with its unit: that of a `ByteCount`, or `metadata={"unit": "s"}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import reduce
from typing import Any

import attrs

from taskrunner.byte_counts import bytes_text
from taskrunner.errors import Complaint
from taskrunner.schema.field_types import holds_byte_counts

Schema = dict[str, Any]

_BOUNDS = {
    ">=": ("minimum", "at least"),
    ">": ("exclusiveMinimum", "more than"),
    "<=": ("maximum", "at most"),
    "<": ("exclusiveMaximum", "less than"),
}


_SENSITIVE = re.compile(r"token|passw|secret|credential|private|api_?key", re.IGNORECASE)
"""Fields whose other validators are not quoted: the text may contain the value."""


def violations(field: attrs.Attribute[Any], value: Any) -> list[Complaint]:
    """Everything that the validators of a field refuse in a value, with paths relative to the field."""
    found = _violations(field.validator, field, value)
    if hint := field.metadata.get("hint"):
        return [
            Complaint(c.path, "is not of the form it needs" if "match" in c.problem else c.problem, hint) for c in found
        ]
    return list(found)


def _violations(validator: Any, field: attrs.Attribute[Any], value: Any, path: str = "") -> Iterator[Complaint]:
    for part, where, inner in _parts(validator, value, path):
        if part is not validator:
            yield from _violations(part, field, inner, where)
            continue
        try:
            part(None, field, value)
        except (ValueError, TypeError) as error:
            sensitive = _SENSITIVE.search(field.name + path)
            told = message_of(validator, inner, _unit(field))
            yield Complaint(path, told or ("is not taken here" if sensitive else str(error)))


def _parts(validator: Any, value: Any, path: str) -> Iterator[tuple[Any, str, Any]]:
    """The parts of a validator, each with its value and the path of it; a simple one is its own part."""
    if validator is None:
        return
    if hasattr(validator, "_validators"):
        yield from ((part, path, value) for part in validator._validators)  # noqa: SLF001  attrs has no other name for it
    elif hasattr(validator, "member_validator"):
        yield validator.iterable_validator, path, value
        yield from ((validator.member_validator, f"{path}[{i}]", item) for i, item in enumerate(value))
    elif hasattr(validator, "key_validator"):
        yield validator.mapping_validator, path, value
        for key, item in value.items():
            yield validator.key_validator, at_key(path, key), key
            yield validator.value_validator, at_key(path, key), item
    elif type(validator).__name__ == "_OptionalValidator":
        if value is not None:
            yield validator.validator, path, value
    else:
        yield validator, path, value


def message_of(validator: Any, value: Any, unit: str = "") -> str:
    """The message of a simple validator of attrs; empty for any other. `unit` is that of a number: `bytes`, `s`."""
    name = type(validator).__name__
    if hasattr(validator, "compare_op"):
        return f"must be {_BOUNDS[validator.compare_op][1]} {_amount(validator.bound, unit)}"
    if hasattr(validator, "pattern"):
        return f"does not match {validator.pattern.pattern}"
    if name == "_MinLengthValidator":
        parts = _parts_of(value)
        return "must not be empty" if validator.min_length == 1 else f"needs at least {validator.min_length} {parts}"
    if name == "_MaxLengthValidator":
        return f"is longer than {validator.max_length} {_parts_of(value)}"
    if name == "_InValidator":
        return f"must be one of {', '.join(map(str, validator.options))}"
    return ""


def _unit(field: attrs.Attribute[Any]) -> str:
    """Of the numbers that a field holds: bytes, if they are written with their unit; else as its metadata says."""
    return "bytes" if holds_byte_counts(field.type) else field.metadata.get("unit", "")


def _amount(number: float, unit: str) -> str:
    if unit == "bytes":
        return bytes_text(int(number))
    text = str(number) if isinstance(number, int) else format(number, ".10g")
    return f"{text} {unit}".strip()


def _parts_of(value: Any) -> str:
    return "characters" if isinstance(value, str) else "entries"


def constrained(schema: Schema, validator: Any) -> Schema:
    """The schema of a value with the keywords of its validator.

    A pattern is anchored: the decoder matches a whole text. Other validators add nothing.
    """
    if validator is None:
        return schema
    if hasattr(validator, "_validators"):
        return reduce(constrained, validator._validators, schema)  # noqa: SLF001  as above
    if "anyOf" in schema:  # X or null
        return schema | {"anyOf": [constrained(schema["anyOf"][0], validator), *schema["anyOf"][1:]]}
    if hasattr(validator, "member_validator") or hasattr(validator, "key_validator"):
        return _constrained_inside(schema, validator)
    if type(validator).__name__ == "_OptionalValidator":
        return constrained(schema, validator.validator)
    return _with_keywords(schema, _keywords(validator, schema.get("type", "string")))


def _constrained_inside(schema: Schema, validator: Any) -> Schema:
    if hasattr(validator, "member_validator"):
        items = constrained(schema["items"], validator.member_validator)
        return constrained(schema | {"items": items}, validator.iterable_validator)
    keys = constrained({"type": "string"}, validator.key_validator)
    values = constrained(schema["additionalProperties"], validator.value_validator)
    return constrained(schema | {"propertyNames": keys, "additionalProperties": values}, validator.mapping_validator)


def _with_keywords(schema: Schema, keywords: Schema) -> Schema:
    """Both together. A keyword that the schema has already, such as a pattern, is not overwritten."""
    if schema.keys() & keywords.keys():
        return schema | {"allOf": [*schema.get("allOf", []), keywords]}
    return schema | keywords


_LENGTHS = {"string": "Length", "array": "Items", "object": "Properties"}


def _keywords(validator: Any, kind: str) -> Schema:
    name = type(validator).__name__
    if hasattr(validator, "compare_op"):
        return {_BOUNDS[validator.compare_op][0]: validator.bound}
    if hasattr(validator, "pattern"):
        return {"pattern": f"^(?:{validator.pattern.pattern})$"}
    if name == "_MinLengthValidator":
        return {f"min{_LENGTHS[kind]}": validator.min_length}
    if name == "_MaxLengthValidator":
        return {f"max{_LENGTHS[kind]}": validator.max_length}
    if name == "_InValidator":
        return {"enum": list(validator.options)}
    return {}


MAX_KEY = 100
"""Characters of a key in an error."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


def at_key(path: str, key: str) -> str:
    """The path of the value of a key: `build.args`, or `registries["registry.example:5000"]`."""
    key = key if len(key) <= MAX_KEY else f"{key[:MAX_KEY]}..."
    if not _PLAIN_KEY.fullmatch(key):
        quoted = key.encode("unicode_escape").decode("ascii").replace('"', '\\"')
        return f'{path}["{quoted}"]'
    return f"{path}.{key}" if path else key


def below(path: str, rest: str) -> str:
    """One path under another: `artifacts` and `[0].path`."""
    return f"{path}.{rest}" if path and rest and not rest.startswith("[") else path + rest
