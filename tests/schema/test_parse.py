"""Files to plain values: the three formats, and what they would decide silently."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.limits import MAX_DOCUMENT
from taskrunner.schema.parse import MAX_DEPTH, MAX_NODES, parse_document, plain_value, read_document


def complaints(text: str | bytes, form: str) -> list[Complaint]:
    with pytest.raises(MalformedPayload) as caught:
        parse_document(text, "task", form)
    assert caught.value.__context__ is None, "the error of a parser quotes the document"
    return list(caught.value.complaints)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("task.toml", 'id = "a"\nwhen = 2030-01-31T12:00:00Z\n[[artifacts]]\nname = "x"\n'),
        ("task.yaml", "id: a\nwhen: 2030-01-31T12:00:00+00:00\nartifacts:\n- name: x\n"),
        ("task.yml", "id: a\nwhen: 2030-01-31T12:00:00+00:00\nartifacts: [{name: x}]\n"),
        ("task.json", '{"id": "a", "when": "2030-01-31T12:00:00+00:00", "artifacts": [{"name": "x"}]}'),
        ("TASK.JSON", '\ufeff{"id": "a", "when": "2030-01-31T12:00:00+00:00", "artifacts": [{"name": "x"}]}'),
    ],
)
def test_every_format_gives_the_same_document(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text, "utf-8")
    assert read_document(file) == {"id": "a", "when": "2030-01-31T12:00:00+00:00", "artifacts": [{"name": "x"}]}


@pytest.mark.parametrize(
    ("form", "text", "where"),
    [
        ("toml", "id = \n", "line 1, column 6"),
        ("toml", "id = 1\nid = 2\n", "line 2"),
        ("yaml", "id: a\nb: [\n", "task:3:1"),
        ("yaml", "id: a\n\tb: c\n", "task:2:1"),
        ("yaml", "id: a\nid: b\n", "task:2:1"),
        ("yaml", "id: !!python/object:os.system a\n", "task:1:5"),
        ("json", '{"id": "a",\n "b" 1}', "task:2:6"),
    ],
)
def test_an_error_names_line_and_column(form: str, text: str, where: str) -> None:
    (complaint,) = complaints(text, form)
    assert where in str(complaint)
    assert form.upper() in complaint.fix


def test_a_key_given_twice_in_json_is_refused() -> None:
    (complaint,) = complaints('{"a": {"b": 1, "b": 2}}', "json")
    assert "b is given twice" in complaint.problem


@pytest.mark.parametrize(
    ("form", "text"),
    [("json", '{"a": NaN}'), ("json", '{"a": 1e999}'), ("toml", "a = inf"), ("toml", "a = nan"), ("yaml", "a: .nan")],
)
def test_only_finite_numbers_are_accepted(form: str, text: str) -> None:
    assert complaints(text, form)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1: a", "a key that is a whole number"),
        ("a: !!binary aGk=", "which a document cannot hold"),
        ("a: !!set {x}", "which a document cannot hold"),
        ("- a", "holds a list where a table is expected"),
        ("", "holds null where a table is expected"),
    ],
)
def test_a_value_that_json_cannot_hold_is_refused(text: str, says: str) -> None:
    (complaint,) = complaints(text, "yaml")
    assert says in complaint.problem


def test_half_of_a_surrogate_pair_is_refused() -> None:
    (complaint,) = complaints('{"a": ["\\ud800"]}', "json")
    assert complaint.path == "task: a[0]"


def test_aliases_are_expanded_up_to_a_limit() -> None:
    assert parse_document("a: &x [1, 2]\nb: *x\n", "task", "yaml") == {"a": [1, 2], "b": [1, 2]}
    document = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
    document += "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    assert str(MAX_NODES) in complaints(document, "yaml")[0].problem
    assert complaints("a: &a [*a]\n", "yaml"), "a list inside itself"


@pytest.mark.parametrize(
    ("form", "text"),
    [("json", '{"a":' * 100_000), ("json", '{"a":' + "[" * 80 + "]" * 80 + "}"), ("toml", "a = " + "[" * 100_000)],
)
def test_deep_json_and_toml_are_refused(form: str, text: str) -> None:
    (complaint,) = complaints(text, form)
    assert "nested" in complaint.problem


def test_deep_yaml_is_refused() -> None:
    (complaint,) = complaints("a: " + "[" * 100_000, "yaml")  # hypothesis raises the limit of recursion
    assert "nested" in complaint.problem


def test_depth_is_counted_from_the_top() -> None:
    value: object = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    assert plain_value(value) == value
    with pytest.raises(MalformedPayload):
        plain_value([value])


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    (complaint,) = complaints('{"a": ' + "9" * 5000 + "}", "json")
    assert "a number or a date that cannot be read" in complaint.problem


def test_a_document_that_is_too_large_or_not_utf_8_is_refused() -> None:
    assert "larger" in complaints(b"#" * (MAX_DOCUMENT + 1), "toml")[0].problem
    assert "byte 5 is not UTF-8" in complaints(b'a = "\xff"', "toml")[0].problem


@pytest.mark.parametrize(
    "text",
    [
        '\n {"a": "b = c"}',
        '{"a":\n"b = c"}',
        '\ufeff# a: c\n\na = "b = c"',
        "'a' = \"b = c\"",
        "a: b = c",
        "---\na: b = c",
        '"a": b = c',
    ],
)
def test_the_format_of_a_text_is_recognised_by_its_first_line(text: str) -> None:
    assert parse_document(text, "stdin") == {"a": "b = c"}


def test_a_text_that_begins_with_a_table_is_toml() -> None:
    assert parse_document("[build]\npush = true", "stdin") == {"build": {"push": True}}


def test_the_error_of_an_unreadable_file_names_it(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.toml", tmp_path / "noformat"):
        with pytest.raises(MalformedPayload, match=path.name):
            read_document(path)
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    with pytest.raises(MalformedPayload, match="Is a directory"):
        read_document(folder)
