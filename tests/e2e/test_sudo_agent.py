"""Builds of an agent that is not root, and runs them as another account by sudo."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.support.agent_client import unpack
from tests.support.agent_site import AgentSite, wait_for_state
from tests.support.e2e import COMMAND, LIMIT
from tests.support.queue_processes import soon
from tests.support.sudo_site import WORKER_ID, SudoSite

BUILD = """
id -un; git status --short; git log -1 --format=%H; cat page.txt
mkdir -p "$FASTLANE_CI_ARTIFACTS/d"; echo app >"$FASTLANE_CI_ARTIFACTS/d/app"; chmod 0 "$FASTLANE_CI_ARTIFACTS/d/app"
"""


@attrs.define(eq=False)
class SudoAgentSite(AgentSite):
    """Its worker is on a machine with sudo."""

    machine: SudoSite = attrs.field(kw_only=True)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.configure('[process]\nuser = "ci"\n')
        self.home.mkdir(mode=0o755)
        for path in (self.home, *self.home.rglob("*")):
            os.chown(path, WORKER_ID, WORKER_ID)

    def environment(self) -> dict[str, str]:
        return {**super().environment(), **self.machine.variables}

    def _start(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.machine.command(COMMAND, *arguments),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **more,
        )


@pytest.fixture
def site(open_tmp: Path) -> Iterator[SudoAgentSite]:
    for name in ("machine", "agent"):
        (open_tmp / name).mkdir()
        (open_tmp / name).chmod(0o755)
    site = SudoAgentSite(open_tmp / "agent", machine=SudoSite(open_tmp / "machine"))
    yield site
    site.close()


def test_a_build_belongs_to_the_account_and_its_artifacts_come_back(site: SudoAgentSite) -> None:
    worker = site.serve()
    build = site.run_build(BUILD, PASSWORD="hunter2")
    assert build.states == ["RUNNING", "FINISHING", "SUCCEEDED"], build
    assert [line for line in build.log if not line.startswith("[taskrunner]")] == [
        "ci\n",
        f"{site.sha}\n",
        "A page.\n",
    ]
    assert unpack(bytes(build.archive)) == {"d/app": b"app\n"}
    assert "hunter2" not in site.machine.seen.read_text()
    worker.terminate()
    assert worker.wait() == 0
    assert soon(lambda: not list(site.home.glob("runs/*/*/work")), LIMIT)


def test_a_build_whose_call_is_cancelled_or_whose_worker_is_killed_leaves_nothing(site: SudoAgentSite) -> None:
    async def begin() -> None:
        async with asyncio.timeout(LIMIT), site.agent() as agent:
            build = site.shell(f"mkdir d; touch d/f; chmod 0 d; (setsid sleep {site.token} &); sleep {site.token}")
            listening = await wait_for_state(agent, build, "RUNNING")
            await asyncio.to_thread(site.wait_for_sleep)
            if killed:
                first.kill()
            listening.cancel()
            await asyncio.wait([listening])

    first, killed = site.serve(), False
    asyncio.run(begin())
    assert soon(lambda: not site.processes(), LIMIT)
    assert soon(lambda: not list(site.home.glob("runs/*/*/work")), LIMIT)
    killed = True
    asyncio.run(begin())
    second = site.serve()
    second.wait_for_output("ended with its peer")
    assert not site.processes()
    assert not list(site.home.glob("runs/*/*/work"))
    assert not list(site.home.glob("process-folders/*"))
    assert site.run_build("true").status == "success"
    second.terminate()
    assert second.wait() == 0
