"""When a log is passed on, and the size of its pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest

from taskrunner.bounded import BoundedCalls
from taskrunner.errors import Unavailable
from taskrunner.interfaces.log import LogOrigin
from taskrunner.log.spool import Spool
from taskrunner.model import COMPLETED, Claim, Move, Progress, Resolution
from taskrunner.queues.memory import MemoryQueue
from taskrunner.runs import feed as feed_module
from taskrunner.runs.feed import GATHER, LONG_PIECE, PIECE, RunFeed
from taskrunner.testing import clock

CLAIM = Claim("t", 0, {"platform": "fake"}, "w1", "token")
TEXT = b"0123456789abcde\n" * (1 << 16)


class Reader(MemoryQueue):
    """Keeps what it is told, with the time since `began`, on the loop's clock."""

    def __init__(self, take: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._take = take
        self.began = 0.0
        self.pieces: list[tuple[float, bytes]] = []
        self.progresses: list[tuple[float, Progress]] = []
        self.kinds: list[str] = []
        self.told = asyncio.Event()

    @property
    def log(self) -> bytes:
        return b"".join(piece for _, piece in self.pieces)

    async def append_log(self, claim: Claim, offset: int, chunk: bytes, origin: LogOrigin | None = None) -> None:
        assert offset == len(self.log)
        self.pieces.append((self._elapsed(), chunk))
        self._take()
        self._note("log")

    async def progress(self, claim: Claim, progress: Progress) -> None:
        self.progresses.append((self._elapsed(), progress))
        self._note("progress")

    def _note(self, kind: str) -> None:
        self.kinds.append(kind)
        self.told.set()

    def _elapsed(self) -> float:
        return asyncio.get_running_loop().time() - self.began


@attrs.frozen
class Scene:
    reader: Reader
    log: Spool
    feed: RunFeed

    async def finish(self) -> None:
        self.log.finish(COMPLETED, 1.0)
        assert await self.feed.finish() == ""

    async def until(self, pieces: int = 0, progresses: int = 0) -> None:
        """The reader has been told so much."""
        while len(self.reader.pieces) < pieces or len(self.reader.progresses) < progresses:
            self.reader.told.clear()
            await self.reader.told.wait()


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[Scene]:
    """A run that has printed nothing for an hour."""
    reader, log = Reader(), Spool(folder / "log")
    feed = RunFeed(reader, lambda: CLAIM, log, BoundedCalls(print))
    feed.start()
    await asyncio.sleep(3600)
    reader.began = asyncio.get_running_loop().time()
    yield Scene(reader, log, feed)
    await feed.stop()


@pytest.mark.parametrize(("seconds", "longest"), [(0.01, LONG_PIECE), (1.0, PIECE)])
def test_a_reader_gets_long_pieces_while_it_is_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, longest: int
) -> None:
    """A slow one gets short pieces: it is given up when it has taken none for a while."""
    now = 0.0

    def take() -> None:
        nonlocal now
        now += seconds

    async def main() -> list[bytes]:
        reader, log = Reader(take), Spool(tmp_path / "log")
        log.write(TEXT)
        log.finish(COMPLETED, 1.0)
        feed = RunFeed(reader, lambda: CLAIM, log, BoundedCalls(print))
        feed.start()
        assert await feed.finish() == ""
        return [piece for _, piece in reader.pieces]

    monkeypatch.setattr(feed_module, "_now", lambda: now)
    pieces = asyncio.run(main())
    assert b"".join(pieces).startswith(TEXT)
    assert len(pieces[0]) == PIECE
    assert max(map(len, pieces)) == longest


def test_what_a_quiet_run_prints_is_passed_on_at_once(tmp_path: Path) -> None:
    async def main() -> list[tuple[float, bytes]]:
        async with started(tmp_path) as scene:
            scene.log.write(b"sure? ")
            await scene.until(pieces=1)
            return scene.reader.pieces

    assert clock.run(main()) == [(0.0, b"sure? ")]


def test_what_a_thread_prints_or_reports_is_passed_on_too(tmp_path: Path) -> None:
    progress = Progress("pull", 1, 2)

    async def main() -> Reader:
        async with started(tmp_path) as scene:
            await asyncio.to_thread(scene.log.write, b"a line\n")
            await scene.until(pieces=1)
            await asyncio.to_thread(scene.feed.progressed, progress)
            await scene.until(progresses=1)
            return scene.reader

    reader = clock.run(main())
    assert reader.pieces == [(0.0, b"a line\n")]
    assert reader.progresses == [(pytest.approx(GATHER, abs=0.001), progress)]


def test_progress_comes_before_the_end_of_the_log(tmp_path: Path) -> None:
    async def main() -> Reader:
        async with started(tmp_path) as scene:
            scene.log.write(b"kept\n", "worker")
            scene.feed.progressed(Progress("artifacts", 1))
            await scene.finish()
            return scene.reader

    assert clock.run(main()).kinds == ["progress", "log"]


def test_lines_that_follow_each_other_are_gathered(tmp_path: Path) -> None:
    async def main() -> Reader:
        async with started(tmp_path) as scene:
            for _ in range(1000):
                scene.log.write(b"a line\n")
                await asyncio.sleep(0.001)
            await scene.finish()
            return scene.reader

    reader = clock.run(main())
    assert reader.log.startswith(b"a line\n" * 1000)
    assert len(reader.pieces) <= 2 / GATHER


def test_a_run_that_does_nothing_costs_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with started(tmp_path) as scene:
            scene.log.write(b"the last line\n")
            await scene.until(pieces=2)

    with pytest.raises(clock.Deadlock, match="no timer is set"):
        clock.run(main())


class Renewing(MemoryQueue):
    """Does not answer the first call of each kind, while the claim is renewed."""

    def __init__(self) -> None:
        super().__init__()
        self.claimed = CLAIM
        self.tokens: dict[str, list[str]] = {"log": [], "move": [], "progress": []}

    async def append_log(self, claim: Claim, offset: int, chunk: bytes, origin: LogOrigin | None = None) -> None:
        self._answer("log", claim)

    async def moved(self, claim: Claim, move: Move, ending: Resolution | None) -> None:
        self._answer("move", claim)

    async def progress(self, claim: Claim, progress: Progress) -> None:
        self._answer("progress", claim)

    def _answer(self, kind: str, claim: Claim) -> None:
        self.tokens[kind].append(claim.token)
        if len(self.tokens[kind]) == 1:
            self.claimed = attrs.evolve(claim, token=f"renewed while a {kind} was sent")
            raise Unavailable("not now")


def test_what_is_sent_again_has_the_claim_as_it_is_then(tmp_path: Path) -> None:
    """The credentials of the first try may have ended."""

    async def main() -> dict[str, list[str]]:
        queue, log = Renewing(), Spool(tmp_path / "log")
        feed = RunFeed(queue, lambda: queue.claimed, log, BoundedCalls(print))
        feed.moved(Move("", "claim", "claimed"), None)
        feed.progressed(Progress("pull", 1, 2))
        log.finish(COMPLETED, 1.0)
        feed.start()
        assert await feed.finish() == ""
        return queue.tokens

    for kind, tokens in clock.run(main()).items():
        assert tokens[1] == f"renewed while a {kind} was sent"
