"""A build's log: the daemon's reports, as lines for people.

::

    #5 [base 2/2] RUN make
    #5 0.067 cc -c hello.c
    #5 DONE 0.1s
"""

from __future__ import annotations

import re

import attrs

from taskrunner.interfaces.log import Log, OutputMasker
from taskrunner_docker.buildkit.steps import BuildStep, Steps
from taskrunner_docker.buildkit.trace import Trace, VertexLog, VertexStatus, VertexWarning

MAX_LINE = 1 << 16  # bytes; a longer line is broken, so that an endless one does not fill the memory
_ERRORS = 2  # the stream that a program writes its errors to
_CLIPPED = re.compile(rb"\[output clipped, log limit (\d+[KM]iB(/s)?) reached\]")
"""BuildKit writes this into the output of a step, and leaves out what follows."""
_UNITS = ("B", "kB", "MB", "GB", "TB")


@attrs.define
class _StepLog:
    """The part of the log about one step, as far as it is written."""

    named: bool = False
    ending: str = ""
    parts: set[str] = attrs.field(factory=set)
    """Parts (layers, files) that were reported as complete."""
    open_lines: dict[bool, bytearray] = attrs.field(factory=dict)
    """For output and for errors: the start of a line that is not complete, with its time."""
    maskers: dict[bool, OutputMasker] = attrs.field(factory=dict)
    """The same keys. The output is masked before it is cut into lines: a secret may be longer than one."""

    stamp: bytes = b""
    """Seconds since the step's start, of its newest output."""

    def add(self, errors: bool, piece: bytes) -> bytearray:
        line = self.open_lines.setdefault(errors, bytearray(self.stamp))
        line += piece
        return line

    def take(self, errors: bool) -> bytes:
        return bytes(self.open_lines.pop(errors))


class BuildLog:
    """Writes the log of one build, with one write for each message of the daemon. Used from one thread."""

    def __init__(self, steps: Steps, log: Log) -> None:
        self._steps, self._log = steps, log
        self._shown: dict[int, _StepLog] = {}
        self._lines: list[bytes] = []
        self._current = 0
        """Number of the step of the last line."""

    def feed(self, trace: Trace) -> None:
        """Writes one message. The log may raise, and the message is lost then."""
        updated = [step for vertex in trace.vertexes if (step := self._steps.update(vertex))]
        for step in updated:
            if step.started is not None or step.error:
                self._name(step)
        for status in trace.statuses:
            self._part(status)
        for output in trace.outputs:
            self._output(output)
        for warning in trace.warnings:
            self._warning(warning)
        for step in updated:
            self._ending(step)
        self._flush()

    def add_line(self, text: str) -> None:
        """Writes a line that belongs to no step."""
        if text:
            self._lines.append(text.encode("utf-8", "replace") + b"\n")
            self._flush()

    def finish(self) -> None:
        """Writes the lines that are not complete."""
        for step in self._steps:
            self._unfinished(step, self._log_of(step.number))
        self._flush()

    def _name(self, step: BuildStep) -> None:
        shown = self._log_of(step.number)
        if not shown.named:
            shown.named = True
            self._line(step, step.name.encode())

    def _part(self, status: VertexStatus) -> None:
        step = self._steps.find(status.vertex)
        if step is None or status.completed is None or status.id in self._log_of(step.number).parts:
            return
        self._log_of(step.number).parts.add(status.id)
        size = f" {_human(status.current)}" if status.current > 0 else ""
        self._line(step, f"{_printable(status.id)}{size} done".encode())

    def _output(self, output: VertexLog) -> None:
        step = self._steps.find(output.vertex)
        if step is None:
            return
        shown, errors = self._log_of(step.number), output.stream == _ERRORS
        shown.stamp = f"{max(0.0, output.time - (step.started or output.time)):.3f} ".encode()
        masker = shown.maskers.get(errors) or shown.maskers.setdefault(errors, self._log.new_masker())
        self._add(step, shown, errors, masker.feed(output.data))

    def _add(self, step: BuildStep, shown: _StepLog, errors: bool, data: bytes) -> None:
        *ended, rest = data.split(b"\n")
        for piece in ended:
            shown.add(errors, piece)
            self._output_line(step, shown.take(errors))
        if rest and len(shown.add(errors, rest)) >= MAX_LINE:
            self._line(step, shown.take(errors))

    def _output_line(self, step: BuildStep, text: bytes) -> None:
        self._line(step, text)
        if found := _CLIPPED.search(text):
            variable = "BUILDKIT_STEP_LOG_MAX_SPEED" if found[2] else "BUILDKIT_STEP_LOG_MAX_SIZE"
            advice = f"write less, or let the operator set {variable}=-1 in the environment of dockerd"
            self._line(step, f"WARNING: Docker leaves out a part of this step's output: {advice}".encode())

    def _warning(self, warning: VertexWarning) -> None:
        url = f" ({warning.url})" if warning.url else ""
        if step := self._steps.find(warning.vertex):
            self._line(step, f"WARNING: {_printable(warning.text + url)}".encode())

    def _ending(self, step: BuildStep) -> None:
        shown = self._log_of(step.number)
        if step.ending and (not shown.ending or (step.error and step.ending != shown.ending)):
            shown.ending = step.ending
            self._unfinished(step, shown)
            self._line(step, _printable(step.ending).encode())

    def _unfinished(self, step: BuildStep, shown: _StepLog) -> None:
        for errors, masker in shown.maskers.items():
            self._add(step, shown, errors, masker.flush())
        for errors in tuple(shown.open_lines):
            self._line(step, shown.take(errors))

    def _log_of(self, number: int) -> _StepLog:
        return self._shown.setdefault(number, _StepLog())

    def _line(self, step: BuildStep, text: bytes) -> None:
        """One line about a step. After a line about another step, the name of the step comes first."""
        mark = b"#%d " % step.number
        if self._current not in {0, step.number}:
            self._lines.append(b"\n")
        if self._current != step.number and text != step.name.encode():
            self._lines.append(mark + step.name.encode() + b"\n")
        self._current = step.number
        self._lines.append(mark + text + b"\n")

    def _flush(self) -> None:
        if self._lines:
            data = b"".join(self._lines)
            self._lines.clear()
            self._log.write(data)


def _printable(text: str) -> str:
    """On one line."""
    return " ".join(text.split())


def _human(size: float) -> str:
    """Bytes with a unit: `62.1 MB`."""
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:  # noqa: PLR2004  SI units, as docker shows them
            break
        size /= 1000
    return f"{size:.1f} {unit}" if unit != "B" else f"{size:.0f} B"
