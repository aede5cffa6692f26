"""LogConformance: what every log does with bytes, streams, lines and secrets."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import quote

from taskrunner.interfaces.log import Log, LogStream
from taskrunner.testing.conformance.contract import unwrapped
from taskrunner.testing.conformance.kit import ConformanceKit
from taskrunner.testing.conformance.time_limit import TimeLimit

L = TypeVar("L", bound=Log)
K = TypeVar("K", bound=ConformanceKit)

SECRET = "s3cr3t/with+signs & spaces"  # noqa: S105  it is one for a test


def _limited(test: Callable[[K, Path], None]) -> Callable[[K, Path], None]:
    """Ends a test that hangs."""

    def run(self: K, tmp_path: Path) -> None:
        with TimeLimit(self.limit, self.checker.pending_calls).interrupting():
            test(self, tmp_path)

    run.__name__, run.__qualname__ = test.__name__, test.__qualname__
    return run


class LogConformance(ConformanceKit, ABC, Generic[L]):
    """The contract of Log."""

    limit = 60.0

    @abstractmethod
    def log(self, folder: Path) -> L:
        """A log that is empty. `folder` exists and is empty."""

    @abstractmethod
    def contents(self, log: L) -> bytes:
        """Ends the log, and returns all of it. May be called again."""

    @abstractmethod
    def pieces(self, log: L) -> Sequence[tuple[str, bytes]]:
        """Ends the log, and returns the same in pieces, each with the stream that it came from. May be called again."""

    @_limited
    def test_the_bytes_of_a_task_are_kept_as_they_are(self, tmp_path: Path) -> None:
        log, data = self._open(tmp_path), bytes(range(256)) * 20 + "grün".encode()
        for begin in range(0, len(data), 7):
            log.write(data[begin : begin + 7])
        log.write(b"")
        assert data in self._end(log)

    @_limited
    def test_each_piece_keeps_its_stream_and_its_place(self, tmp_path: Path) -> None:
        log = self._open(tmp_path)
        written: list[tuple[LogStream, bytes]] = [
            ("stdout", b"out "), ("stderr", b"no end of line"), ("stdout", b"put\n"), ("both", b"either\n"),
            ("stderr", b"more\n"), ("both", b"one\n"), ("stdout", b"last\n"),
        ]  # fmt: skip
        for stream, data in written:
            log.write(data, stream)
        log.write(b"by default\n")
        log.say("a line")
        contents, pieces = self._end(log), self.pieces(unwrapped(log))
        assert b"".join(data for _, data in written) + b"by default\n" in contents
        assert b"".join(data for _, data in pieces) == contents
        for stream in ("stderr", "both"):
            assert text_of(stream, pieces) == text_of(stream, written)
        assert text_of("stdout", pieces) == text_of("stdout", written) + b"by default\n"
        assert b"[taskrunner] a line\n" in text_of("worker", pieces)

    @_limited
    def test_a_line_of_the_worker_is_marked(self, tmp_path: Path) -> None:
        log = self._open(tmp_path)
        log.say("pulling busybox")
        log.say("one\ntwo")
        lines = self._end(log).splitlines()
        for text in (b"pulling busybox", b"one", b"two"):
            assert b"[taskrunner] " + text in lines

    @_limited
    def test_a_secret_never_shows(self, tmp_path: Path) -> None:
        log = self._open(tmp_path)
        log.mask(SECRET)
        for prefix in ("", "u:", "us:", "user:"):
            log.write(b64encode(f"{prefix}{SECRET}".encode()) + b"\n")
        log.write(f"before {SECRET} after\n".encode() + quote(SECRET, safe="").encode() + b"\n")
        log.say(f"cannot clone https://user:{SECRET}@host/")
        contents = self._end(log)
        assert b"before " in contents
        assert b" after" in contents
        for hidden in _forms():
            assert hidden not in contents

    @_limited
    def test_a_secret_is_masked_across_the_borders_of_calls(self, tmp_path: Path) -> None:
        log = self._open(tmp_path)
        log.mask(SECRET)
        for cut in range(1, len(SECRET)):
            log.write(f"<{SECRET[:cut]}".encode())
            log.write(f"{SECRET[cut:]}>\n".encode())
        for byte in SECRET.encode():
            log.write(bytes([byte]))
        assert SECRET.encode() not in self._end(log)

    @_limited
    def test_a_secret_is_masked_across_a_piece_of_another_stream(self, tmp_path: Path) -> None:
        log = self._open(tmp_path)
        log.mask(SECRET)
        for cut in range(1, len(SECRET)):
            log.write(f"<{SECRET[:cut]}".encode(), "stderr")
            log.write(b"progress\n")
            log.write(f"{SECRET[cut:]}>\n".encode(), "stderr")
        contents, pieces = self._end(log), self.pieces(unwrapped(log))
        assert SECRET.encode() not in contents
        assert SECRET.encode() not in text_of("stderr", pieces)
        assert text_of("stdout", pieces) == b"progress\n" * (len(SECRET) - 1)

    @_limited
    def test_a_masker_masks_what_an_engine_cuts(self, tmp_path: Path) -> None:
        log = self._open(tmp_path)
        before, later = log.new_masker(), "another s3cr3t value"
        log.mask(SECRET)
        log.mask(later)
        for masker in (before, log.new_masker()):
            pieces = [masker.feed(bytes([byte])) for byte in f"<{SECRET}, {later}> s3cr".encode()]
            masked = b"".join([*pieces, masker.flush()])
            assert masked.startswith(b"<")
            assert masked.endswith(b"> s3cr")
            assert SECRET.encode() not in masked
            assert later.encode() not in masked

    @_limited
    def test_the_beginning_of_a_secret_is_not_masked(self, tmp_path: Path) -> None:
        log = self._open(tmp_path)
        log.mask(SECRET)
        beginning = SECRET[: len(SECRET) // 2].encode()
        log.write(b"it ends with " + beginning)
        assert b"it ends with " + beginning in self._end(log)

    @_limited
    def test_an_empty_secret_hides_nothing(self, tmp_path: Path) -> None:
        log = self._open(tmp_path)
        log.mask("")
        log.write(b"plain text\n")
        assert b"plain text\n" in self._end(log)

    @_limited
    def test_threads_may_write_at_the_same_time(self, tmp_path: Path) -> None:
        log = self._open(tmp_path)
        log.mask(SECRET)

        def write(number: int) -> None:
            for line in range(200):
                log.write(f"thread {number} line {line}\n".encode())

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = self._end(log).decode().splitlines()
        for number in range(4):
            mine = [line for line in lines if line.startswith(f"thread {number} ")]
            assert mine == [f"thread {number} line {line}" for line in range(200)]

    @_limited
    def test_after_the_end_writes_go_nowhere(self, tmp_path: Path) -> None:
        log = self._open(tmp_path)
        log.write(b"in time\n")
        before = self._end(log)
        log.write(b"too late\n")
        log.say("too late")
        log.mask("too late as well")
        assert self._end(log) == before
        assert b"in time" in before

    def _open(self, folder: Path) -> L:
        return self.checker.wrap(self.log(folder), Log)

    def _end(self, log: L) -> bytes:
        contents = self.contents(unwrapped(log))
        assert isinstance(contents, bytes)
        return contents


def text_of(stream: str, pieces: Sequence[tuple[str, bytes]]) -> bytes:
    """All that came from one stream."""
    return b"".join(data for each, data in pieces if each == stream)


def _forms() -> list[bytes]:
    """What may not be in the log: the secret, its form in URLs, and the common part of all its base64 forms."""
    inner = [b64encode(bytes(before) + SECRET.encode())[4:-4] for before in range(3)]
    return [SECRET.encode(), quote(SECRET, safe="").encode(), *inner]


__all__ = ["LogConformance"]
