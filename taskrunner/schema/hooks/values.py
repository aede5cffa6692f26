"""A single value: a text, a number, a time of day, a secret, a choice."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, get_args

from taskrunner.byte_counts import BYTES_HINT, parse_bytes
from taskrunner.limits import EARLIEST, LATEST, SECRET_PATTERN, TIME_HINT
from taskrunner.model import Json, Secret
from taskrunner.schema.complaints import refusal, suggestion
from taskrunner.schema.parse import kind_of, plain_value

Hook = Callable[[Any, Any], Any]
"""Takes a value and the type that it must be of. Raises MalformedPayload, whose paths begin at the value."""

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")


def _exactly(kind: type, expected: str, fix: str) -> Hook:
    def structure_exactly(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise refusal(f"expected {expected}, got {kind_of(value)}", fix)
        return value

    return structure_exactly


_any_text = _exactly(str, "a text", "write it in quotes")
flag = _exactly(bool, "true or false", "write true or false, without quotes")
whole_number = _exactly(int, "a whole number", "write it without quotes and fraction")


def text(value: Any, tp: Any) -> Any:
    return plain_value(_any_text(value, tp))  # refuses half of a surrogate pair


def number(value: Any, _: Any) -> float:
    if type(value) not in {int, float}:
        raise refusal(f"expected a number, got {kind_of(value)}", "write it without quotes")
    try:
        return float(value)
    except OverflowError:
        raise refusal("is too large a number") from None


def byte_count(value: Any, _: Any) -> int:
    if type(value) is int:
        return value
    count = parse_bytes(value) if isinstance(value, str) else None
    if count is None:
        raise refusal("is no number of bytes", BYTES_HINT)
    return count


def time_of_day(value: Any, _: Any) -> datetime:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise refusal("expected a time of day with its zone", TIME_HINT)
    moment = _moment(value)
    if moment is None:
        raise refusal("is a time that no calendar has", TIME_HINT)
    if not EARLIEST <= moment <= LATEST:
        raise refusal(f"is not between the years {EARLIEST.year} and {LATEST.year}", TIME_HINT)
    return moment


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def secret(value: Any, _: Any) -> Secret:
    if isinstance(value, str) and value:
        return Secret(literal=value)
    if isinstance(value, Mapping) and set(value) == {"secret"}:
        name = value["secret"]
        if isinstance(name, str) and re.fullmatch(SECRET_PATTERN, name):
            return Secret(name=name)
    fix = 'write {secret = "its name in the worker\'s configuration"}'
    raise refusal(f"expected a secret, got {kind_of(value)}", fix)


def json(value: Any, _: Any) -> Json:
    return plain_value(value)


def choice(tp: Any) -> Hook:
    options = get_args(tp)

    def structure_choice(value: Any, _: Any) -> Any:
        if not any(type(value) is type(option) and value == option for option in options):
            names = [str(option) for option in options]
            word = value if isinstance(value, str) else ""
            raise refusal("is not one of the choices", suggestion(word, names))
        return value

    return structure_choice
