"""Prints the transcript of docs/taskcluster.md: a job, its failure, its cancel and its recovery, against the server of
the tests. Needs Docker."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).parent)]

from base_image import ensure_base_image  # noqa: E402  the checkout's own modules are on the path only now

from tests.support.taskcluster.server import TaskclusterServer  # noqa: E402
from tests.support.taskcluster.site import TaskclusterSite  # noqa: E402

Scene = Callable[[TaskclusterSite], None]


def job(site: TaskclusterSite) -> None:
    artifacts: Any = {
        "public/page.html": {"type": "file", "path": "/page.html"},
        "public/gone.txt": {"type": "file", "path": "/gone.txt"},
    }
    site.create('echo "run $RUN_ID of $TASK_ID"; echo "<p>" > /page.html', task_id="job", artifacts=artifacts)
    site.start("--max-tasks", "1").wait()
    show_log(site, "job")


def failure(site: TaskclusterSite) -> None:
    site.create("echo no luck; exit 3", task_id="failing")
    site.create("true", task_id="malformed", features={"dind": True}, image="A B")
    site.start("--max-tasks", "2").wait()
    site.has_log("malformed")
    show_log(site, "malformed")


def cancel(site: TaskclusterSite) -> None:
    site.create(f"exec sleep {site.token}", task_id="cancelled")
    worker = site.start("--max-tasks", "1")
    site.wait_for_state("cancelled", "running")
    site.server.cancel("cancelled")
    worker.wait()


def recovery(site: TaskclusterSite) -> None:
    site.create(f'echo "run $RUN_ID"; [ "$RUN_ID" = 1 ] || exec sleep {site.token}', task_id="lost")
    first = site.start()
    site.wait_for_log("lost", "run 0")
    first.kill()
    site.start("--max-tasks", "1").wait()
    show_log(site, "lost")


def show_log(site: TaskclusterSite, task_id: str) -> None:
    print(f"-- public/logs/live_backing.log of {task_id}")
    print(site.has_log(task_id).rstrip())


def show(name: str, scene: Scene) -> None:
    print(f"\n== {name}")
    with tempfile.TemporaryDirectory() as folder, TaskclusterServer(claim_timeout=30.0, poll=1.0) as server:
        site = TaskclusterSite(Path(folder), server=server)
        try:
            scene(site)
            for worker in site.workers:
                print(f"$ taskrunner run --queue taskcluster://127.0.0.1:{server.port}/proj-web/linux")
                print(worker.output.rstrip())
            for task_id in server.tasks.known:
                print(f"-- at the queue: {task_id} is {', then '.join(server.runs(task_id))}")
                for run_id in range(len(server.runs(task_id))):
                    for artifact, found in sorted(server.artifacts(task_id, run_id).items()):
                        print(f"   run {run_id}: {artifact}: {found['storageType']} {found.get('reason', '')}".rstrip())
            calls = [call for call in server.calls() if call not in {"ping", "claimWork"}]
            print(f"-- its calls: {', '.join(calls)}")
        finally:
            site.close()


if __name__ == "__main__":
    ensure_base_image()
    for title, scene in {"a job": job, "failures": failure, "a cancel": cancel, "a recovery": recovery}.items():
        show(title, scene)
