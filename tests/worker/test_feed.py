"""The size of the pieces in which a log is passed on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from taskrunner.bounded import BoundedCalls
from taskrunner.interfaces.log import LogOrigin
from taskrunner.log.spool import Spool
from taskrunner.model import Claim, Resolution
from taskrunner.queues.memory import MemoryQueue
from taskrunner.runs import feed as feed_module
from taskrunner.runs.feed import LONG_PIECE, PIECE, RunFeed

CLAIM = Claim("t", 0, {"platform": "fake"}, "w1", "token")
TEXT = b"0123456789abcde\n" * (1 << 16)


@pytest.mark.parametrize(("seconds", "longest"), [(0.01, LONG_PIECE), (1.0, PIECE)])
def test_a_reader_gets_long_pieces_while_it_is_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, longest: int
) -> None:
    """A slow one gets short pieces: it is given up when it has taken none for a while."""
    pieces: list[bytes] = []
    now = 0.0

    class Reader(MemoryQueue):
        async def append_log(self, claim: Claim, offset: int, chunk: bytes, origin: LogOrigin | None = None) -> None:
            nonlocal now
            assert offset == sum(map(len, pieces))
            pieces.append(chunk)
            now += seconds

    async def scene() -> None:
        log = Spool(tmp_path / "log")
        log.write(TEXT)
        log.finish(Resolution("completed"), 1.0)
        feed = RunFeed(Reader(), lambda: CLAIM, log, BoundedCalls(print))
        feed.start()
        assert await feed.finish() == ""

    monkeypatch.setattr(feed_module, "_now", lambda: now)
    asyncio.run(scene())
    assert b"".join(pieces).startswith(TEXT)
    assert len(pieces[0]) == PIECE
    assert max(map(len, pieces)) == longest
