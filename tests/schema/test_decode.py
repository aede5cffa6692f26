"""Plain values to attrs classes: nothing is coerced, and every complaint comes at once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from attrs.validators import and_, deep_iterable, ge, in_, le, matches_re, max_len, min_len, optional

from taskrunner.errors import Bug, MalformedPayload
from taskrunner.model import Json, Secret
from taskrunner.schema.decode import decode


def not_odd(_: object, __: object, value: int) -> None:
    if value % 2:
        raise ValueError(f"{value} is odd")


@attrs.frozen
class Inner:
    token: Secret | None = None
    args: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Outer:
    command: tuple[str, ...] = attrs.field(validator=min_len(1))
    on: bool = False
    count: int = attrs.field(default=0, validator=[ge(0), le(9)])
    ratio: float = 0.0
    when: datetime | None = None
    how: Literal["fast", "slow"] = "fast"
    inner: Inner = Inner()
    inners: tuple[Inner, ...] = ()
    named: Mapping[str, Inner] = attrs.field(factory=dict)
    extra: Mapping[str, Json] = attrs.field(factory=dict)
    even: int = attrs.field(default=0, validator=not_odd)
    api_token: int = attrs.field(default=0, validator=not_odd)
    word: str | None = attrs.field(default=None, validator=optional(and_(matches_re("[a-z]+"), max_len(3))))
    level: str = attrs.field(default="low", validator=in_(("low", "high")))
    codes: tuple[int, ...] = attrs.field(default=(), validator=deep_iterable(and_(ge(0), le(255)), min_len(0)))


def complaints(document: object, cls: type = Outer, path: str = "") -> dict[str, str]:
    with pytest.raises(MalformedPayload) as caught:
        decode(cls, document, path)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    return {complaint.path: f"{complaint.problem} ({complaint.fix})" for complaint in caught.value.complaints}


def test_all_types() -> None:
    document = {
        "command": ["make", "test"],
        "on": True,
        "count": 3,
        "ratio": 1,
        "when": "2030-01-31T12:00:00.5+02:00",
        "how": "slow",
        "inner": {"token": {"secret": "git"}, "args": {"A": "b"}},
        "inners": [{"token": "literal"}, {"token": None}],
        "named": {"a b": {}},
        "extra": {"x": [1, None, {"y": 1.5}]},
        "word": "abc",
        "level": "high",
        "codes": [0, 255],
    }
    assert decode(Outer, document) == Outer(
        command=("make", "test"),
        on=True,
        count=3,
        ratio=1.0,
        when=datetime(2030, 1, 31, 10, 0, 0, 500000, UTC),
        how="slow",
        inner=Inner(Secret("git"), {"A": "b"}),
        inners=(Inner(Secret(literal="literal")), Inner()),
        named={"a b": Inner()},
        extra={"x": [1, None, {"y": 1.5}]},
        word="abc",
        level="high",
        codes=(0, 255),
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("command", "rm"),
        ("command", {"a": 1}),
        ("command", None),
        ("on", "yes"),
        ("on", 1),
        ("on", 0),
        ("count", 1.0),
        ("count", True),
        ("count", "1"),
        ("count", None),
        ("ratio", True),
        ("ratio", "1"),
        ("ratio", 10**400),
        ("when", "2030-01-31"),
        ("when", "2030-01-31T12:00:00"),
        ("when", "2030-02-31T12:00:00Z"),
        ("when", "0001-01-01T00:00:00+23:00"),
        ("when", 1893456000),
        ("how", "Fast"),
        ("how", 1),
        ("inner", []),
        ("inner", "x"),
        ("inner", None),
        ("inners", {}),
        ("extra", []),
        ("extra", {1: 2}),
        ("extra", {"x": {1}}),
        ("word", "ABC"),
        ("level", "\ud800"),
        ("word", "abcd"),
        ("level", "middle"),
    ],
)
def test_nothing_is_coerced(key: str, value: object) -> None:
    found = complaints({"command": ["x"]} | {key: value})
    assert len(found) == 1
    assert next(iter(found)).startswith(key)


def test_every_complaint_at_once_each_with_its_path() -> None:
    found = complaints(
        {
            "command": ["a", 1, None],
            "comand": [],
            "count": 10,
            "inner": {"args": {"VERSION": 1, "a.b": 2}, "tokn": "x"},
            "inners": [{}, {"token": 5}, 7],
            "named": {"registry.example:5000": {"args": []}},
            "codes": [256, -1],
        }
    )
    assert set(found) == {
        "command[1]",
        "command[2]",
        "comand",
        "count",
        "inner.args.VERSION",
        'inner.args["a.b"]',
        "inner.tokn",
        "inners[1].token",
        "inners[2]",
        'named["registry.example:5000"].args',
        "codes[0]",
        "codes[1]",
    }
    assert "did you mean command?" in found["comand"]
    assert "did you mean token?" in found["inner.tokn"]
    assert "at most 9" in found["count"]
    assert "at most 255" in found["codes[0]"]


def test_a_given_path_precedes_every_path() -> None:
    assert set(complaints({"on": 1}, path="docker")) == {"docker.command", "docker.on"}
    assert set(complaints(5, path="docker")) == {"docker"}


def test_a_missing_field_is_a_complaint() -> None:
    assert complaints({}) == {"command": "is missing (add it)"}


@pytest.mark.parametrize(
    "value", ["", 5, None, {}, {"secret": ""}, {"secret": 5}, {"secret": "a", "b": 1}, {"Secret": "a"}]
)
def test_a_secret_that_is_neither_text_nor_name_is_refused(value: object) -> None:
    @attrs.frozen
    class Needs:
        token: Secret

    assert list(complaints({"token": value}, Needs)) == ["token"]


def test_no_complaint_repeats_a_value() -> None:
    value = "hunter2"
    document: dict[str, Any] = {field.name: value for field in attrs.fields(Outer)}
    document["inner"] = {"token": [value], "args": {"TOKEN": [value], "PASSWORD": {value: value}}}
    document["inners"] = [value, {"token": {"secret": value + "!"}}, {"token": {"secrets": value}}]
    document["api_token"] = 90071
    with pytest.raises(MalformedPayload) as caught:
        decode(Outer, document)
    assert value not in repr(caught.value)
    assert value not in str(caught.value)
    assert "90071" not in str(caught.value)
    assert value not in repr(decode(Inner, {"token": value}))


def test_the_number_of_complaints_is_bounded() -> None:
    assert len(complaints({"command": ["x"]} | {f"count{n}": 1 for n in range(1000)})) == 100
    assert complaints({"command": [1] * 10_001}) == {
        "command": "has more than 10000 items (let the task fetch its data)"
    }
    assert set(complaints({f"key{n}": 1 for n in range(10_001)})) == {""}
    assert max(map(len, complaints({"command": ["x"], "k" * 5000: 1}))) < 200


def test_the_text_of_another_validator_is_shown() -> None:
    assert complaints({"command": ["x"], "even": 3}) == {"even": "3 is odd ()"}


def test_control_characters_in_a_key_are_escaped() -> None:
    assert list(complaints({"command": ["x"], "a\x1b[2J": 1})) == ['["a\\x1b[2J"]']


def test_an_error_of_the_whole_object_has_its_path() -> None:
    @attrs.frozen
    class Pair:
        low: int = 0
        high: int = 0

        def __attrs_post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low is above high")

    assert complaints({"low": 2}, Pair, "range") == {"range": "low is above high ()"}


@pytest.mark.parametrize("tp", [Path, bytes, set[str], list[str], int | str, Any, dict[int, str]])
def test_a_class_that_a_document_cannot_fill_is_a_bug(tp: Any) -> None:
    with pytest.raises(Bug, match="a document cannot hold"):
        decode(attrs.make_class("Odd", {"field": attrs.field(type=tp)}), {"field": "x"})
