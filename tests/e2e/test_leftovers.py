"""What could not be removed is removed later, and is listed until then."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskrunner.state.leftovers import leftovers
from taskrunner_process.groups.cgroup_files import group_name
from taskrunner_process.groups.owner import owner_name
from tests.support.control_groups import control_groups
from tests.support.e2e import LIMIT, Site
from tests.support.gate import Gate
from tests.support.queue_processes import soon

SOCKET = "/var/run/docker.sock"


@pytest.mark.parametrize("remover", ["the living worker", "the next worker"])
def test_a_container_that_outlived_the_connection_to_docker_is_removed(
    site: Site, tmp_path: Path, remover: str
) -> None:
    """Docker is out of reach while the container runs, and has it still when it is back."""
    command = ["sleep", site.token]
    task = site.submit(
        {"id": f"t{site.token}", "platform": "docker", "image": "taskrunner-base", "command": command, "retries": 0}
    )
    with Gate(SOCKET, tmp_path) as gate:
        site.variables["DOCKER_HOST"] = gate.address
        worker = site.worker()
        site.wait_for_sleep()
    assert soon(lambda: "resolved" in site.states(task), LIMIT), worker.output
    [left] = leftovers(site.home)
    assert (left.run, left.platform) == (site.run_folder(task).run, "docker")
    assert site.processes(), "the container runs on"
    shown = site.command("show", task).out
    assert "left behind: " in shown
    assert "still there: " in shown
    if remover == "the next worker":
        worker.terminate()
        worker.wait()
    (tmp_path / "gate").unlink()
    with Gate(SOCKET, tmp_path):
        if remover == "the next worker":
            worker = site.worker()
        assert soon(lambda: leftovers(site.home) == [], LIMIT), worker.output
        assert site.leftovers() == [f"lock {path}" for path in site.home.glob("workers/*")]
        assert ": removed container" in worker.output
        assert f"nothing is left any more by run {task}/0: " in worker.output
        worker.terminate()
        assert worker.wait() == 0
    assert site.leftovers() == []
    assert "removed since" in site.command("show", task).out


def test_the_control_group_of_an_idle_worker_that_was_killed_is_removed(site: Site) -> None:
    task = site.submit(site.process("true"))
    worker = site.worker()
    site.wait_for_state(task, "resolved")
    group = group_name(owner_name(site.status(task).runs[0].worker_id, site.home))
    worker.kill()
    assert control_groups(group)
    site.run_worker()
    assert not control_groups(group)
    assert site.leftovers() == []
