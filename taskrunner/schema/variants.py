"""Variants: a class that stands for one of several things, each with fields of its own.

A field belongs to a variant by `metadata={"variant": "archive"}`. The field of that name, a text, chooses the variant:
exactly one of these is there and not empty. Fields of other variants keep their default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from taskrunner.errors import Complaint

Schema = dict[str, Any]


def variant_complaints(cls: type, table: Mapping[str, Any]) -> Iterator[Complaint]:
    """What is wrong with the variants in the table of a document, whatever else is wrong with it."""
    fields = _by_name(cls)
    choices = [name for name, field in fields.items() if field.metadata["variant"] == name]
    chosen = [name for name in choices if table.get(name)]
    if choices and not chosen:
        yield Complaint(choices[0], "is missing", fields[choices[0]].metadata.get("hint", ""))
    for name in chosen[1:]:
        yield Complaint(name, f"stands beside `{chosen[0]}`", "leave one of them out")
    for name, field in fields.items():
        variant = field.metadata["variant"]
        if chosen and variant not in chosen and table.get(name, field.default) != field.default:
            yield Complaint(name, f"means nothing to `{chosen[0]}`", f"leave it out: it belongs to `{variant}`")


def variant_schema(cls: type) -> Schema:
    """The keywords for the schema of the class; empty for one without variants."""
    fields = _by_name(cls)
    choices = [name for name, field in fields.items() if field.metadata["variant"] == name]
    if not choices:
        return {}
    return {"oneOf": [_branch(choice, fields) for choice in choices]}


def _branch(choice: str, fields: Mapping[str, attrs.Attribute[Any]]) -> Schema:
    others = {name: field.default for name, field in fields.items() if field.metadata["variant"] != choice}
    unchanged = {name: {"const": default} for name, default in others.items()}
    return {"required": [choice], "properties": {choice: {"minLength": 1}, **unchanged}}


def _by_name(cls: type) -> dict[str, attrs.Attribute[Any]]:
    """The fields that belong to a variant."""
    return {field.name: field for field in attrs.fields(cls) if "variant" in field.metadata}
