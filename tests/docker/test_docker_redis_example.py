"""The example of a service: a real database, in an image that the example's own script makes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import docker
import pytest

from tests.support.command_line import CommandLine

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "redis_service"


@pytest.mark.usefixtures("base_image")
def test_a_task_has_a_redis_of_its_own_each_time(tmp_path: Path, api: docker.APIClient) -> None:
    subprocess.run([EXAMPLE / "make_image.sh"], check=True, capture_output=True, timeout=60)
    taskrunner = CommandLine(tmp_path)
    try:
        for _ in range(2):
            ended = taskrunner("run", "--task", str(EXAMPLE / "task.yaml"))
            assert ended.status == 0, ended.everything
            assert ":1\n:2\n+OK" in ended.everything.replace("\r", ""), "the database is empty each time"
        logs = [path.read_text() for path in tmp_path.glob("home/artifacts/*/*/data/*redis.log")]
        assert len(logs) == 2
        assert all("Ready to accept connections" in log for log in logs)
    finally:
        api.remove_image("redis-example", force=True)
