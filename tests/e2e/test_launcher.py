"""Builds that a launcher dispatches to a worker in a process of its own, `--queue launcher://...`."""

from __future__ import annotations

import asyncio
import io
import tarfile
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import examples.launcher
from tests.support.e2e import LIMIT
from tests.support.file_server import serving
from tests.support.githttp import GitServer, make_repository
from tests.support.launcher_site import BUILD, HOST, LauncherSite, bounded, kind
from tests.support.queue_processes import soon

SECRET, FILE = "correct-horse-battery", "-----BEGIN KEY-----\nstaple\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LauncherSite]:
    site = LauncherSite(tmp_path)
    yield site
    site.close()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples.launcher, "AGAIN", 0.05)


def test_a_whole_build(site: LauncherSite) -> None:
    """Steps with outputs, variables and conditions; secrets as variables and files, masked in the log that was sent."""
    steps = [
        {"id": "one", "name": "First", "run": 'set-output said "two\nlines"; set-env LATER "$FROM_JOB"; false | true'},
        {"run": 'echo "got $SAID, $LATER, $PWD"', "if": "always()", "env": {"SAID": "${{ steps.one.outputs.said }}"}},
        {"run": 'echo "secret $TOKEN"; cat "$KEY" >&2; exit 3', "if": "failure()", "working_directory": "."},
        {"run": "echo never", "if": "${{ success() }}"},
    ]
    secrets = [
        {"name": "TOKEN", "type": "string", "value": SECRET},
        {"name": "KEY", "type": "file", "value": b64encode(FILE.encode()).decode()},
    ]
    env = {"FROM_JOB": "later ${RUN_FOLDER}"}
    result = site.run_build(
        steps=steps, builderEnvironment={"env": env}, secrets={"environmentSecrets": secrets}, initiatingUserId="u"
    )
    assert kind(result) == "error", "pipefail is on by default"
    assert result["externalBuildError"]["buildPhase"] == "First"
    [first, second, third] = site.printed()
    assert (first, third) == ("got two", "secret ***")
    assert second.startswith("lines, later ${RUN_FOLDER}, /")
    sent = b"".join(site.storage.bodies).decode()
    for hidden in (SECRET, "staple", b64encode(FILE.encode()).decode()):
        assert hidden not in sent
        assert site.files_containing(hidden) == []
    assert site.storage.headers[-1]["x-sent-by"] == "us"
    ends = [
        (each["buildStepId"], each["result"])
        for each in site.log_lines
        if each.get("buildStepId") and each.get("result")
    ]
    assert ends == [("one", "failed"), ("step-2", "success"), ("step-3", "failed"), ("step-4", "skipped")]
    assert [each["phase"] for each in site.log_lines if "marker" in each][-1] == "COMPLETE_BUILD"


def test_a_project_from_an_archive_and_its_artifacts(site: LauncherSite) -> None:
    with tarfile.open(fileobj=(packed := io.BytesIO()), mode="w:gz") as tar:
        entry = tarfile.TarInfo("project-1/src/page.txt")
        entry.size = 7
        tar.addfile(entry, io.BytesIO(b"A page."))
    with serving() as server:
        server.answers = [lambda exchange: exchange.send(200, packed.getvalue())]
        archive = {"type": "URL", "url": server.url("/a.tar.gz?signature=hunter2")}
        result = site.run_build(
            "cat src/page.txt; mkdir out; echo x >out/app.ipa",
            projectArchive=archive,
            applicationArchivePath="out/app.ipa",
            buildArtifactPaths=["no-such-folder"],
        )
    assert result == {"type": "success", "applicationArchiveName": "application-archive", "buildArtifactsName": None}
    assert site.printed() == ["A page."]
    assert site.files_containing("hunter2") == []
    kept = [path for path in site.home.glob("artifacts/**/*") if path.is_file() and path.read_bytes() == b"x\n"]
    assert len(kept) == 1


def test_a_project_from_a_repository(site: LauncherSite) -> None:
    sha = make_repository(site.folder / "git" / "web", {"page.txt": "A page.\n"})
    with GitServer(site.folder / "git") as git:
        archive = {"type": "GIT", "repositoryUrl": git.url("web"), "gitRef": "refs/heads/main", "gitCommitHash": sha}
        result = site.run_build("cat page.txt; git rev-parse HEAD", projectArchive=archive)
    assert (kind(result), site.printed()) == ("success", ["A page.", sha])


def test_a_key_of_a_step_that_is_not_known_is_told_in_the_log_and_ignored(site: LauncherSite) -> None:
    result = site.run_build(steps=[{"run": "echo ran", "uses": "eas/build", "timeout_minutes": 5}])
    assert (kind(result), site.printed()) == ("success", ["ran"])
    told = "ignored, since this worker does not know it: job.steps[0].uses, job.steps[0].timeout_minutes"
    assert [each["phase"] for each in site.log_lines if each["msg"] == told] == ["START_BUILD"]
    assert f"build {BUILD}: {told}" in site.workers[0].output


def test_an_abort_kills_the_whole_tree(site: LauncherSite) -> None:
    site.serve()
    launcher = site.launcher(f"(setsid sleep {site.token} &) ; trap '' TERM; echo begun; sleep {site.token}")

    async def main() -> None:
        building = asyncio.create_task(launcher.run())
        await asyncio.to_thread(site.wait_for_sleep)
        launcher.aborting.set()
        assert await building == {"type": "aborted", "reason": "cancel"}
        assert not site.processes(), "it is told when nothing is alive"
        assert site.printed() == ["begun"], "the log was sent before"

    bounded(main)


def test_a_launcher_that_dies_is_replaced_by_one_that_gets_the_result(site: LauncherSite) -> None:
    site.serve()
    go = site.folder / "go"
    script = f"echo begun; sleep {site.token} & while [ ! -e {go} ]; do sleep 0.02; done; kill %1; echo done"

    async def main() -> None:
        dying = asyncio.create_task(site.launcher(script).run())
        await asyncio.to_thread(site.wait_for_sleep)
        dying.cancel()  # its connection ends without a word
        await asyncio.wait([dying])
        said: list[str] = []
        second = site.launcher("echo another job")
        second.say = said.append
        waiting = asyncio.create_task(second.run())
        while "in-progress" not in said:  # noqa: ASYNC110  the launcher has no event for that
            await asyncio.sleep(0.01)
        go.touch()
        assert kind(await waiting) == "success"
        third = await site.launcher("echo another job").run()
        assert (third["type"], third["status"]) == ("state-response", "success")

    bounded(main)
    assert site.printed() == ["begun", "done"]


def test_a_worker_that_was_killed_says_after_its_restart_that_the_build_is_lost(site: LauncherSite) -> None:
    """The launcher connects again by itself. The build is not run a second time, and nothing of it is alive."""
    first = site.serve()
    launcher = site.launcher(f"echo >>{site.folder}/begun; sleep {site.token}")

    async def main() -> Any:
        building = asyncio.create_task(launcher.run())
        await asyncio.to_thread(site.wait_for_sleep)
        first.kill()
        site.serve()
        return await building

    result = bounded(main)
    assert (result["type"], result["status"]) == ("state-response", "error")
    assert result["internalErrorCode"] == "WORKER_DIED"
    assert result["externalBuildError"]["errorCode"] == "UNKNOWN_ERROR"
    assert soon(lambda: not site.processes(), 20)
    assert (site.folder / "begun").read_text() == "\n"


def test_the_log_of_a_killed_worker_is_sent_by_the_next_before_it_says_that_the_build_is_lost(
    site: LauncherSite,
) -> None:
    first = site.serve()
    steps = [
        {"id": "one", "name": "First", "run": "echo first; echo oops >&2"},
        {"id": "two", "run": f'echo "secret $TOKEN"; sleep {site.token}'},
    ]
    secrets = {"environmentSecrets": [{"name": "TOKEN", "type": "string", "value": SECRET}]}
    launcher = site.launcher(steps=steps, secrets=secrets)

    async def main() -> Any:
        building = asyncio.create_task(launcher.run())
        await asyncio.to_thread(site.wait_for_log, BUILD, "secret ***")
        first.kill()
        site.serve()
        return await building

    result = bounded(main)
    assert result["internalErrorCode"] == "WORKER_DIED"
    assert (site.printed(), site.printed("stderr")) == (["first", "secret ***"], ["oops"])
    assert SECRET not in b"".join(site.storage.bodies).decode()
    assert site.storage.headers[-1]["x-sent-by"] == "us"
    ends = [(each["phase"], each["result"]) for each in site.log_lines if each.get("marker") == "END_PHASE"]
    assert ends == [
        ("START_BUILD", "success"),
        ("PREPARE_PROJECT", "success"),
        ("First", "success"),
        ("two", "failed"),
        ("COMPLETE_BUILD", "failed"),
    ]
    [of_second] = [each for each in site.log_lines if each["msg"] == "secret ***"]
    assert (of_second["phase"], of_second["buildStepId"]) == ("two", "two")
    assert any("died" in each["msg"] for each in site.log_lines)
    times = [each["time"] for each in site.log_lines]
    assert times == sorted(times)


def test_a_worker_killed_before_its_last_upload_was_taken_leaves_it_to_the_next(site: LauncherSite) -> None:
    """The build has its result, which the next worker tells when the log is sent."""
    site.storage.status = 503
    first = site.serve()
    launcher = site.launcher("echo done")

    async def main() -> Any:
        building = asyncio.create_task(launcher.run())
        assert await asyncio.to_thread(soon, lambda: b'"COMPLETE_BUILD"' in b"".join(site.storage.bodies), LIMIT)
        first.kill()
        building.cancel()
        await asyncio.wait([building])
        site.storage.bodies.clear()
        site.storage.status = 200
        site.serve()
        return await site.launcher("echo another job").run()

    result = bounded(main)
    assert (result["type"], result["status"]) == ("state-response", "success")
    assert site.printed() == ["done"]
    assert {each["result"] for each in site.log_lines if "result" in each} == {"success"}


def test_a_close_in_the_middle_ends_the_build_and_the_worker(site: LauncherSite) -> None:
    worker = site.serve()
    launcher = site.launcher(f"sleep {site.token}")

    async def main() -> None:
        building = asyncio.create_task(launcher.run())
        await asyncio.to_thread(site.wait_for_sleep)
        building.cancel()
        await asyncio.wait([building])
        await launcher.close()

    bounded(main)
    assert worker.wait() == 0
    assert not site.processes()
    assert "its launcher has said `close`" in worker.output


def test_a_launcher_of_another_machine_or_without_the_token_is_not_let_in(site: LauncherSite) -> None:
    site.variables["TOKEN"] = "hunter22"
    token = '[queue.launcher.listen]\ntokens = [{secret = "token"}]\n[secrets.token]\nenv = "TOKEN"'
    site.options(more=token)
    site.serve()

    async def main() -> None:
        launcher = site.launcher("true")
        with pytest.raises(examples.launcher.BuildLostError, match="HTTP 401"):
            await launcher.run()
        launcher.token = "hunter22"
        launcher.vm_name = f"{HOST}-x"
        with pytest.raises(examples.launcher.BuildLostError, match="another machine"):
            await launcher.run()
        launcher.vm_name = HOST[:1]
        assert kind(await launcher.run()) == "success"

    bounded(main)


def test_a_build_in_a_container(site: LauncherSite, base_image: str) -> None:
    """The commands of a step work there as they do on the machine, and its folder is that of the image or `/`."""
    site.options(f'platform = "docker"\nimage = "{base_image}"')
    steps = [
        {"id": "one", "shell": "sh -e", "run": 'set-output said "two\nlines"; set-env LATER 1; cat "$KEY"; id -u >&2'},
        {
            "shell": "sh -e",
            "run": 'echo "$SAID $LATER"; exit 4',
            "env": {"SAID": "${{ steps.one.outputs.said }}"},
            "outputs": ["x"],
        },
    ]
    secrets = [{"name": "KEY", "type": "file", "value": b64encode(b"\xff\n").decode()}]
    result = site.run_build(steps=steps, secrets={"environmentSecrets": secrets})
    assert result["externalBuildError"]["message"].endswith("exit code 4")
    assert sorted(site.printed() + site.printed("stderr")) == ["0", "lines 1", "two", "\ufffd"]
