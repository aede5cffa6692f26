"""Whole tasks: the common fields, the payload of the platform, and the submission."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.limits import MAX_DOCUMENT
from taskrunner.model import Document, Secret, Source, Submission, Task
from taskrunner.schema.json_schema import task_schema
from taskrunner.schema.task import TASK_FIELDS, decode_task, new_task_id, submission_of
from tests.support.document_sample import CLASSES, TASK, Other, SamplePayload

MINIMAL = {"id": "a", "platform": "other", "word": "x"}


def complaints(document: Any) -> dict[str, str]:
    with pytest.raises(MalformedPayload) as caught:
        decode_task(document, CLASSES)
    return {complaint.path: f"{complaint.problem} ({complaint.fix})" for complaint in caught.value.complaints}


def test_common_fields_and_payload() -> None:
    task, payload = decode_task(TASK, CLASSES)
    assert task.deadline == datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
    assert task.secrets == {"TOKEN": Secret("git"), "PASSWORD": Secret(literal="literal")}
    assert task.on_exit_status.purge_caches == (0, 3)
    assert isinstance(payload, SamplePayload)
    assert payload.command == ("make", "test")
    assert "literal" not in repr(task).replace("literal=", "")


def test_only_the_platform_and_its_required_fields_are_required() -> None:
    task, payload = decode_task({"platform": "other", "word": "x"}, CLASSES)
    assert payload == Other("x")
    assert task == Task(id=task.id, platform="other")
    assert len(task.id) == 16


def test_complaints_about_common_fields_and_payload_come_together() -> None:
    found = complaints({"platform": "sample", "retries": -1, "priorty": 1, "comand": [], "build": {"push": 1}})
    assert set(found) == {"retries", "command", "comand", "priorty", "build.repository", "build.push"}
    assert "did you mean priority?" in found["priorty"]
    assert "did you mean command?" in found["comand"]


def test_the_complaint_about_an_unknown_platform_names_the_known_ones() -> None:
    assert complaints(MINIMAL | {"platform": "smaple", "retries": "x"}) == {
        "retries": "expected a whole number, got a text (write it without quotes and fraction)",
        "platform": "this worker has no platform of that name (did you mean sample?)",
    }
    assert "known are other, sample" in complaints({"platform": "zzz"})["platform"]
    assert "is missing" in complaints({"word": "x"})["platform"]
    assert set(complaints({"platform": ["other"]})) == {"platform"}


@pytest.mark.parametrize("document", [None, 5, "x", [], [MINIMAL]])
def test_a_task_is_a_table(document: Any) -> None:
    assert list(complaints(document)) == [""]
    with pytest.raises(MalformedPayload):
        submission_of(document)


@pytest.mark.parametrize(
    ("key", "value", "path"),
    [
        ("id", ".", "id"),
        ("id", "..", "id"),
        ("id", "", "id"),
        ("id", "a/b", "id"),
        ("id", ".a", "id"),
        ("id", "a\n", "id"),
        ("id", "a" * 129, "id"),
        ("name", "two\nlines", "name"),
        ("max_run_time", 0, "max_run_time"),
        ("max_run_time", 7 * 24 * 3600 + 1, "max_run_time"),
        ("retries", 50, "retries"),
        ("priority", 101, "priority"),
        ("env", {"1A": "x"}, "env.1A"),
        ("env", {"A=B": "x"}, 'env["A=B"]'),
        ("env", {"A": "x\0"}, "env.A"),
        ("artifacts", [{"name": "/a", "path": "a"}], "artifacts[0].name"),
        ("artifacts", [{"name": "a/../b", "path": "a"}], "artifacts[0].name"),
        ("artifacts", [{"name": "a//b", "path": "a"}], "artifacts[0].name"),
        ("artifacts", [{"name": "a/", "path": "a"}], "artifacts[0].name"),
        ("artifacts", [{"name": ".", "path": "a"}], "artifacts[0].name"),
        ("artifacts", [{"name": "", "path": "a"}], "artifacts[0].name"),
        ("artifacts", [{"name": "a\x1b[2J", "path": "a"}], "artifacts[0].name"),
        ("artifacts", [{"name": "a", "path": "//etc/passwd"}], "artifacts[0].path"),
        ("artifacts", [{"name": "a", "path": "/etc/../x"}], "artifacts[0].path"),
        ("artifacts", [{"name": "a", "path": "a", "expires": 0}], "artifacts[0].expires"),
        ("artifacts", [{"name": "a", "path": "a", "compression": "zip"}], "artifacts[0].compression"),
        ("artifacts", [{"name": "a", "path": "out/*", "archive": True}], "artifacts[0].path"),
        ("artifacts", [{"name": "a", "path": "a", "expires": 10**10}], "artifacts[0].expires"),
        ("artifacts", [{"name": "a", "path": "a", "expires": "1d"}], "artifacts[0].expires"),
        ("artifacts", [{"name": "a", "path": "../x"}], "artifacts[0].path"),
        ("artifacts", [{"name": "a", "path": "x/.."}], "artifacts[0].path"),
        ("artifacts", [{"name": "a", "path": "a", "content_type": "text/html\r\nX: y"}], "artifacts[0].content_type"),
        ("artifacts", [{"name": "a", "path": "a"}, {"name": "a", "path": "b"}], "artifacts"),
        ("caches", [{"name": "..", "path": "a"}], "caches[0].name"),
        ("caches", [{"name": "a/b", "path": "a"}], "caches[0].name"),
        ("caches", [{"name": "a", "path": "../a"}], "caches[0].path"),
        ("caches", [{"name": "a", "path": "a"}, {"name": "a", "path": "b"}], "caches"),
        ("caches", [{"name": "a", "path": "a"}, {"name": "b", "path": "a/"}], "caches"),
        ("secrets", {"1A": "x"}, "secrets.1A"),
        ("on_exit_status", {"retry": [0]}, "on_exit_status.retry[0]"),
        ("on_exit_status", {"purge_caches": [256]}, "on_exit_status.purge_caches[0]"),
        ("deadline", "2030-01-31T12:00:00", "deadline"),
        ("metadata", "x", "metadata"),
    ],
)
def test_the_limits_of_a_task(key: str, value: object, path: str) -> None:
    assert list(complaints(MINIMAL | {key: value})) == [path]


@pytest.mark.parametrize("path", ["report.xml", "./a/", "build/**/*.whl", ".", "a..b", "...", "a b/ü"])
def test_paths_that_stay_inside(path: str) -> None:
    task, _ = decode_task(MINIMAL | {"artifacts": [{"name": "a..b/..c", "path": path}]}, CLASSES)
    assert task.artifacts[0].path == path


def test_a_variable_in_env_and_in_secrets_is_refused() -> None:
    assert list(complaints(MINIMAL | {"env": {"A": "x"}, "secrets": {"A": "y"}})) == ["secrets.A"]


def test_a_deadline_before_not_before_is_refused() -> None:
    times = {"deadline": "2030-01-31T12:00:00Z", "not_before": "2030-01-31T13:00:00Z"}
    assert list(complaints(MINIMAL | times)) == ["deadline"]


def test_a_submission_has_the_fields_of_a_queue() -> None:
    submission = submission_of(TASK)
    assert submission == Submission(
        task_id="build-web",
        document=TASK,
        priority=-5,
        retries=2,
        not_before=datetime(2029, 1, 31, 11, 0, tzinfo=UTC),
        deadline=datetime(2030, 1, 31, 12, 0, tzinfo=UTC),
    )


def test_an_absent_id_is_generated_once() -> None:
    submission = submission_of({"platform": "other"})
    assert submission.document == {"id": submission.task_id, "platform": "other"}
    assert submission_of(submission.document) == submission


def test_a_malformed_field_does_not_prevent_a_submission() -> None:
    submission = submission_of({"id": "a", "priority": "high", "retries": 3, "deadline": "soon", "zzz": [1.5]})
    assert submission == Submission("a", submission.document, priority=0, retries=3, deadline=None)
    assert submission.document["deadline"] == "soon", "the worker will report it"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"id": "../x", "retries": "x"}, "id"),
        ({"id": 5}, "id"),
        ({"id": None}, "id"),
        ({"id": "a", "when": object()}, "when"),
        ({"id": "a", "n": float("nan")}, "n"),
        ({"id": "a", "n": "x" * MAX_DOCUMENT}, ""),
    ],
)
def test_a_document_that_cannot_be_queued_is_refused(document: Document, path: str) -> None:
    with pytest.raises(MalformedPayload) as caught:
        submission_of(document)
    assert [complaint.path for complaint in caught.value.complaints] == [path]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@given(st.dictionaries(st.sampled_from(TASK_FIELDS) | st.text(max_size=9), json_values, max_size=6))
def test_any_json_is_decoded_or_refused_with_printable_complaints(document: dict[str, Any]) -> None:
    for take in (submission_of, lambda task: decode_task(task, CLASSES)):
        for complaint in complaints_of(take, document):
            assert str(complaint).isprintable()


def complaints_of(take: Callable[[Any], object], document: object) -> Sequence[Complaint]:
    try:
        take(document)
    except MalformedPayload as error:
        return error.complaints or pytest.fail("refused without a complaint")
    return ()


def test_ids_are_unique_and_sort_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000_000_000_000
    ids = []
    for step in range(100):
        monkeypatch.setattr("time.time_ns", lambda step=step: now + step * 1_000_000)
        ids.append(new_task_id())
    assert ids == sorted(set(ids))
    assert all(Task(id=task_id, platform="x") for task_id in ids)


def test_every_mistake_in_a_source_is_named() -> None:
    found = complaints(
        MINIMAL | {"source": {"repository": "", "ref": 1, "token": 5, "submodules": "lib", "branch": "x"}}
    )
    assert set(found) == {"source.repository", "source.ref", "source.token", "source.submodules", "source.branch"}
    assert "write a URL that git can fetch from" in found["source.repository"]
    assert "expected true or false" in found["source.submodules"]
    assert set(complaints(MINIMAL | {"source": {"submodules": ["a", 1]}})) == {
        "source.repository",
        "source.submodules[1]",
    }


@pytest.mark.parametrize(("value", "expected"), [(True, True), (False, False), ([], ()), (["lib/a"], ("lib/a",))])
def test_submodules_are_all_none_or_some(value: Any, expected: Any) -> None:
    task, _ = decode_task({**MINIMAL, "source": {"repository": "x", "submodules": value}}, CLASSES)
    assert task.source == Source("x", submodules=expected)


SUM = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({}, "source.repository: is missing (write a URL that git can fetch from"),
        ({"repository": "", "archive": ""}, "source.repository: is missing"),
        ({"ref": "main"}, "source.repository: is missing"),
        ({"repository": "x", "archive": "/x"}, "source.archive: stands beside `repository` (leave one of them out)"),
        (
            {"archive": "/x", "ref": "main"},
            "source.ref: means nothing to `archive` (leave it out: it belongs to `repository`)",
        ),
        ({"archive": "/x", "submodules": False}, "source.submodules: means nothing to `archive`"),
        ({"repository": "x", "sha256": SUM}, "source.sha256: means nothing to `repository`"),
        ({"repository": "x", "strip": 1}, "source.strip: means nothing to `repository`"),
        (
            {"archive": "src.tar"},
            "source.archive: is not of the form it needs (write an https:// URL, or the full path",
        ),
        ({"archive": "ftp://x/src.tar"}, "source.archive: is not of the form it needs"),
        ({"archive": "https://"}, "source.archive: is not of the form it needs"),
        ({"archive": "https://x/a b"}, "source.archive: is not of the form it needs"),
        ({"archive": "/x\ny"}, "source.archive: is not of the form it needs"),
        ({"archive": "/x", "sha256": SUM[1:]}, "source.sha256: is not of the form it needs (write the 64 hex digits"),
        ({"archive": "/x", "sha256": "g" * 64}, "source.sha256: is not of the form it needs"),
        ({"archive": "/x", "strip": -1}, "source.strip: must be at least 0"),
        ({"archive": "/x", "strip": 17}, "source.strip: must be at most 16"),
        ({"archive": "/x", "strip": True}, "source.strip: expected a whole number"),
    ],
)
def test_a_source_is_a_repository_or_an_archive(source: Any, problem: str) -> None:
    with pytest.raises(MalformedPayload) as caught:
        decode_task({**MINIMAL, "source": source}, CLASSES)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(problem)
    assert not is_valid({**MINIMAL, "source": source}), "for the JSON Schema too"


@pytest.mark.parametrize(
    "source",
    [
        {"repository": "x", "ref": "", "archive": "", "strip": 0},
        {"archive": "/x", "repository": "", "submodules": True},
        {"archive": "https://x/y.tar.zst?signature=z", "sha256": SUM.upper(), "token": {"secret": "git"}, "strip": 1},
    ],
)
def test_fields_of_the_other_kind_may_have_their_default(source: Any) -> None:
    task, _ = decode_task({**MINIMAL, "source": source}, CLASSES)
    assert task.source is not None
    assert bool(task.source.archive) != bool(task.source.repository)
    assert is_valid({**MINIMAL, "source": source})


def is_valid(document: Any) -> bool:
    return jsonschema.Draft202012Validator(task_schema(CLASSES)).is_valid(document)
