"""Every kind of malformed request, and what it gets."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from taskrunner.model import Submission
from tests.support.http_server import TOKEN, HttpServer

AUTH = f"Authorization: Bearer {TOKEN}\r\n".encode()
HOST = b"Host: localhost\r\n"
GOOD = {"platform": "process", "command": ["true"]}
JSON, TOML, YAML = "application/json", "application/toml", "application/yaml"


def task(**fields: Any) -> str:
    return json.dumps(GOOD | fields)


DOCUMENTS = {
    "nothing": ("", JSON, 422, "body"),
    "half a JSON": ('{"platform":', JSON, 422, "body"),
    "a list": ("[]", JSON, 422, "table"),
    "a number": ("7", JSON, 422, "table"),
    "null": ("null", JSON, 422, "table"),
    "no UTF-8": (b"\xff\xfe{}", JSON, 422, "body"),
    "NaN": ('{"platform": "process", "command": ["true"], "max_run_time": NaN}', JSON, 422, "NaN"),
    "a key given twice": ('{"platform": "process", "platform": "docker"}', JSON, 422, "platform"),
    "lists in lists": ('{"platform": "process", "metadata": ' + "[" * 500 + "]" * 500 + "}", JSON, 422, "body"),
    "a lone surrogate": ('{"platform": "process", "command": ["\\ud800"]}', JSON, 422, "command"),
    "half a TOML": ("platform = ", TOML, 422, "body"),
    "JSON that is called TOML": (task(), TOML, 422, "body"),
    "an alias that expands": ("a: &a [x]\nb: &b [*a,*a,*a]\nplatform: process", YAML, 422, "known"),
    "a tag of YAML": ("platform: !!python/object:os.system x", YAML, 422, "body"),
    "no platform": ("{}", JSON, 422, "platform"),
    "a platform that is a number": (task(platform=7), JSON, 422, "platform"),
    "an unknown key": (task(comand=["x"]), JSON, 422, "comand"),
    "a text for a list": (task(command="rm -rf /"), JSON, 422, "command"),
    "a negative limit": (task(max_run_time=-1), JSON, 422, "max_run_time"),
    "a priority beyond all": (task(priority=10**30), JSON, 422, "priority"),
    "an id with a slash": (task(id="a/b"), JSON, 422, "id"),
    "an id that leads up": (task(id=".."), JSON, 422, "id"),
    "an id with a new line": (task(id="a\nb"), JSON, 422, "id"),
    "an artifact that leads up": (task(artifacts=[{"name": "../x", "path": "x"}]), JSON, 422, "artifacts[0].name"),
    "a path as repository": (task(source={"repository": "/etc", "ref": "main"}), JSON, 422, "source.repository"),
    "a file as repository": (task(source={"repository": "file:///etc", "ref": "main"}), JSON, 422, "source.repository"),
    "a repository over ssh": (
        task(source={"repository": "git@git.example.com:x/y", "ref": "main"}), JSON, 422, "source.repository",
    ),
    "more than a megabyte": ('{"platform": "' + "x" * (1 << 20) + '"}', JSON, 413, "1048576"),
    "a form": ("platform=process", "application/x-www-form-urlencoded", 415, "Content-Type"),
    "plain text": (task(), "text/plain", 415, "Content-Type"),
    "no type": (task(), "", 415, "Content-Type"),
}  # fmt: skip
"""The body of a submission and its type, with the status and a word of the answer."""


@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_malformed_document_is_refused_with_its_complaints(http: httpx.Client, case: str) -> None:
    body, media, status, word = DOCUMENTS[case]
    answer = http.post("/v1/tasks", content=body, headers={"Content-Type": media} if media else {})
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), problem
    assert word in answer.text
    assert problem["status"] == status
    assert status != 422 or all(each["problem"] for each in problem["complaints"])
    queued = {each["id"] for each in http.get("/v1/tasks").json()["tasks"]}
    assert queued <= {"known", "good"}, "nothing was queued"


def test_all_complaints_come_at_once(http: httpx.Client) -> None:
    wrong = task(comand=[], max_run_time=0, source={"repository": "/etc", "ref": "main"}, id="other")
    answer = http.put("/v1/tasks/this", content=wrong, headers={"Content-Type": JSON}).json()
    paths = {each["path"] for each in answer["complaints"]}
    assert paths == {"id", "comand", "max_run_time", "source.repository"}


REQUESTS = {
    "an unknown path": (b"GET /v1/nothing HTTP/1.1\r\n" + HOST + AUTH, 404, b"problem"),
    "a slash too many": (b"GET /v1/tasks/ HTTP/1.1\r\n" + HOST + AUTH, 404, b"problem"),
    "another method": (b"DELETE /v1/tasks HTTP/1.1\r\n" + HOST + AUTH, 405, b"problem"),
    "an unknown task": (b"GET /v1/tasks/none HTTP/1.1\r\n" + HOST + AUTH, 404, b"no task"),
    "an id that leads up": (b"GET /v1/tasks/..%2f..%2fetc HTTP/1.1\r\n" + HOST + AUTH, 404, b"problem"),
    "an id of zero bytes": (b"GET /v1/tasks/%00 HTTP/1.1\r\n" + HOST + AUTH, 404, b"no task"),
    "no UTF-8 in the path": (b"GET /v1/tasks/%ff HTTP/1.1\r\n" + HOST + AUTH, 404, b"no task"),
    "an unknown parameter": (b"GET /v1/tasks?limt=1 HTTP/1.1\r\n" + HOST + AUTH, 422, b"query.limt"),
    "a parameter given twice": (b"GET /v1/tasks?limit=1&limit=2 HTTP/1.1\r\n" + HOST + AUTH, 422, b"twice"),
    "a limit of words": (b"GET /v1/tasks?limit=all HTTP/1.1\r\n" + HOST + AUTH, 422, b"query.limit"),
    "a limit beyond all": (b"GET /v1/tasks?limit=99999999999999999999 HTTP/1.1\r\n" + HOST + AUTH, 422, b"query.limit"),
    "a limit in other digits": (b"GET /v1/tasks?limit=%D9%A3 HTTP/1.1\r\n" + HOST + AUTH, 422, b"query.limit"),
    "a negative offset": (b"GET /v1/tasks/known/log?offset=-1 HTTP/1.1\r\n" + HOST + AUTH, 422, b"query.offset"),
    "a flag that is none": (b"GET /v1/tasks/known/log?follow=yes HTTP/1.1\r\n" + HOST + AUTH, 422, b"query.follow"),
    "a run that is none": (b"GET /v1/tasks/known/log?run=5 HTTP/1.1\r\n" + HOST + AUTH, 422, b"query.run"),
    "an artifact that leads up": (
        b"GET /v1/tasks/known/artifacts/..%2f..%2fqueue.db HTTP/1.1\r\n" + HOST + AUTH, 422, b"names no artifact",
    ),
    "an artifact from the root": (
        b"GET /v1/tasks/known/artifacts//etc/passwd HTTP/1.1\r\n" + HOST + AUTH, 422, b"names no artifact",
    ),
    "an artifact with a header": (
        b"GET /v1/tasks/known/artifacts/a%0d%0aSet-Cookie:x HTTP/1.1\r\n" + HOST + AUTH, 404, b"problem",
    ),
    "an artifact named as the log": (
        b"GET /v1/tasks/known/artifacts/log HTTP/1.1\r\n" + HOST + AUTH, 422, b"reserved",
    ),
    "an artifact that is not there": (b"GET /v1/tasks/known/artifacts/x HTTP/1.1\r\n" + HOST + AUTH, 404, b"artifact"),
    "a reason that is no JSON": (
        b"POST /v1/tasks/known/cancel HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 3\r\n"
        + HOST + AUTH + b"\r\nbad", 422, b"body",
    ),
    "no token": (b"GET /v1/tasks HTTP/1.1\r\n" + HOST, 401, b'www-authenticate: Bearer realm="taskrunner"'),
    "another token": (b"GET /v1/tasks HTTP/1.1\r\nAuthorization: Bearer x\r\n" + HOST, 401, b"www-authenticate"),
    "half a token": (
        b"GET /v1/tasks HTTP/1.1\r\nAuthorization: Bearer " + TOKEN[:-1].encode() + b"\r\n" + HOST, 401, b"problem",
    ),
    "another scheme": (b"GET /v1/tasks HTTP/1.1\r\nAuthorization: Basic eDp4\r\n" + HOST, 401, b"problem"),
    "a token that is no ASCII": (b"GET / HTTP/1.1\r\nAuthorization: Bearer \xff\xfe\r\n" + HOST, 401, b"problem"),
    "a token in the URL": (b"GET /v1/tasks?token=" + TOKEN.encode() + b" HTTP/1.1\r\n" + HOST, 401, b"problem"),
    "a page of a browser": (b"GET /v1/tasks HTTP/1.1\r\nOrigin: http://x\r\n" + HOST + AUTH, 403, b"Origin"),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, b"Invalid"),
    "another version": (b"GET / HTTP/nine\r\n" + HOST, 400, b"Invalid"),
    "no host": (b"GET /v1/tasks HTTP/1.1\r\n" + AUTH, 400, b"Invalid"),
    "two lengths": (
        b"POST /v1/tasks HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n" + HOST + AUTH, 400, b"Invalid",
    ),
    "a length that is none": (
        b"POST /v1/tasks HTTP/1.1\r\nContent-Length: -1\r\n" + HOST + AUTH, 400, b"Invalid",
    ),
    "a chunk that is none": (
        b"POST /v1/tasks HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n"
        + HOST + AUTH + b"\r\nxyz\r\n", 400, b"",
    ),
    "a header without a name": (b"GET / HTTP/1.1\r\n: x\r\n" + HOST + AUTH, 400, b"Invalid"),
    "a header of two lines": (b"GET / HTTP/1.1\r\nX: a\x00b\r\n" + HOST + AUTH, 400, b"Invalid"),
    "a head without an end": (b"GET / HTTP/1.1\r\nX: " + b"a" * (64 << 10), 400, b"Invalid"),
}  # fmt: skip
"""A request up to the end of its head, with the status and a text of the answer."""


@pytest.mark.parametrize("case", REQUESTS)
def test_a_malformed_request_is_refused(server: HttpServer, case: str) -> None:
    head, status, text = REQUESTS[case]
    if b"/known" in head and not server.do(lambda queue: queue.matching("known")):
        server.do(lambda queue: queue.submit(Submission("known", GOOD)))
        server.claim()
    whole = head if b"\r\n\r\n" in head else head + b"\r\n"
    answer = server.exchange(re.sub(rb"\r\nHost", b"\r\nConnection: close\r\nHost", whole, count=1))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert text in answer
    assert b"Set-Cookie" not in answer.split(b"\r\n\r\n")[0]


def test_the_worker_goes_on_after_them(http: httpx.Client, server: HttpServer) -> None:
    answer = http.put("/v1/tasks/good", content=task(), headers={"Content-Type": JSON})
    assert answer.status_code == 201, answer.text
    assert server.claim().task_id == "good"
