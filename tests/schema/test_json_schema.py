"""The published schema and the decoder are made from the same classes, and agree."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any

import attrs
import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from taskrunner.errors import MalformedPayload
from taskrunner.schema.json_schema import documentation, object_schema, task_schema
from taskrunner.schema.task import decode_task
from tests.support.document_sample import CLASSES, TASK, Build, SamplePayload

SCHEMA = task_schema(CLASSES)

FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(value: object) -> bool:
    return not isinstance(value, str) or (datetime.fromisoformat(value).tzinfo is not None and "T" in value)


WHOLE = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
"""JSON Schema counts 1.0 as an integer; the decoder does not, and so does this checker."""

VALIDATOR = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=WHOLE)(
    SCHEMA, format_checker=FORMATS
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a document, from the top down."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


VALUES = [
    *(None, 0, 1, -1, 49, 50, 100, 101, -100, -101, 255, 256, 604801, 1.5, 1.0, 1e20, True, False),
    *("", "yes", "other", "sample", "none", "host", "..", "a/../b", "/abs", "a b", "A", "a\0b", "a" * 2000),
    *("x" * 128, "x" * 129, "_x", "-x", ".x", "a\x85", "A" * 1024, "A" * 1025, "🙂"),
    *("text/plain", "2030-01-31T12:00:00Z", "2030-01-31", "2030-13-31T12:00:00Z"),
    *([], {}, ["a"], [1], [[]], {"a": 1}, {"A": "b"}, {"secret": "git"}, {"secret": ""}, {"1": "x"}, {"a b": "c"}),
]

mutations = st.tuples(
    st.sampled_from([place for place in places(TASK) if place]),
    st.sampled_from(["delete", "replace", "replace", "replace", "wrap", "add"]),
    st.sampled_from(VALUES),
    st.sampled_from(["zzz", "word", "command", "token", "A"]),
)


def mutate(document: Any, place: tuple[Any, ...], how: str, value: Any, key: str) -> None:
    """One change; none where an earlier change has removed the place."""
    *above, last = place
    try:
        for step in above:
            document = document[step]
        old = document[last]
    except (KeyError, IndexError, TypeError):
        return
    if not isinstance(document, dict | list):
        return  # a character of a text
    if how == "delete":
        del document[last]
    elif how == "add" and isinstance(document, dict):
        document[key] = copy.deepcopy(value)
    else:
        document[last] = [old] if how == "wrap" else copy.deepcopy(value)


RELATIONS = ("is named twice", "is the place of two caches", "is in env too", "is over before not_before")


def is_decoded(document: Any) -> bool:
    """Whether the decoder has no complaint, except those that relate several fields to each other."""
    try:
        decode_task(document, CLASSES)
    except MalformedPayload as error:
        return all(complaint.problem.endswith(RELATIONS) for complaint in error.complaints)
    return True


def test_the_schema_is_valid_and_accepts_the_sample() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    VALIDATOR.validate(TASK)
    VALIDATOR.validate({"platform": "other", "word": "x"})
    assert is_decoded(TASK)


@settings(max_examples=500, deadline=None)
@given(st.lists(mutations, min_size=1, max_size=3))
def test_schema_and_decoder_agree(changes: list[tuple[tuple[Any, ...], str, Any, str]]) -> None:
    document = copy.deepcopy(dict(TASK))
    for change in changes:
        mutate(document, *change)
    assert VALIDATOR.is_valid(document) == is_decoded(document)


def test_schema_and_decoder_agree_on_every_single_replacement() -> None:
    verdicts = set()
    for place in places(TASK):
        for value in VALUES:
            document = copy.deepcopy(dict(TASK))
            if place:
                mutate(document, place, "replace", value, "")
            assert VALIDATOR.is_valid(document) == is_decoded(document), (place, value)
            verdicts.add(is_decoded(document))
    assert verdicts == {True, False}


def test_schema_and_decoder_limit_the_length_of_lists_and_tables() -> None:
    for change in ({"command": ["a"] * 10_001}, {"env": {f"A{n}": "" for n in range(10_001)}}):
        assert not VALIDATOR.is_valid(TASK | change)
        assert not is_decoded(TASK | change)


def test_a_platform_accepts_its_own_fields_only() -> None:
    assert not VALIDATOR.is_valid({"platform": "other", "word": "x", "command": ["a"]})
    assert not VALIDATOR.is_valid({"platform": "unknown"})
    assert not VALIDATOR.is_valid({"word": "x"})


def test_limits_defaults_and_descriptions_are_in_the_schema() -> None:
    common = SCHEMA["properties"]
    assert common["max_run_time"]["maximum"] == 604800
    assert common["max_run_time"]["default"] == 3600
    assert common["platform"]["enum"] == ["other", "sample"]
    assert common["env"]["propertyNames"]["pattern"] == "^(?:[A-Za-z_][A-Za-z0-9_]*)$"
    assert common["artifacts"]["items"]["properties"]["path"]["description"].startswith("Where it is")
    assert object_schema(SamplePayload)["properties"]["command"]["minItems"] == 1
    assert object_schema(SamplePayload)["properties"]["memory"]["anyOf"][0] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 1 << 40,
    }


def test_every_common_field_is_described() -> None:
    assert [name for name, field in SCHEMA["properties"].items() if not field.get("description")] == []


def test_descriptions_come_from_docstrings_and_metadata() -> None:
    assert documentation(SamplePayload) == {"command": "Program and arguments, one by one."}
    assert documentation(Build) == {"repository": "Where git fetches from."}
    assert documentation(attrs.make_class("Made", ["x"])) == {}
