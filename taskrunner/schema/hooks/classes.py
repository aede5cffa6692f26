"""A value that is an attrs class: its fields with their validators, its variants, and the field for all other keys."""

from __future__ import annotations

from typing import Any

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from taskrunner.errors import MalformedPayload
from taskrunner.schema.field_types import document_key, rest_field
from taskrunner.schema.hooks.collections import mapping
from taskrunner.schema.hooks.values import Hook
from taskrunner.schema.validators import violations
from taskrunner.schema.variants import variant_complaints


def object_hook(cls: type, converter: cattrs.Converter) -> Hook:
    fields = attrs.fields(attrs.resolve_types(cls))
    rest = rest_field(cls)
    hooks: Any = {
        f.name: override(omit=True)
        if f is rest
        else override(struct_hook=field_hook(f, converter), rename=document_key(f.name))
        for f in fields
        if f.init
    }
    inner: Hook = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, **hooks)
    with_rest = _with_rest(cls, rest, converter)

    def structure_object(value: Any, _: Any) -> Any:
        table = mapping(value)
        errors: list[Exception] = [MalformedPayload(complaint) for complaint in variant_complaints(cls, table)]
        if with_rest:
            return with_rest(table, inner)
        try:
            decoded = inner(table, cls)
        except cattrs.ClassValidationError as error:
            raise cattrs.ClassValidationError("", [*error.exceptions, *errors], cls) from None
        if errors:
            raise cattrs.ClassValidationError("", errors, cls)
        return decoded

    return structure_object


def _with_rest(cls: type, rest: attrs.Attribute[Any] | None, converter: cattrs.Converter) -> Hook | None:
    """Decodes a class that has a field for all other keys: the fields first, then that one."""
    if rest is None:
        return None
    keys = {document_key(field.name) for field in attrs.fields(cls) if field.name != rest.name}
    structure_rest = field_hook(rest, converter)

    def structure_both(table: Any, inner: Any) -> Any:
        decoded, others, errors = None, None, list[Exception]()
        try:
            decoded = inner({key: value for key, value in table.items() if key in keys}, cls)
        except cattrs.ClassValidationError as error:
            errors += error.exceptions
        try:
            others = structure_rest({key: value for key, value in table.items() if key not in keys}, rest.type)
        except (cattrs.BaseValidationError, MalformedPayload) as error:
            errors.append(error)
        if errors:
            raise cattrs.ClassValidationError("", errors, cls)
        return attrs.evolve(decoded, **{rest.name: others})  # type: ignore[misc]  # an instance, without errors

    return structure_both


def field_hook(field: attrs.Attribute[Any], converter: cattrs.Converter) -> Hook:
    """Decodes one field and runs its validators, so that each complaint has the path of the field."""
    hook = converter.get_structure_hook(field.type)

    def structure_field(value: Any, tp: Any) -> Any:
        decoded = hook(value, tp)
        if found := violations(field, decoded):
            raise MalformedPayload(*found)
        return decoded

    return structure_field
