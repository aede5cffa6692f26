"""Tasks over HTTP with curl and the verbs of another home, to a worker in a process of its own that is killed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.support.command_line import CommandLine
from tests.support.e2e import LIMIT, Site, WorkerProcess
from tests.support.ports import free_port

TOKEN = "door-token-5f31"
CONFIG = """\
[secrets]
door.env = "DOOR_TOKEN"

[queue.http]
token = {secret = "door"}

[queue.http.listen]
tokens = [{secret = "door"}]
"""


@attrs.define(eq=False)
class HttpSite(Site):
    """A home whose worker serves HTTP, and another machine's home."""

    port: int = 0
    url: str = ""

    def serve(self, verb: str = "run", *arguments: str) -> WorkerProcess:
        """A worker, or only the API, at the same port each time."""
        self.configure(CONFIG)
        self.variables["DOOR_TOKEN"] = TOKEN
        where = ("--queue" if verb == "run" else "--listen", f"http://127.0.0.1:{self.port}")
        process = WorkerProcess(self._start(verb, *where, *arguments, stderr=subprocess.STDOUT))
        self.workers.append(process)
        return process

    def curl(self, path: str, *options: str) -> str:
        """The answer to curl, which tries again until the worker listens."""
        patience = ["--retry-connrefused", "--retry", "100", "--retry-delay", "1", "--max-time", f"{LIMIT:.0f}"]
        command = ["curl", "-sSN", "--fail-with-body", *patience, "-H", "@-", *options]
        headers = f"Authorization: Bearer {TOKEN}\n"  # by stdin: the list of processes has no secret
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{self.port}{path}"], input=headers, capture_output=True, text=True, check=True
        )
        return done.stdout

    def put(self, task_id: str, script: str, **more: Any) -> dict[str, Any]:
        document = {"platform": "process", "command": ["sh", "-c", script], **more}
        file = self.folder / "document.json"
        file.write_text(json.dumps(document))
        answer = self.curl(f"/v1/tasks/{task_id}", "-T", str(file), "-H", "Content-Type: application/json")
        return json.loads(answer)  # type: ignore[no-any-return]

    def events(self, task_id: str, last_id: str = "") -> list[dict[str, Any]]:
        """The events of a task to its end, each with its kind and id."""
        text = self.curl(f"/v1/tasks/{task_id}/events", *(["-H", f"Last-Event-ID: {last_id}"] if last_id else []))
        parts = [dict(line.split(": ", 1) for line in part.split("\n")) for part in text.split("\n\n") if part]
        return [json.loads(part["data"]) | {"kind": part["event"], "id": part.get("id", "")} for part in parts]

    def close(self) -> None:
        """Nothing here is in Docker."""
        for worker in self.workers:
            worker.close()
        assert not self.processes()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[HttpSite]:
    site = HttpSite(tmp_path, port=free_port())
    yield site
    site.close()


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["text"] for event in events if event["kind"] == "log")


def test_a_task_by_curl_and_by_the_verbs_of_another_machine(site: HttpSite) -> None:
    worker = site.serve()
    site.put("ok", "echo out; mkdir p; echo made > p/f", artifacts=[{"name": "p/f", "path": "p/f"}])
    events = [event for event in site.events("ok") if event["kind"] != "progress"]
    states = [event["state"] for event in events if event["kind"] == "move"]
    assert states == ["claimed", "loading", "running", "uploading", "cleanup", "resolved"]
    assert "\nout\n" in text_of(events)
    assert (events[-1]["kind"], events[-1]["resolution"]["kind"]) == ("answer", "completed")
    middle = next(event["id"] for event in events if event["kind"] == "log")
    rest = [event for event in site.events("ok", middle) if event["kind"] != "progress"]
    assert rest == events[[event["id"] for event in events].index(middle) + 1 :]
    assert site.curl("/v1/tasks/ok/log") == text_of(events)
    assert site.curl("/v1/tasks/ok/artifacts/p/f") == "made\n"

    other = CommandLine(site.folder / "other-machine")
    other.folder.mkdir()
    (other.folder / "taskrunner.toml").write_text(CONFIG)
    other.env |= {"DOOR_TOKEN": TOKEN, "TASKRUNNER_QUEUE": f"http://127.0.0.1:{site.port}"}
    assert other("submit", other.task("far", "echo far; exit 3")).out == "far\n"
    followed = other("logs", "far", "-f", "-t")
    assert followed.status == 0, followed
    assert "Z far\n" in followed.out
    assert other("wait", "far").status == 1
    assert json.loads(other("show", "far", "--json").out)["runs"][0]["exit_code"] == 3
    for shown in (["ok"], ["far"], ["far", "--json"]):
        there, here = other("show", *shown), site.command("show", *shown)
        assert (there.out, there.status) == (here.out, 0), "it is the same as on the machine of the worker"
    assert [each["task_id"] for each in json.loads(other("list", "--json").out)] == ["far", "ok"]
    assert other("artifacts", "ok", "p/f").out == "made\n"
    assert json.loads(other("schema", "openapi").out) == json.loads(site.curl("/openapi.json"))
    assert not (other.folder / "home" / "queue.db").exists()
    worker.terminate()
    assert worker.wait() == 0, worker.output
    assert TOKEN not in worker.output


def test_a_cancel_by_curl_ends_the_command(site: HttpSite) -> None:
    site.serve()
    site.put("long", f"echo begun; sleep {site.token}")
    log = subprocess.Popen(
        ["curl", "-sN", "-H", f"Authorization: Bearer {TOKEN}", f"http://127.0.0.1:{site.port}/v1/tasks/long/log?follow=true"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with log:
        assert "begun\n" in iter(log.stdout.readline, ""), "the command runs"  # type: ignore[union-attr]
        answer = json.loads(site.curl("/v1/tasks/long/cancel", "-X", "POST"))
        assert answer["done"]
        assert log.wait(LIMIT) == 0, "the log has its end"
    assert site.events("long")[-1]["resolution"]["reason"] == "canceled"
    assert not site.processes()


def test_a_task_outlives_the_worker_that_is_killed(site: HttpSite) -> None:
    worker = site.serve()
    site.put("hard", f"echo try $TASKRUNNER_RUN_ID; test -e {site.folder}/second || sleep {site.token}")
    events_url = f"http://127.0.0.1:{site.port}/v1/tasks/hard/events"
    with subprocess.Popen(
        ["curl", "-sN", "-H", f"Authorization: Bearer {TOKEN}", events_url],
        stdout=subprocess.PIPE, text=True,
    ) as follower:  # fmt: skip
        seen = []
        for line in iter(follower.stdout.readline, ""):  # type: ignore[union-attr]
            seen.append(line)
            if '"text": "try' in line:
                break
        last_id = [line.removeprefix("id: ").strip() for line in seen if line.startswith("id: ")][-1]
        worker.kill()
        assert follower.wait(LIMIT) != 0, "the stream breaks off"
    (site.folder / "second").touch()
    site.serve()
    events = site.events("hard", last_id)
    assert [run["resolution"]["reason"] for run in events[-1]["runs"]] == ["worker-shutdown", ""], events
    assert events[-1]["resolution"]["kind"] == "completed"


def test_serve_is_the_door_of_workers_that_have_none(site: HttpSite) -> None:
    door, worker = site.serve("serve"), site.worker()
    site.put("through", "echo through")
    assert text_of(site.events("through")).endswith("s\n")
    door.kill()
    assert site.resolutions("through") == ["completed"]
    again = site.serve("serve")
    assert json.loads(site.curl("/v1/tasks/through"))["state"] == "resolved"
    again.terminate()
    assert again.wait() == 0, again.output
    worker.terminate()
    assert worker.wait() == 0


def test_a_run_of_one_task_exits_as_it_ended(site: HttpSite) -> None:
    done = site.command(
        "run", "--task", "-", "--queue", f"http://127.0.0.1:{site.port}", stdin=json.dumps(site.process("exit 7"))
    )
    assert done.status == 1, done
