"""The log of a build as lines of JSON.

What a run writes is masked already: the pieces come from its own log. A line is cut where it is longer than anybody
reads, and the rest of it is another one.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import attrs

from taskrunner.interfaces.log import LogOrigin, LogStream
from taskrunner.limits import EARLIEST
from taskrunner.model import Move, Progress, Resolution
from taskrunner.queues.launcher.log.phases import LogPhases, Marker

INFO, WARNING, ERROR = 30, 40, 50
"""Levels of bunyan, whose format it is."""

LONGEST = 16 << 10
"""Characters of one line."""

OWN = "[taskrunner] "
"""How a line of the worker's own begins. As long as a log has no other lines, nothing else says where they came from.
"""

PROGRESS_EVERY = timedelta(seconds=10)
"""Between two lines about the progress of one step of the worker: as often as the log is sent."""

SOURCES: dict[LogStream, str] = {"stdout": "stdout", "both": "stdout", "stderr": "stderr"}


@attrs.define
class _LineCutter:
    """The end of a stream that has no line feed yet."""

    decoder: codecs.IncrementalDecoder = attrs.field(factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))
    rest: str = ""

    def lines(self, piece: bytes, *, final: bool = False) -> Iterator[str]:
        *whole, self.rest = (self.rest + self.decoder.decode(piece, final)).split("\n")
        for line in whole:
            yield from _cut(line)
        while len(self.rest) > LONGEST:
            yield self.rest[:LONGEST]
            self.rest = self.rest[LONGEST:]
        if final and self.rest:
            yield self.rest
            self.rest = ""


def _cut(line: str) -> Iterator[str]:
    for start in range(0, max(1, len(line)), LONGEST):
        yield line[start : start + LONGEST]


def _now() -> datetime:
    return datetime.now(UTC)


class LogLines:
    """Makes lines of the pieces of one log, and of what happens to its run. `now` is the time of day at which that
    happens."""

    def __init__(self, phases: LogPhases, now: Callable[[], datetime] = _now) -> None:
        self.phases, self._now = phases, now
        self._last = EARLIEST
        """The time of the last line."""
        self._told: dict[str, datetime] = {}
        """When the progress of each step had its last line."""
        self._streams: dict[LogStream, _LineCutter] = {stream: _LineCutter() for stream in (*SOURCES, "worker")}

    def piece(self, piece: bytes, origin: LogOrigin | None) -> Iterator[bytes]:
        """A piece may begin and end anywhere."""
        at = self._time(origin.at if origin else self._now())
        stream = origin.stream if origin else "worker" if piece.startswith(OWN.encode()) else "both"
        for line in self._streams[stream].lines(piece):
            yield from self._line(line, stream, at)

    def moved(self, move: Move, ending: Resolution | None) -> Iterator[bytes]:
        yield from self._rests()
        yield from map(self._marker, self.phases.moved(move, ending, self._time(self._now())))

    def progress(self, progress: Progress) -> Iterator[bytes]:
        """How far a step of the worker is, such as a download. A step of the job has markers."""
        at = self._time(self._now())
        if progress.step == "step" or at - self._told.get(progress.step, EARLIEST) < PROGRESS_EVERY:
            return
        self._told[progress.step] = at
        of = "" if progress.total is None else f"/{progress.total:g}"
        yield self._json(f"{progress.step}: {progress.done:g}{of} {progress.unit}", at)

    def finish(self, resolution: Resolution) -> Iterator[bytes]:
        yield from self._rests()
        yield from map(self._marker, self.phases.finish(resolution, self._time(self._now())))

    def _time(self, at: datetime) -> datetime:
        """Never earlier than that of the line before: a piece may have the time of its first byte."""
        self._last = max(self._last, at)
        return self._last

    def _line(self, line: str, stream: LogStream, at: datetime) -> Iterator[bytes]:
        if stream != "worker":
            yield self._json(line.removesuffix("\r"), at, source=SOURCES[stream])
            return
        text = line.removeprefix(OWN)
        markers = list(self.phases.line(text, at))
        if not markers:
            yield self._json(text, at)
        elif markers[0].result is not None:  # the end of a step, or of the one before it
            yield from (self._marker(marker, text) for marker in markers)
        else:
            yield from map(self._marker, markers)

    def _rests(self) -> Iterator[bytes]:
        """What has no line feed before the run goes on: nothing of it follows."""
        at = self._time(self._now())
        for stream, lines in self._streams.items():
            for line in list(lines.lines(b"", final=True)):
                yield from self._line(line, stream, at)

    def _marker(self, marker: Marker, text: str = "") -> bytes:
        begins = marker.result is None
        more = {} if begins else {"result": marker.result, "durationMs": marker.duration}
        text = text if text and not begins else f"{'Start' if begins else 'End'} phase: {marker.phase.name}"
        name = "START_PHASE" if begins else "END_PHASE"
        level = ERROR if marker.result == "failed" else INFO
        return json_line(
            text, marker.at, level, _of_phase(marker.phase.name, marker.phase.step_id) | {"marker": name} | more
        )

    def _json(self, text: str, at: datetime, **more: object) -> bytes:
        phase = self.phases.current
        return json_line(text, at, INFO, (_of_phase(phase.name, phase.step_id) if phase else {}) | more)


def _of_phase(name: str, step_id: str) -> dict[str, object]:
    step = {"buildStepId": step_id, "buildStepDisplayName": name} if step_id else {}
    return {"phase": name, **step}


def json_line(text: str, at: datetime, level: int, more: Mapping[str, object]) -> bytes:
    time = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return (
        json.dumps({"level": level, "msg": text, "time": time, **more}, ensure_ascii=False).encode("utf-8", "replace")
        + b"\n"
    )
