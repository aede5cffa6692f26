"""Builds that a fastlane-style server sends to a worker in a process of its own, `--queue agent://...`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import examples.fastlane_server
from tests.support.agent_client import unpack
from tests.support.agent_relay import relay
from tests.support.agent_site import AgentSite, listen, wait_for_state
from tests.support.e2e import LIMIT
from tests.support.githttp import commit
from tests.support.killed import run_until_ready_and_kill
from tests.support.queue_processes import soon
from tests.support.site_packages import install_module


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentSite]:
    """A worker with two slots for all tests that do not stop it."""
    site = AgentSite(tmp_path_factory.mktemp("agent"))
    site.serve("--capacity", "2")
    yield site
    site.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[AgentSite]:
    """A home without a worker yet."""
    site = AgentSite(tmp_path)
    yield site
    site.close()


def output(build: examples.fastlane_server.Build) -> str:
    """What the command has printed, without lines of the worker's own."""
    return "".join(line for line in build.log if not line.startswith("[taskrunner] "))


def test_a_build_runs_in_the_checkout_and_its_artifacts_come_back(shared: AgentSite) -> None:
    script = 'cat page.txt; git rev-parse HEAD; cd "$FASTLANE_CI_ARTIFACTS"; mkdir ios; printf x >ios/a.ipa'
    build = shared.run_build(script)
    assert build.states == ["RUNNING", "FINISHING", "SUCCEEDED"]
    assert output(build) == f"A page.\n{shared.sha}\n"
    assert unpack(bytes(build.archive)) == {"ios/a.ipa": b"x"}
    assert (build.status, build.error, build.exit_status) == ("success", "", 0)


def test_artifacts_and_log_are_in_the_store_as_well(shared: AgentSite) -> None:
    build = shared.run_build('echo kept; echo x >"$FASTLANE_CI_ARTIFACTS/a.txt"', JOB_NAME="keeps")
    [run] = shared.home.glob("runs/agent-keeps-7-*/*")
    kept = shared.home / "artifacts" / run.relative_to(shared.home / "runs")
    assert soon(lambda: (kept / "log").is_file() or any(kept.iterdir()), LIMIT)
    files = {path.name: path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    assert b"x\n" in files.values()
    assert any(b"kept\n" in data for data in files.values())
    assert "kept\n" in build.log


def test_the_command_gets_the_environment_of_the_request_and_none_of_the_worker(own: AgentSite) -> None:
    own.variables["WORKER_SECRET"] = "hunter2"
    own.serve()
    build = own.run_build("env", CI="true", MONEY="${RUN_FOLDER} $HOME $${RUN_FOLDER}")
    lines = output(build).splitlines()
    assert "CI=true" in lines
    assert "MONEY=${RUN_FOLDER} $HOME $${RUN_FOLDER}" in lines
    assert "hunter2" not in "".join(build.log)
    names = {line.partition("=")[0] for line in lines}
    given = {"GIT_URL", "GIT_SHA", "JOB_NAME", "BUILD_NUMBER", "CI", "MONEY", "FASTLANE_CI_ARTIFACTS"}
    of_the_platform = {"PATH", "LANG", "HOME", "TMPDIR", "SHELL", "PWD", "TASKRUNNER_RUN", "TASK_ID", "RUN_ID"}
    assert names - of_the_platform == given


@pytest.mark.parametrize("path", ["/nonexistent", ""])
def test_the_path_of_a_request_is_only_for_its_command(shared: AgentSite, path: str) -> None:
    """The folder of the artifacts is there all the same."""
    script = 'echo "$PATH"; [ -d "$FASTLANE_CI_ARTIFACTS" ] && echo x >"$FASTLANE_CI_ARTIFACTS/a"'
    [build] = shared.run_builds(shared.build("/bin/sh", "-c", script, PATH=path))
    assert (build.status, output(build)) == ("success", f"{path}\n")
    assert unpack(bytes(build.archive)) == {"a": b"x\n"}
    [missing] = shared.run_builds(shared.build("sh", PATH="/nonexistent"))
    assert (missing.states, missing.exit_status) == (["RUNNING", "FAILED"], 127)


def test_a_command_that_fails_is_told_with_its_exit_status(shared: AgentSite) -> None:
    builds = {3: shared.shell("exit 3"), 137: shared.shell("kill -9 $$"), 127: shared.build("no-such-program")}
    for status, build in builds.items():
        shared.run_builds(build)
        assert (build.states, build.exit_status) == (["RUNNING", "FAILED"], status)


def test_a_commit_that_does_not_exist_breaks_the_invocation(shared: AgentSite) -> None:
    build = shared.run_build("true", GIT_SHA="0" * 40)
    assert build.states == ["RUNNING", "BROKEN"]
    assert "0" * 40 in build.error


def test_an_agent_that_is_full_rejects(shared: AgentSite) -> None:
    async def main() -> None:
        async with asyncio.timeout(LIMIT), shared.agent() as agent:
            waiting = [shared.shell(f"sleep {shared.token}") for _ in range(2)]
            for build in waiting:
                await wait_for_state(agent, build, "RUNNING")
            refused = shared.shell("true")
            async for _ in agent.invoke(refused):
                """Kept in the build."""
            assert (refused.states, refused.error) == (["REJECTED"], "I am busy")

    asyncio.run(main())
    assert soon(lambda: not shared.processes(), LIMIT), "the end of the connection ends its runs"


def test_builds_that_follow_each_other_at_once_find_the_slot_free(own: AgentSite) -> None:
    """Also after a call that was cancelled: a server takes a rejection for a problem of its agents."""
    own.serve()

    async def main() -> None:
        async with asyncio.timeout(LIMIT), own.agent() as agent:
            for number in range(21):  # the last one is not cancelled, and finds nothing alive
                build = own.shell(
                    f"sleep {own.token}" if number % 4 == 3 else "echo artifact >$FASTLANE_CI_ARTIFACTS/a"
                )
                listening = await wait_for_state(agent, build, "RUNNING")
                if number % 4 == 3:
                    listening.cancel()
                await asyncio.wait([listening])
                assert "REJECTED" not in build.states, number

    asyncio.run(main())
    assert soon(lambda: not own.processes(), LIMIT), "the last build ends too, before its worker is killed"


def test_a_cancelled_call_kills_the_whole_tree_and_frees_the_slot(own: AgentSite) -> None:
    own.serve()

    async def main() -> None:
        async with asyncio.timeout(LIMIT), own.agent() as agent:
            build = own.shell(f"(setsid sleep {own.token} &) ; trap '' TERM; sleep {own.token}")
            listening = await wait_for_state(agent, build, "RUNNING")
            await asyncio.to_thread(own.wait_for_sleep)
            listening.cancel()
            await asyncio.wait([listening])
            again = own.shell("echo again")
            while again.states[-1:] != ["SUCCEEDED"]:
                again.states.clear()
                async for _ in agent.invoke(again):
                    """Kept in the build."""

    asyncio.run(main())
    assert not own.processes()
    [run, *_] = sorted(own.home.glob("runs/*/*"), key=lambda folder: int(folder.name))
    assert "disconnected" in str(own.records(run.parent.name, int(run.name)))


CALLER = """\
import asyncio, sys
from examples.fastlane_server import Agent, Build

async def main(address, url, sha, script, kind):
    env = {"GIT_URL": url, "GIT_SHA": sha, "JOB_NAME": "killed", "BUILD_NUMBER": "1"}
    async for message in Agent(address).invoke(Build(("sh", "-c", script), env)):
        text = message.log.message
        if message.WhichOneof("message_types") == kind and not text.startswith("[taskrunner] "):
            print("ready", flush=True)
            await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("kind", "script"),
    [
        ("log", "sleep {token} & exec yes 'a line of the log'"),
        ("artifact", 'head -c 64000000 /dev/urandom >"$FASTLANE_CI_ARTIFACTS/a"'),
    ],
)
def test_a_caller_that_is_killed_in_the_middle_of_a_stream_leaves_nothing(
    own: AgentSite, kind: str, script: str
) -> None:
    """It does not read any more, and more is sent than fits between both."""
    own.serve()
    script = script.format(token=own.token)
    run_until_ready_and_kill(CALLER, own.address, own.git.url("web"), own.sha, script, kind)
    [run] = own.home.glob("runs/agent-killed-1-*/*")
    own.wait_for_state(run.parent.name, "resolved", int(run.name))
    assert not own.processes_of_builds()
    assert not (run / "work").exists()
    again = own.run_build("echo again")
    assert (again.status, output(again)) == ("success", "again\n")


def test_a_caller_that_closes_its_half_of_the_connection_has_hung_up(own: AgentSite) -> None:
    """No call of gRPC lives on such a connection: its build ends, and the slot is free."""
    own.serve()

    async def main() -> None:
        async with asyncio.timeout(LIMIT), own.agent() as agent, relay(own.port) as relaying:
            through = examples.fastlane_server.Agent(f"127.0.0.1:{relaying.port}")
            listening = await wait_for_state(through, own.shell(f"sleep {own.token}"), "RUNNING")
            await asyncio.to_thread(own.wait_for_sleep)
            await relaying.half_close()
            assert await asyncio.to_thread(soon, lambda: not own.processes_of_builds(), LIMIT)
            build = own.shell("echo again")
            await listen(agent, build)
            assert build.states == ["RUNNING", "FINISHING", "SUCCEEDED"]
            listening.cancel()
            await asyncio.wait([listening])
            await through.close()

    asyncio.run(main())


def test_of_two_callers_that_race_for_one_slot_one_gets_it(own: AgentSite) -> None:
    own.serve()

    async def race(agents: Sequence[examples.fastlane_server.Agent], go: Path) -> None:
        builds = [own.shell(f"until [ -e {go} ]; do sleep 0.02; done") for _ in agents]
        calls = [asyncio.create_task(listen(agent, build)) for agent, build in zip(agents, builds, strict=True)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.to_thread(go.touch)
        await asyncio.wait(calls)
        first, second = sorted(builds, key=lambda build: len(build.states))
        assert (first.states, first.error) == (["REJECTED"], "I am busy")
        assert second.states == ["RUNNING", "FINISHING", "SUCCEEDED"]

    async def main() -> None:
        async with asyncio.timeout(LIMIT), own.agent() as one, own.agent() as other:
            for number in range(5):
                await race([one, other], own.folder / f"go-{number}")

    asyncio.run(main())


def test_a_worker_that_is_told_to_stop_finishes_its_build_and_rejects_others(own: AgentSite) -> None:
    worker = own.serve()

    async def main() -> None:
        async with asyncio.timeout(LIMIT), own.agent() as agent:
            build = own.shell("while [ ! -e $HOME/../../../../../go ]; do sleep 0.02; done; echo done")
            listening = await wait_for_state(agent, build, "RUNNING")
            worker.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(worker.wait_for_output, "SIGTERM")
            refused = own.shell("true")
            async for _ in agent.invoke(refused):
                """Kept in the build."""
            assert refused.states == ["REJECTED"]
            assert "SIGTERM" in refused.error
            (own.folder / "go").touch()
            await listening
            assert build.states == ["RUNNING", "FINISHING", "SUCCEEDED"]

    asyncio.run(main())
    assert worker.wait() == 0


def test_a_build_whose_worker_is_killed_is_run_by_the_next_one(
    own: AgentSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server sends it again while no agent answers. Nothing of the first run is left alive."""
    monkeypatch.setattr(examples.fastlane_server, "AGAIN", 0.05)
    first = own.serve()

    async def main() -> examples.fastlane_server.Build:
        async with asyncio.timeout(LIMIT), own.agent() as agent:
            once = f'[ -e "{own.folder}/begun" ] || {{ touch "{own.folder}/begun"; sleep {own.token}; }}; echo whole'
            building = asyncio.create_task(agent.run(own.shell(once)))
            await asyncio.to_thread(own.wait_for_sleep)
            first.kill()
            await asyncio.to_thread(own.serve)
            return await building

    build = asyncio.run(main())
    assert (build.states, output(build)) == (["RUNNING", "FINISHING", "SUCCEEDED"], "whole\n")
    assert "agent not available" in capsys.readouterr().err
    assert not own.processes()


def test_a_build_that_lacks_a_toolchain_is_rejected_until_it_is_installed(own: AgentSite) -> None:
    """The slot is free for other builds meanwhile."""
    sha = commit(own.folder / "git" / "web", {".ruby-version": "3.4\n"})
    install = f"until [ -e {own.folder}/go ]; do sleep 0.02; done; mkdir {own.folder}/ruby-3.4"
    own.configure(
        f'[process.toolchains.ruby]\nfile = ".ruby-version"\ninstalled_at = "{own.folder}/ruby-*"\n'
        f'install_command = ["sh", "-c", "{install}", "sh", "{{version}}"]\n'
    )
    worker = own.serve()
    rejected = own.run_build("echo never", GIT_SHA=sha)
    assert rejected.states == ["RUNNING", "REJECTED"]
    assert "this worker has no ruby 3.4, which .ruby-version asks for: its installation has begun" in rejected.error
    assert output(rejected) == ""
    assert own.run_build("true").status == "success", "a build without the file finds the slot free"
    (own.folder / "go").touch()
    worker.wait_for_output("ruby 3.4 is installed")
    assert own.run_build("true", GIT_SHA=sha).status == "success"


BROKEN_STORE = """\
import os

from taskrunner.stores.folder import FolderStore


class BrokenStore(FolderStore):
    @classmethod
    async def open(cls, options, context):
        return cls(context.home / "artifacts")

    def batch(self, run):
        raise RuntimeError("a bug of the store, " + os.environ["GIT_TOKEN"])
"""
PROJECT = """\
[project]
name = "broken-store"
version = "1.0"

[project.entry-points."taskrunner.stores"]
broken = "broken_store:BrokenStore"
"""


def test_an_internal_error_has_its_stack_trace_without_secrets(own: AgentSite) -> None:
    """A bug of a plugin, in a worker that has one; other ends of an invocation have no trace."""
    (own.folder / "broken_store.py").write_text(BROKEN_STORE)
    (own.folder / "project.toml").write_text(PROJECT)
    install_module(own.folder / "site", own.folder / "broken_store.py", own.folder / "project.toml")
    own.variables |= {"PYTHONPATH": str(own.folder / "site"), "GIT_TOKEN": "hunter-22"}
    own.configure('store = "broken"\n')
    own.serve()
    url = own.git.url("web").replace("//", "//x:hunter-22@")
    broken = own.run_build('echo x >"$FASTLANE_CI_ARTIFACTS/a"', GIT_URL=url)
    assert broken.states[-1] == "BROKEN"
    assert broken.error == "RuntimeError: a bug of the store, ***"
    assert broken.stacktrace.startswith("Traceback (most recent call last):\n  File ")
    assert 'broken_store.py", line 12, in batch\n' in broken.stacktrace
    assert broken.stacktrace.endswith("\nRuntimeError: a bug of the store, ***")
    missing = own.run_build("true", GIT_SHA="0" * 40)
    assert (missing.states[-1], missing.stacktrace) == ("BROKEN", "")
    failing = own.run_build("echo 'Traceback (most recent call last):' >&2; exit 3")
    assert (failing.states[-1], failing.stacktrace) == ("FAILED", "")
