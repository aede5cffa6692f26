"""A worker in a process of its own for the queue service of a Taskcluster, with containers of Docker."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.e2e import LIMIT
from tests.support.taskcluster.server import ACCESS_TOKEN, TaskclusterServer
from tests.support.taskcluster.site import TaskclusterSite


@pytest.fixture
def site(tmp_path: Path, base_image: str) -> Iterator[TaskclusterSite]:
    with TaskclusterServer(claim_timeout=6.0, poll=1.0) as server:
        site = TaskclusterSite(tmp_path, server=server)
        yield site
        site.close()


def test_a_whole_job(site: TaskclusterSite) -> None:
    script = (
        'echo "$TASK_ID $RUN_ID $TASK_GROUP_ID $TASKCLUSTER_ROOT_URL"; mkdir /out; echo "<p>" > /out/a.html; '
        "echo b > /out/b.txt"
    )
    artifacts = {
        "public/site": {"type": "directory", "path": "/out"},
        "public/gone.txt": {"type": "file", "path": "/gone.txt"},
    }
    task = site.create(script, artifacts=artifacts)
    worker = site.start("--max-tasks", "1")
    assert worker.wait() == 0, worker.output
    assert site.server.runs(task) == ["completed"], site.log(task)
    found = site.server.artifacts(task)
    assert (found["public/site/a.html"]["body"], found["public/site/a.html"]["contentType"]) == (b"<p>\n", "text/html")
    assert found["public/site/b.txt"]["body"] == b"b\n"
    assert found["public/gone.txt"]["reason"] == "file-missing-on-worker"
    assert found["public/logs/live.log"]["artifact"] == "public/logs/live_backing.log"
    log = found["public/logs/live_backing.log"]["body"].decode()
    assert f"{task} 0 group-1 {site.server.url}" in log
    calls = site.server.calls("createArtifact", "put", "reportCompleted")
    assert calls[-1] == "reportCompleted", "everything is uploaded before"
    assert "task-client/" not in worker.output + log
    assert ACCESS_TOKEN not in worker.output + log


def test_the_command_line_reads_what_this_worker_has_run(site: TaskclusterSite) -> None:
    task = site.create("echo to be read; exit 3")
    worker = site.start("--max-tasks", "1")
    assert worker.wait() == 0, worker.output
    shown = site.asked("show", task[:5]).everything
    assert "uploading" in shown, shown
    assert "failed" in shown
    assert "to be read" in site.asked("logs", task).out
    assert task in site.asked("list").out
    refused = site.asked("cancel", task)
    assert refused.status == 2
    assert "there: by its pages" in refused.err


def test_ends_that_are_no_success(site: TaskclusterSite) -> None:
    """One after the other, so that one worker serves them all: a failure, a retry, a payload that is none."""
    failing = site.create("echo no luck; exit 3", task_id="failing")
    again = site.create('[ "$RUN_ID" = 1 ] || exit 75', task_id="again", onExitStatus={"retry": [75]})
    malformed = site.create("true", task_id="malformed", features={"dind": True}, maxRunTime=0)
    slow = site.create(f"exec sleep {site.token}", task_id="slow", maxRunTime=1)
    site.start()
    site.ends(failing, "failed")
    site.ends(again, "exception/intermittent-task", "completed")
    site.ends(malformed, "exception/malformed-payload")
    site.ends(slow, "failed")
    assert "no luck" in site.has_log(failing)
    log = site.has_log(malformed)
    assert "payload.maxRunTime: " in log
    assert "write seconds, from 1 to " in log
    assert "max_run_time" not in log


def test_the_log_of_a_run_that_goes_on_is_read_from_its_worker(site: TaskclusterSite) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = "{}:{}".format(*free.getsockname())
    task = site.create(f"echo begun; exec sleep {site.token}")
    site.start(more=f'[queue.taskcluster.live_log]\nurl = "http://{address}"\naddress = "{address}"\n')
    site.wait_for_log(task, "begun")
    site.server.wait_until(lambda: "public/logs/live.log" in site.server.artifacts(task), LIMIT)
    with urlopen(site.server.artifacts(task)["public/logs/live.log"]["url"], timeout=LIMIT) as live:  # noqa: S310  of this test
        assert any(b"begun" in line for line in live)
        site.server.cancel(task)
        assert b"begun" not in live.read(), "it ends with the run"


def test_a_cancelled_run_ends_at_the_next_reclaim_and_says_nothing(site: TaskclusterSite) -> None:
    task = site.create(f"exec sleep {site.token}")
    site.start()
    site.wait_for_state(task, "running")
    site.server.cancel(task)
    site.wait_for_state(task, "resolved")
    assert site.server.runs(task) == ["exception/canceled"]
    assert site.server.artifacts(task) == {}
    assert site.server.calls("reportException", "reportFailed", "createArtifact") == []
    assert "canceled" in site.log(task)


@pytest.mark.parametrize("ends", [False, True], ids=["while it runs", "at its end"])
def test_a_queue_that_is_away_until_the_claim_ends_loses_the_run(site: TaskclusterSite, *, ends: bool) -> None:
    """Another worker may have it by then: nothing of it is uploaded or reported when the queue is back."""
    script = f'[ "$RUN_ID" = 1 ] || {{ echo begun; sleep {site.token}; echo done > /out.txt; }}'
    task = site.create(script, artifacts={"out": {"type": "file", "path": "/out.txt"}})
    worker = site.start("--max-tasks", "2")
    site.wait_for_log(task, "begun")
    site.wait_for_sleep()
    site.server.take_down()
    if ends:
        site.end_sleeps()
    site.wait_for_state(task, "resolved")
    assert not site.sleeps()
    site.server.bring_back()
    assert worker.wait() == 0, worker.output
    assert site.server.runs(task) == ["exception/claim-expired", "completed"]
    assert site.server.artifacts(task) == {}
    late = [seen.call for seen in site.server.seen if "/runs/0/" in seen.path]
    assert set(late) <= {"reclaimTask"}, late
    assert f"{task}/0  exception (claim-expired)" in worker.output, worker.output


def test_the_run_of_a_killed_worker_is_handed_back_by_the_next(site: TaskclusterSite) -> None:
    site.server.tasks.claim_timeout = 1200.0
    task = site.create(f'[ "$RUN_ID" = 1 ] || exec sleep {site.token}')
    first = site.start()
    site.wait_for_state(task, "running")
    first.kill()
    assert site.server.runs(task) == ["running"]
    second = site.start("--max-tasks", "1")
    assert second.wait() == 0, second.output
    assert site.server.runs(task) == ["exception/worker-shutdown", "completed"]
    assert f"run {task}/0 of worker" in second.output


def test_the_log_of_a_killed_workers_run_is_uploaded_by_the_next(site: TaskclusterSite) -> None:
    """By the name that the author of the task has given it, beside the run that follows."""
    site.server.tasks.claim_timeout = 1200.0
    script = f'echo "run $RUN_ID"; [ "$RUN_ID" = 1 ] || exec sleep {site.token}'
    task = site.create(script, log="public/own.log")
    first = site.start()
    site.wait_for_log(task, "run 0")
    first.kill()
    assert site.server.artifacts(task) == {}
    second = site.start("--max-tasks", "1")
    assert second.wait() == 0, second.output
    assert site.server.runs(task) == ["exception/worker-shutdown", "completed"]
    found = site.server.artifacts(task)
    assert found["public/own.log"]["artifact"] == "public/own_backing.log"
    log = found["public/own_backing.log"]["body"].decode()
    assert "\nrun 0\n" in log
    assert log.splitlines()[-1].endswith("died during this run")
    assert found["public/own_backing.log"]["expires"] == site.server.tasks.find(task).definition["expires"]
    assert "run 1" in site.server.artifacts(task, 1)["public/own_backing.log"]["body"].decode()


def test_a_worker_killed_between_its_report_and_its_log_leaves_the_log_to_the_next(site: TaskclusterSite) -> None:
    site.server.tasks.claim_timeout = 1200.0
    held = site.server.fault("createArtifact", "stall")
    task = site.create("true", features={"dind": True})
    first = site.start()
    site.ends(task, "exception/malformed-payload")
    first.kill()
    held.release()
    site.create("true", task_id="after")
    second = site.start("--max-tasks", "1")
    assert second.wait() == 0, second.output
    assert site.server.runs(task) == ["exception/malformed-payload"]
    assert "payload.features.dind" in site.has_log(task)


def test_nothing_is_uploaded_for_a_killed_workers_run_whose_claim_has_ended(site: TaskclusterSite) -> None:
    task = site.create(f'[ "$RUN_ID" = 1 ] || {{ echo begun; exec sleep {site.token}; }}')
    first = site.start()
    site.wait_for_log(task, "begun")
    first.kill()
    site.server.advance(10)
    second = site.start("--max-tasks", "1")
    assert second.wait() == 0, second.output
    assert site.server.runs(task) == ["exception/claim-expired", "completed"]
    assert site.server.artifacts(task) == {}


def test_an_eviction_hands_the_run_back_and_uploads_its_log(site: TaskclusterSite) -> None:
    task = site.create(f"echo begun; exec sleep {site.token}")
    worker = site.start()
    site.wait_for_log(task, "begun")
    worker.terminate()
    worker.wait_for_output("stops: SIGTERM")
    worker.terminate()
    assert worker.wait() == 0, worker.output
    assert site.server.runs(task) == ["exception/worker-shutdown", "pending"]
    assert "begun" in site.has_log(task)


def test_a_queue_that_is_away_for_a_while_loses_nothing(site: TaskclusterSite) -> None:
    task = site.create("echo done > /out.txt", artifacts={"out": {"type": "file", "path": "/out.txt"}})
    for call in ("reportCompleted", "createArtifact", "put"):
        site.server.fault(call, "error", status=502)
    site.start()
    site.ends(task, "completed")
    assert site.server.artifacts(task)["out"]["body"] == b"done\n"


def test_an_artifact_that_the_storage_refuses_is_no_success(site: TaskclusterSite) -> None:
    """The run is tried again, and its log is there all the same."""
    script = "echo here; echo done > /out.txt"
    task = site.create(script, artifacts={"out": {"type": "file", "path": "/out.txt"}})
    site.server.fault("put", "error", status=413)
    worker = site.start("--max-tasks", "2")
    assert worker.wait() == 0, worker.output
    assert site.server.runs(task) == ["exception/intermittent-task", "completed"]
    assert "here" in site.has_log(task)
    assert "body" not in site.server.artifacts(task)["out"]
    assert site.server.artifacts(task, 1)["out"]["body"] == b"done\n"
    calls = [seen.call for seen in site.server.seen if "/runs/0/" in seen.path or seen.call == "put"]
    assert calls.index("reportException") > calls.index("createArtifact")


def test_a_run_reaches_taskcluster_through_its_proxy(site: TaskclusterSite) -> None:
    """It never sees its credentials, which each request gets from the worker."""
    script = 'wget -qO /status.json "$TASKCLUSTER_PROXY_URL/api/queue/v1/task/$TASK_ID/status"; env > /env.txt'
    artifacts = {name: {"type": "file", "path": f"/{name}"} for name in ("status.json", "env.txt")}
    wanted = {"features": {"taskclusterProxy": True}, "artifacts": artifacts}
    task = site.create(script, scopes=["queue:status:*"], **wanted)
    worker = site.start("--max-tasks", "1")
    assert worker.wait() == 0, worker.output
    assert site.server.runs(task) == ["completed"], site.log(task)
    found = site.server.artifacts(task)
    assert json.loads(found["status.json"]["body"])["status"]["taskId"] == task
    assert b"TASKCLUSTER_PROXY_URL=http://taskcluster\n" in found["env.txt"]["body"]
    assert b"TASKCLUSTER_ACCESS_TOKEN" not in found["env.txt"]["body"]
    assert [seen.client_id.split("/")[0] for seen in site.server.seen if seen.call == "status"] == ["task-client"]
