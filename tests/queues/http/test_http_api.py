"""The API as its document describes it: submit, status, list, cancel, retry, log, artifacts, events."""

from __future__ import annotations

import json
from typing import Any

import httpx
import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from taskrunner.model import COMPLETED, Claim, Progress
from taskrunner.queues.http.operations import ANY, OPERATIONS, PREFIX, Operation
from taskrunner.stores.folder import FolderStore
from tests.support.http_server import HttpServer

JSON = {"Content-Type": "application/json"}
SECRET = "literal-secret-0d9b"


def put(http: httpx.Client, task_id: str, **fields: Any) -> httpx.Response:
    document = {"platform": "process", "command": ["true"], **fields}
    return http.put(f"/v1/tasks/{task_id}", content=json.dumps(document), headers=JSON)


def finished(server: HttpServer, http: httpx.Client, task_id: str) -> Claim:
    """A task whose run is over."""
    put(http, task_id)
    claim = server.claim()
    server.do(lambda queue: queue.resolve(claim, COMPLETED))
    return claim


def test_a_submission_may_be_repeated_and_not_changed(http: httpx.Client, server: HttpServer) -> None:
    first, again = put(http, "twice"), put(http, "twice")
    assert (first.status_code, first.headers["location"]) == (201, "/v1/tasks/twice")
    assert (again.status_code, again.json()) == (200, first.json())
    changed = put(http, "twice", command=["false"])
    assert changed.status_code == 409
    assert "another document" in changed.json()["detail"]
    assert server.claim().task_id == "twice"


@pytest.mark.parametrize(
    ("media", "text"),
    [
        ("application/json", '{"platform": "process", "command": ["true"], "name": "a name"}'),
        ("application/toml; charset=utf-8", 'platform = "process"\ncommand = ["true"]\nname = "a name"'),
        ("application/yaml", "platform: process\ncommand: ['true']\nname: a name"),
    ],
)
def test_a_task_without_an_id_gets_one_in_every_format(
    http: httpx.Client, server: HttpServer, media: str, text: str
) -> None:
    answer = http.post("/v1/tasks", content=text, headers={"Content-Type": media})
    assert answer.status_code == 201
    assert answer.json()["name"] == "a name"
    assert answer.headers["location"] == f"/v1/tasks/{server.claim().task_id}"


def test_a_task_is_cancelled_and_run_again(http: httpx.Client, server: HttpServer) -> None:
    put(http, "again")
    done = http.post("/v1/tasks/again/cancel", content='{"message": "not today"}', headers=JSON).json()
    assert done["done"]
    assert done["task"]["resolution"]["message"] == "not today"
    assert not http.post("/v1/tasks/again/cancel").json()["done"], "it had ended"
    assert http.get("/v1/counts").json() == {"pending": 0}
    assert http.post("/v1/tasks/again/retry").json() | {"task": None} == {"done": True, "task": None}
    assert http.get("/v1/counts").json() == {"pending": 1}
    assert server.claim().task_id == "again"


def test_lists_have_the_newest_first_and_ids_are_found(http: httpx.Client, server: HttpServer) -> None:
    for task_id in ("list-a", "list-b"):
        finished(server, http, task_id)
    assert [each["id"] for each in http.get("/v1/tasks?limit=2").json()["tasks"]] == ["list-b", "list-a"]
    assert http.get("/v1/ids", params={"prefix": "list-"}).json() == {"ids": ["list-a", "list-b"]}


def test_a_secret_in_a_document_is_never_answered(http: httpx.Client, server: HttpServer) -> None:
    answers = [put(http, "hidden", secrets={"KEY": SECRET}, source={"archive": "https://x.example/a.tar.gz"})]
    answers += [http.get(f"/v1/tasks{path}") for path in ("", "/hidden")]
    answers += [http.post("/v1/tasks/hidden/cancel"), http.get("/v1/tasks/hidden/events")]
    assert all(answer.is_success and SECRET not in answer.text for answer in answers), answers


def test_events_end_with_the_answer_and_go_on_after_the_last_id(http: httpx.Client, server: HttpServer) -> None:
    claim = finished(server, http, "followed")
    store(server, claim)
    events = followed(http, "followed")
    assert [kind for kind, _, _ in events] == ["log", "answer"]
    assert events[0][2] | {"at": None} == log_event(0, "erste Zeile ü\nzweite Zeile\n")
    resumed = followed(http, "followed", "0.0.15")
    assert resumed[0][2]["text"] == "zweite Zeile\n"
    assert resumed[-1] == events[-1]
    assert followed(http, "followed", "nonsense\x7f") == events, "an id of somebody else begins at the beginning"
    assert [kind for kind, _, _ in followed(http, "followed", log="false")] == ["answer"]


def log_event(offset: int, text: str) -> dict[str, Any]:
    return {"run_id": 0, "offset": offset, "text": text, "stream": "", "at": None}


def test_a_follower_learns_of_progress(http: httpx.Client, server: HttpServer) -> None:
    put(http, "moving")
    claim = server.claim()
    with http.stream("GET", "/v1/tasks/moving/events") as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: status"
        server.do(lambda queue: queue.progress(claim, Progress("pull", 5, 10, "B", "half")))
        assert next(line for line in lines if line.startswith("event: ")) == "event: progress"
        assert json.loads(next(lines).removeprefix("data: ")) == {
            "run_id": 0, "step": "pull", "done": 5, "total": 10, "unit": "B", "note": "half",
        }  # fmt: skip
        server.do(lambda queue: queue.resolve(claim, COMPLETED))
        assert "event: answer" in list(lines)


def test_logs_and_artifacts_are_read_from_an_offset(http: httpx.Client, server: HttpServer) -> None:
    claim = finished(server, http, "kept")
    store(server, claim)
    assert http.get("/v1/tasks/kept/log?offset=15").text == "zweite Zeile\n"
    assert http.get("/v1/tasks/kept/log?follow=true&run=0").text.startswith("erste")
    listed = http.get("/v1/tasks/kept/artifacts").json()
    assert [each["name"] for each in listed["artifacts"]] == ["public/a b.html"]
    page = http.get("/v1/tasks/kept/artifacts/public/a%20b.html?offset=3")
    assert page.text == "page"
    assert page.headers["content-disposition"] == "attachment"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["content-length"] == "4"
    assert http.get("/v1/tasks/kept/artifacts/public/a%20b.html?offset=99").status_code == 416


def store(server: HttpServer, claim: Claim) -> None:
    """What the worker of a run leaves: a log, and an artifact."""

    async def main(_: object) -> None:
        kept = FolderStore(server.home / "artifacts")
        log = server.home / "spool"
        log.write_text("erste Zeile ü\nzweite Zeile\n")
        await kept.put_log(claim.run, log)
        await kept.put(claim.run, "public/a b.html", _body(b"my page"))
        await kept.close()

    server.do(main)


async def _body(data: bytes) -> Any:
    yield data


def followed(http: httpx.Client, task_id: str, last_id: str = "", **params: str) -> list[tuple[str, str, Any]]:
    """The events of a task: kind, id and data."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    text = http.get(f"/v1/tasks/{task_id}/events", params=params, headers=headers).text
    return [event_of(part) for part in text.split("\n\n") if part]


def event_of(text: str) -> tuple[str, str, Any]:
    fields = dict(line.split(": ", 1) for line in text.split("\n"))
    return fields["event"], fields.get("id", ""), json.loads(fields["data"])


def test_the_openapi_document_is_valid_and_has_every_operation(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    OpenAPIV31SpecValidator(document).validate()
    there = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert there == {(each.method, PREFIX + each.path) for each in OPERATIONS}


def test_answers_are_of_the_classes_of_the_document(http: httpx.Client, server: HttpServer) -> None:
    document = http.get("/openapi.json").json()
    finished(server, http, "described")
    paths = ["/tasks", "/tasks/{id}", "/tasks/{id}/artifacts", "/counts", "/ids"]
    for path in paths:
        answer = http.get(PREFIX + path.replace("{id}", "described")).json()
        described = document["paths"][PREFIX + path]["get"]["responses"]["200"]["content"]["application/json"]
        jsonschema.validate(answer, {**described["schema"], "components": document["components"]})
    unknown = http.get("/v1/tasks/none").json()
    jsonschema.validate(unknown, {**document["components"]["schemas"]["Problem"], "components": document["components"]})


def responses(http: httpx.Client, path: str, method: str = "get") -> dict[str, Any]:
    """What the document says of one operation."""
    found: dict[str, Any] = http.get("/openapi.json").json()["paths"][PREFIX + path][method]["responses"]
    return found


@pytest.mark.parametrize("each", OPERATIONS, ids=lambda each: each.name)
def test_an_unknown_parameter_is_refused_as_the_document_says(http: httpx.Client, each: Operation) -> None:
    path = PREFIX + each.path.replace("{id}", "nothing").replace("{name}", "nothing")
    answer = http.request(each.method, path, params={"nothing": "1"})
    assert answer.status_code == 422
    assert "422" in responses(http, each.path, each.method.lower())


def test_the_document_knows_the_type_and_the_end_of_an_artifact(http: httpx.Client, server: HttpServer) -> None:
    store(server, finished(server, http, "typed"))
    path = "/tasks/{id}/artifacts/{name}"
    url = PREFIX + path.format(id="typed", name="public/a%20b.html")
    known = responses(http, path)
    assert http.get(url).headers["content-type"].startswith("text/html")
    assert list(known["200"]["content"]) == [ANY]
    assert str(http.get(url, params={"offset": 99}).status_code) in known
