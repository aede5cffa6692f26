"""Tasks that a peer in another process pushes to a worker: `taskrunner run --queue lines:///...`, over a Unix
socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from taskrunner.model import Document, RunKey
from taskrunner.state.journal_reader import read_journal
from taskrunner.state.run_folder import RunFolder
from taskrunner.stores.folder import FolderStore
from taskrunner.testing.conformance.push_source.client import PeerStory
from tests.support.e2e import LIMIT, Site, WorkerProcess
from tests.support.line_client import LineClient

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = """\
[taskrunner.queues]
lines = tests.support.line_source:LineQueue
keeping = tests.support.line_source:KeepingLineQueue

[taskrunner.platforms]
toolchain = tests.support.line_source:ToolchainPlatform
"""
BIG = 10_000_000
"""Bytes of a log that no buffer holds."""


@attrs.define(eq=False)
class PushSite(Site):
    """A home whose worker listens at a socket."""

    socket: Path = attrs.field(init=False)
    clients: list[LineClient] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.socket = self.folder / "lines.sock"
        about = self.folder / "plugins" / "line_plugins-1.0.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: line-plugins\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(PLUGINS)
        self.variables["PYTHONPATH"] = f"{ROOT}:{about.parent}"

    def serve(self, *arguments: str, scheme: str = "lines") -> WorkerProcess:
        return self.worker("--queue", f"{scheme}://{self.socket}", *arguments)

    def close(self) -> None:
        """Nothing here is in Docker."""
        for worker in self.workers:
            worker.close()
        assert not self.processes()

    async def client(self) -> LineClient:
        """A client that is connected. Waits until the worker listens."""
        async with asyncio.timeout(LIMIT):
            while True:
                try:
                    self.clients.append(await LineClient.connect(self.socket))
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    return self.clients[-1]

    async def dispatch(self, script: str, **more: Any) -> LineClient:
        client = await self.client()
        document = self.process(script, **more)
        await client.dispatch(document.pop("id"), document)
        return client

    async def story(self, script: str = "true", **more: Any) -> PeerStory:
        async with asyncio.timeout(LIMIT):
            return await PeerStory().listen(await self.dispatch(script, **more))

    def runs(self, task_id: str = "") -> list[RunKey]:
        """The runs that are in this home, in their order."""
        task_id = task_id or f"t{self.token}"
        folders = (self.home / "runs" / task_id).glob("[0-9]*")
        return sorted((RunKey(task_id, int(folder.name)) for folder in folders), key=lambda run: run.run_id)

    async def until(self, met: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT):
            while not met():  # noqa: ASYNC110  what another process does
                await asyncio.sleep(0.02)

    async def until_state(self, state: str) -> RunKey:
        await self.until(lambda: self.runs() and state in self.states(*attrs.astuple(self.runs()[-1])))
        return self.runs()[-1]

    def state_of(self, task_id: str) -> str:
        """The state that the run of a task is in."""
        states = self.states(task_id, self.runs(task_id)[0].run_id) if self.runs(task_id) else []
        return states[-1] if states else ""

    def events(self, run: RunKey) -> list[str]:
        return [record.event for record in read_journal(RunFolder(self.home, run).journal) if record.kind == "moved"]

    def notes(self, run: RunKey) -> list[str]:
        records = read_journal(RunFolder(self.home, run).journal)
        return [str(record.data["text"]) for record in records if record.kind == "note"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[PushSite]:
    site = PushSite(tmp_path)
    yield site
    site.close()


def scene(test: Callable[[PushSite], Awaitable[None]]) -> Callable[[PushSite], None]:
    async def main(site: PushSite) -> None:
        try:
            async with asyncio.timeout(3 * LIMIT):
                await test(site)
        finally:
            for client in site.clients:
                await client.disconnect()

    def run(site: PushSite) -> None:
        asyncio.run(main(site))

    run.__name__ = test.__name__
    return run


@asynccontextmanager
async def holding(site: PushSite, **more: Any) -> Any:
    """A run that goes on until the end of the block, which answers it."""
    go = site.folder / "go"
    client = await site.dispatch(f"while [ ! -e {go} ]; do sleep 0.02; done", **more)
    yield client
    go.touch()


@scene
async def test_a_queue_that_takes_no_submissions_is_served(site: PushSite) -> None:
    worker = site.serve("--max-tasks", "1")
    story = await site.story("echo hello")
    assert story.answer == "completed: "
    assert b"hello\n" in story.log
    assert story.states == ["claimed", "loading", "running", "uploading"]
    assert worker.wait() == 0


@scene
async def test_eight_offers_at_once_to_eight_free_slots_are_eight_runs(site: PushSite) -> None:
    site.serve("--capacity", "8")
    clients = [await site.client() for _ in range(8)]
    gate = site.folder / "go"
    document: Document = {"platform": "process", "command": ["sh", "-c", f"while [ ! -e {gate} ]; do sleep 0.02; done"]}
    await asyncio.gather(*(client.dispatch(f"t{n}", document) for n, client in enumerate(clients)))
    await site.until(lambda: [site.state_of(f"t{n}") for n in range(8)] == ["running"] * 8)
    gate.touch()
    assert [(await PeerStory().listen(client)).answer for client in clients] == ["completed: "] * 8


@scene
async def test_the_slot_of_an_answered_run_is_free_at_once(site: PushSite) -> None:
    """Each run leaves a folder of five hundred files, which takes a while to remove."""
    site.serve()
    for number in range(5):
        story = await site.story("i=0; while [ $i -lt 500 ]; do : > $i; i=$((i+1)); done", id=f"t{number}")
        assert story.answer == "completed: "


@scene
async def test_a_slow_peer_gets_the_whole_log_and_the_worker_does_not_grow(site: PushSite) -> None:
    worker = site.serve()
    assert (await site.story(id="first")).answer
    before = _resident(worker)
    client = await site.dispatch(f"yes 'a line of the log' | head -c {BIG}")
    run = await site.until_state("uploading")  # the command has ended, and nothing has been read
    assert _resident(worker) - before < BIG
    story = await PeerStory().listen(client)
    assert story.answer == "completed: "
    assert story.log == RunFolder(site.home, run).log.read_bytes()
    assert len(story.log) > BIG
    assert not site.notes(run)


@scene
async def test_an_offer_that_is_refused_says_why(site: PushSite) -> None:
    worker = site.serve()
    async with holding(site) as client:
        await site.until_state("running")
        assert (await site.story(id="other")).refusal == "busy: all slots of this worker are taken: 1"
        assert (await site.story()).refusal.startswith("known: ")
        assert (await site.story(id="../etc")).refusal.startswith("malformed: ")
        worker.terminate()
        worker.wait_for_output("SIGTERM")
        assert (await site.story(id="other")).refusal == "draining: the worker is stopping: SIGTERM"
    assert (await PeerStory().listen(client)).answer == "completed: "
    assert worker.wait() == 0


@scene
async def test_a_rejected_run_is_refused_with_the_words_of_the_platform(site: PushSite) -> None:
    site.serve()
    refused = await site.story(platform="toolchain")
    assert refused.refusal == "resource-unavailable: the toolchain is being installed"
    (site.folder / "toolchain").mkdir()
    assert (await site.story(platform="toolchain")).answer == "completed: "


@scene
async def test_a_disconnect_kills_the_run_and_is_no_cancellation(site: PushSite) -> None:
    site.serve()
    client = await site.dispatch(f"sleep {site.token}")
    run = await site.until_state("running")
    await site.until(site.processes)
    await client.disconnect()
    await site.until(lambda: not site.processes())
    await site.until(lambda: "cleaned" in site.events(run))
    assert "reclaim_failed" in site.events(run)
    assert "cancel" not in site.events(run)
    assert (await site.story()).answer == "completed: "


@scene
async def test_a_canceled_run_is_killed_and_answered_after_its_log(site: PushSite) -> None:
    site.serve()
    client = await site.dispatch(f"echo begun; sleep {site.token}")
    story = PeerStory()
    while b"begun" not in story.log:
        story.add(await client.receive())
    await client.cancel()
    await story.listen(client)
    assert story.answer.startswith("exception (canceled)")
    assert story.log == RunFolder(site.home, site.runs()[0]).log.read_bytes()
    assert not site.processes()


@scene
async def test_a_run_outlives_its_connection_when_its_source_keeps_it(site: PushSite) -> None:
    worker = site.serve(scheme="keeping")
    async with holding(site) as client:
        run = await site.until_state("running")
        await client.disconnect()
        second = await site.client()
        await second.resume(run.task_id)
        story = PeerStory()
        while "running" not in story.states:  # a state is told after it is in the journal, to whoever is there then
            story.add(await second.receive())
    assert (await story.listen(second)).answer == "completed: "
    await second.disconnect()
    late = await site.client()
    await late.resume(run.task_id)
    assert (await PeerStory().listen(late)).answer == "completed: "
    await late.send("drain")
    assert worker.wait() == 0
    assert "the peer said so" in worker.output


@scene
async def test_a_peer_that_takes_nothing_is_given_up_and_the_journal_says_so(site: PushSite) -> None:
    site.variables["PEER_PATIENCE"] = "1"
    worker = site.serve("--max-tasks", "1")
    await site.dispatch(f"yes | head -c {BIG}")
    assert worker.wait() == 0
    [run] = site.runs()
    assert site.events(run)[-2:] == ["uploaded", "cleaned"]
    log, answer = site.notes(run)
    assert "of the log: they were not taken within 1 s" in log
    assert answer == "its peer has not taken the answer, completed"


@scene
async def test_run_ids_never_repeat_and_artifacts_are_in_both_places(site: PushSite) -> None:
    told = []
    for number in range(2):
        worker = site.serve()
        artifacts = [{"name": "report", "path": "report"}]
        story = await site.story(f"echo {number} > report", artifacts=artifacts)
        assert story.answer == "completed: "
        told.append(story.artifacts["report"])
        worker.kill()
    store = FolderStore(site.home / "artifacts")
    kept = [chunk for run in site.runs() async for chunk in store.get(run, "report")]
    assert told == kept == [b"0\n", b"1\n"]


def _resident(worker: WorkerProcess) -> int:
    """Bytes of memory that the process of a worker has."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
