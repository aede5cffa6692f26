"""Docker is restarted under a worker, with and without containers that go on: a real daemon, not the machine's."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.support.e2e import LIMIT, Site
from tests.support.own_docker import own_docker
from tests.support.queue_processes import soon


@pytest.mark.parametrize("live_restore", [False, True], ids=["plain", "live-restore"])
def test_a_worker_outlives_a_restart_of_docker(site: Site, live_restore: bool) -> None:
    """The run is handed back, nothing is claimed meanwhile, and the task runs again when Docker is back. With
    live-restore the container of the first run goes on without Docker: it is removed then."""
    command = ["sh", "-c", f"test $RUN_ID != 0 || exec sleep {site.token}"]
    document = {**site.process(""), "platform": "docker", "image": "taskrunner-base", "command": command}
    with own_docker(live_restore=live_restore) as daemon, closing(daemon.client()) as api:
        daemon.load_base_image()
        site.configure(f'[docker]\nhost = "{daemon.host}"\n')
        task = site.submit(document)
        worker = site.worker()
        site.wait_for_sleep()
        daemon.stop()
        site.wait_for_state(task, "resolved")
        worker.wait_for_output("Docker does not answer")
        assert site.resolutions(task)[0] == "exception (worker-shutdown)"
        assert site.sleeps() is live_restore
        daemon.start()
        site.wait_for_state(task, "resolved", 1)
        assert site.resolutions(task)[1] == "completed"
        of_runs = {"label": "taskrunner.run"}
        assert soon(lambda: not api.containers(all=True, filters=of_runs), LIMIT), worker.output
        worker.terminate()
        assert worker.wait() == 0
        assert not api.containers(all=True), "networks of the worker"
    assert not site.processes()
