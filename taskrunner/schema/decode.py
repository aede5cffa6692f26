"""Plain values to attrs classes, strictly: every mistake is refused, all of them at once.

A class declares its fields by annotations (`str`, `int`, `float`, `bool`, `datetime`, `ByteCount`, `Secret`, `Json`,
`Literal[...]`, `X | None`, `tuple[X, ...]`, `bool | tuple[str, ...]`, `str | tuple[str, ...]`, `Mapping[str, X]`, other
attrs classes) and its attrs validators. A field `if_` is the key `if` of a document. A `Mapping[str, X]` with
`metadata={"rest": True}` is no key: it takes all keys that are no other field. Nothing is coerced: `"yes"` is no
flag, `"rm"` is no list of two texts, `1.0` is not `1`. The purpose of a field stands in the docstring below it, or in
`metadata={"doc": ...}`; what to write when a validator refuses a value, in `metadata={"hint": ...}`.

The converter is that of cattrs, which coerces by default: every hook here accepts exactly one kind of value. A type
without a hook is a Bug of the class.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args

import attrs
import cattrs
from cattrs.cols import homogenous_tuple_structure_factory
from cattrs.gen import make_dict_structure_fn, make_mapping_structure_fn, override

from taskrunner.byte_counts import BYTES_HINT, parse_bytes
from taskrunner.errors import Bug, Complaint, MalformedPayload
from taskrunner.limits import DOCUMENT_HINT, EARLIEST, LATEST, SECRET_PATTERN, TIME_HINT
from taskrunner.model import Json, Secret
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
from taskrunner.schema.parse import kind_of, plain_value
from taskrunner.schema.validators import at_key, below, violations
from taskrunner.schema.variants import variant_complaints

T = TypeVar("T")
Hook = Callable[[Any, Any], Any]

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


UNKNOWN_KEY = "is not known here"
"""The problem of a key that a class has no field for."""

MAX_COMPLAINTS = 100
"""Of one document. The text of all goes into a resolution."""

MAX_ITEMS = 10_000
"""Of one list or table. A hostile megabyte of wrong items must not block the worker: this many take 0.2 seconds."""


def decode(cls: type[T], document: object, path: str = "", known: Collection[str] = ()) -> T:
    """An instance of an attrs class from plain JSON values. `path` goes before the path of each complaint.

    `known` are keys that stand beside this class's own at the top level, for suggestions.

    Raises: MalformedPayload with every complaint; none of them repeats a value of the document.
    """
    try:
        return _CONVERTER.structure(document, cls)
    except (cattrs.BaseValidationError, MalformedPayload) as error:
        complaints = list(islice(_complaints(error, path, known), MAX_COMPLAINTS))
    raise MalformedPayload(*complaints)  # outside of `except`: the chain of causes may quote the document


def field_complaints(cls: type, name: str, value: object) -> tuple[Complaint, ...]:
    """What is wrong with the value of one field of an attrs class, in the words of `decode`."""
    field = getattr(attrs.fields(attrs.resolve_types(cls)), name)
    try:
        _field(field, _CONVERTER)(value, field.type)
    except MalformedPayload as error:
        return tuple(attrs.evolve(each, path=below(name, each.path)) for each in error.complaints)
    return ()


def suggestion(word: str, known: Collection[str]) -> str:
    """`did you mean ...?` if a known word is similar, else the list of known words."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known)) or 'none'}"


# ---- the errors of cattrs --------------------------------------------------------------------------------


def _complaints(error: BaseException, path: str, known: Collection[str] = ()) -> Iterator[Complaint]:
    if isinstance(error, cattrs.BaseValidationError):
        for part in error.exceptions:
            yield from _complaints(part, _path_of(part, path), known if _path_of(part, path) == path else ())
    elif isinstance(error, MalformedPayload):
        yield from (Complaint(below(path, c.path), c.problem, c.fix) for c in error.complaints)
    elif isinstance(error, cattrs.ForbiddenExtraKeysError):
        names = [*(document_key(f.name) for f in attrs.fields(error.cl)), *known]
        for key in sorted(error.extra_fields):
            yield Complaint(at_key(path, key), UNKNOWN_KEY, suggestion(key, names))
    elif isinstance(error, KeyError):
        yield Complaint(path, "is missing", "add it")
    elif isinstance(error, ValueError | TypeError):
        yield Complaint(path, str(error))
    else:
        raise error


def _path_of(error: BaseException, path: str) -> str:
    """The path of an error, by the note of cattrs."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, cattrs.AttributeValidationNote):
            return at_key(path, document_key(note.name))
        if isinstance(note, cattrs.IterableValidationNote):
            return f"{path}[{note.index}]" if isinstance(note.index, int) else at_key(path, note.index)
    return path


def _refuse(problem: str, fix: str = "") -> NoReturn:
    raise MalformedPayload(Complaint("", problem, fix))


# ---- one hook for each kind of value --------------------------------------------------------------------


def _exactly(kind: type, expected: str, fix: str) -> Hook:
    def structure_exactly(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            _refuse(f"expected {expected}, got {kind_of(value)}", fix)
        return value

    return structure_exactly


_any_text = _exactly(str, "a text", "write it in quotes")


def _text(value: Any, tp: Any) -> Any:
    return plain_value(_any_text(value, tp))  # refuses half of a surrogate pair


def _number(value: Any, _: Any) -> float:
    if type(value) not in {int, float}:
        _refuse(f"expected a number, got {kind_of(value)}", "write it without quotes")
    try:
        return float(value)
    except OverflowError:
        pass
    _refuse("is too large a number")


def _byte_count(value: Any, _: Any) -> int:
    if type(value) is int:
        return value
    count = parse_bytes(value) if isinstance(value, str) else None
    if count is None:
        _refuse("is no number of bytes", BYTES_HINT)
    return count


def _time_of_day(value: Any, _: Any) -> datetime:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        _refuse("expected a time of day with its zone", TIME_HINT)
    moment = _moment(value)
    if moment is None:
        _refuse("is a time that no calendar has", TIME_HINT)
    if not EARLIEST <= moment <= LATEST:
        _refuse(f"is not between the years {EARLIEST.year} and {LATEST.year}", TIME_HINT)
    return moment


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _secret(value: Any, _: Any) -> Secret:
    if isinstance(value, str) and value:
        return Secret(literal=value)
    if isinstance(value, Mapping) and set(value) == {"secret"}:
        name = value["secret"]
        if isinstance(name, str) and re.fullmatch(SECRET_PATTERN, name):
            return Secret(name=name)
    _refuse(f"expected a secret, got {kind_of(value)}", 'write {secret = "its name in the worker\'s configuration"}')


def _json(value: Any, _: Any) -> Json:
    return plain_value(value)


def _choice(tp: Any) -> Hook:
    options = get_args(tp)

    def structure_choice(value: Any, _: Any) -> Any:
        if not any(type(value) is type(option) and value == option for option in options):
            names = [str(option) for option in options]
            word = value if isinstance(value, str) else ""
            _refuse("is not one of the choices", suggestion(word, names))
        return value

    return structure_choice


def _optional(tp: Any, converter: cattrs.Converter) -> Hook:
    (inner,) = (member for member in get_args(tp) if member is not type(None))
    hook = converter.get_structure_hook(inner)
    return lambda value, _: None if value is None else hook(value, inner)


def _list(tp: Any, converter: cattrs.Converter) -> Hook:
    inner = homogenous_tuple_structure_factory(tp, converter)

    def structure_list(value: Any, _: Any) -> Any:
        if not isinstance(value, list | tuple):
            _refuse(f"expected a list, got {kind_of(value)}", "write a list in brackets, even of one")
        _check_length(value)
        return inner(value, tp)

    return structure_list


def _flag_or_list(_: Any, converter: cattrs.Converter) -> Hook:
    flag, texts = converter.get_structure_hook(bool), converter.get_structure_hook(tuple[str, ...])

    def structure_flag_or_list(value: Any, _: Any) -> Any:
        if isinstance(value, list | tuple):
            return texts(value, tuple[str, ...])
        return flag(value, bool)

    return structure_flag_or_list


def _text_or_list(_: Any, converter: cattrs.Converter) -> Hook:
    structure_list = _list(tuple[str, ...], converter)

    def structure_either(value: Any, tp: Any) -> Any:
        if isinstance(value, list | tuple):
            return structure_list(value, tp)
        if not isinstance(value, str):
            _refuse(f"expected a text or a list of texts, got {kind_of(value)}", "write it in quotes")
        return _text(value, tp)

    return structure_either


def _table(tp: Any, converter: cattrs.Converter) -> Hook:
    inner = make_mapping_structure_fn(tp, converter, structure_to=dict)

    def structure_table(value: Any, _: Any) -> Any:
        return inner(_mapping(value), tp)

    return structure_table


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        _refuse(f"expected a table, got {kind_of(value)}", "write keys and values")
    _check_length(value)
    return value


def _check_length(value: Collection[Any]) -> None:
    if len(value) > MAX_ITEMS:
        _refuse(f"has more than {MAX_ITEMS} items", DOCUMENT_HINT)


def _object(cls: type, converter: cattrs.Converter) -> Hook:
    fields = attrs.fields(attrs.resolve_types(cls))
    rest = rest_field(cls)
    hooks: Any = {
        f.name: override(omit=True)
        if f is rest
        else override(struct_hook=_field(f, converter), rename=document_key(f.name))
        for f in fields
        if f.init
    }
    inner: Hook = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, **hooks)
    with_rest = _with_rest(cls, rest, converter)

    def structure_object(value: Any, _: Any) -> Any:
        table = _mapping(value)
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
    structure_rest = _field(rest, converter)

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


def _field(field: attrs.Attribute[Any], converter: cattrs.Converter) -> Hook:
    """Decodes one field and runs its validators, so that each complaint has the path of the field."""
    hook = converter.get_structure_hook(field.type)

    def structure_field(value: Any, tp: Any) -> Any:
        decoded = hook(value, tp)
        if found := violations(field, decoded):
            raise MalformedPayload(*found)
        return decoded

    return structure_field


def _unsupported(tp: Any) -> NoReturn:
    raise Bug(f"a document cannot hold {tp}: use the types that taskrunner.schema.decode names")


def _make_converter() -> cattrs.Converter:
    """Cattrs uses the last hook that fits a type, so that the catch-all comes first."""
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook_factory(lambda _: True, _unsupported)
    for tp in (bytes, Path):
        converter.register_structure_hook(tp, lambda _, tp: _unsupported(tp))
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(bool, _exactly(bool, "true or false", "write true or false, without quotes"))
    converter.register_structure_hook(int, _exactly(int, "a whole number", "write it without quotes and fraction"))
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(datetime, _time_of_day)
    converter.register_structure_hook_factory(attrs.has, _object)
    converter.register_structure_hook(Secret, _secret)
    converter.register_structure_hook_func(is_json, _json)
    converter.register_structure_hook_func(is_byte_count, _byte_count)
    converter.register_structure_hook_factory(is_choice, _choice)
    converter.register_structure_hook_factory(is_optional, _optional)
    converter.register_structure_hook_factory(is_list, _list)
    converter.register_structure_hook_factory(is_flag_or_list, _flag_or_list)
    converter.register_structure_hook_factory(is_table, _table)
    converter.register_structure_hook_factory(is_text_or_list, _text_or_list)
    return converter


_CONVERTER = _make_converter()
