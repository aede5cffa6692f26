"""The live displays, on a pseudo-terminal, and drawn at several widths."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console, Group
from rich.text import Text

from taskrunner.cli.display.footer import Footer, Raw
from taskrunner.cli.display.live_table import draw
from taskrunner.cli.display.live_task import LogCopy
from taskrunner.cli.display.sanitize import LineBuffer, sanitize
from taskrunner.cli.display.worker_status import RunRow, WorkerStatus
from taskrunner.model import Progress
from tests.support.command_line import LIMIT, TASKRUNNER, CommandLine, open_gate

CTRL_C = b"\x03"
WIDE = "wide" * 50

ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Executes a command whose controlling terminal is its stdin, so that keys become signals."""

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """The other side of a pseudo-terminal that a command runs on."""

    def __init__(self, main: int, process: subprocess.Popen[bytes]) -> None:
        self.main, self.process = main, process
        self.seen = ""

    def until(self, text: str) -> None:
        """Reads until this text was printed; control sequences are ignored."""
        while text not in self.seen:
            piece = self._read()
            assert piece, f"{text!r} did not come:\n{self.seen}"
            self.seen += piece

    def type(self, keys: bytes) -> None:
        self.seen = ""
        os.write(self.main, keys)

    def end(self) -> int:
        while piece := self._read():
            self.seen += piece
        return self.process.wait(LIMIT)

    def _read(self) -> str:
        try:
            return ESCAPES.sub("", os.read(self.main, 65536).decode(errors="replace"))
        except OSError as error:
            if error.errno != errno.EIO:  # Linux's error when the other side is closed
                raise
            return ""


@contextmanager
def terminal(cli: CommandLine, *arguments: str, columns: int = 100) -> Iterator[Terminal]:
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", ON_TERMINAL, TASKRUNNER, *arguments],
        stdin=side, stdout=side, stderr=side, cwd=cli.folder, env=cli.env | {"TERM": "xterm-256color"},
        start_new_session=True,
    )  # fmt: skip
    os.close(side)
    try:
        yield Terminal(main, process)
    finally:
        process.kill()
        process.wait()
        os.close(main)


def test_a_worker_shows_its_runs_and_what_ctrl_c_did(cli: CommandLine) -> None:
    gate = cli.gate()
    cli("submit", cli.task("slow", f"echo what it says last; read x < {gate}", 'name = "a slow one"'))
    with terminal(cli, "run", "--capacity", "2") as seen:
        seen.until("what it says last")
        assert "1 of 2 slots" in seen.seen
        assert "slow/0  a slow one" in seen.seen
        seen.type(CTRL_C)
        seen.until("SIGINT: finishing 1 run; Ctrl-C again hands it back")
        open_gate(gate)
        seen.until("slow/0  completed after")
        assert seen.end() == 0
        assert "stopped: 1 completed, 0 failed, 0 exception" in seen.seen


def test_the_second_ctrl_c_hands_back_and_says_so(cli: CommandLine) -> None:
    cli("submit", cli.task("slow", f"read x < {cli.gate()}"))
    with terminal(cli, "run") as seen:
        seen.until("running")
        seen.type(CTRL_C)
        seen.until("finishing 1 run")
        seen.type(CTRL_C)
        seen.until("slow/0  exception (worker-shutdown)")
        assert seen.end() == 0
    assert cli.show("slow")["state"] == "pending"


def test_the_log_of_one_task_scrolls_above_one_line(cli: CommandLine) -> None:
    gate = cli.gate()
    path = cli.task(
        "one",
        f"echo first; echo {WIDE}; read x < {gate}; printf '10%%\\r99%%\\rdone\\nlast'; exit 4",
        'name = "a name"',
    )
    with terminal(cli, "run", "--task", path) as seen:
        seen.until(f"first\r\n{WIDE}\r\n")
        seen.until("one/0  running")
        open_gate(gate)
        assert seen.end() == 1
        assert "done\r\nlast\r\n[taskrunner] failed (exit-code)" in seen.seen
        assert "99%" not in seen.seen
        assert "one/0  failed (exit-code) after" in seen.seen.splitlines()[-2]


def test_logs_on_a_terminal_is_sanitized_and_in_a_pipe_is_not(cli: CommandLine) -> None:
    cli("run", "--task", cli.task("rude", "printf '\\033[31mred\\033[0m \\033]0;a title\\007end'"))
    with terminal(cli, "logs", "rude") as seen:
        assert seen.end() == 0
    assert "red end\r\n" in seen.seen
    assert b"\x1b]0;a title\x07end" in cli("logs", "rude").raw


def test_sanitized_lines_keep_colours_and_no_other_control_sequences() -> None:
    assert sanitize(b"a\x1b[31mred\x1b[0m\n") == "a\x1b[31mred\x1b[0m\x1b[0m\n"
    hostile = b"\x1b[2J\x1b]0;title\x07\x1bc\x1bP1$r\x1b\\\x9b3A\x07\x08one\x1b[?1049h\x1b\n\x00two"
    assert sanitize(hostile).replace("\ufffd", "") == "3Aone\ntwo\x1b[0m\n"
    assert sanitize("passed \u202e0 :deliaf\u2066 \u061c\u200f!\n".encode()) == "passed 0 :deliaf !\x1b[0m\n"


def test_a_line_without_end_is_cut() -> None:
    lines = LineBuffer()
    assert sum(len(lines.feed(b"x" * 100_000)) for _ in range(10)) >= 700_000


def test_a_log_is_copied_line_by_line_as_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "log"
    copy = LogCopy(path)
    assert list(copy.pieces()) == []
    path.write_bytes(b"one\ntw")
    assert list(copy.pieces()) == [b"one\n"]
    with path.open("ab") as file:
        file.write(b"o\nthr")
    assert list(copy.pieces()) == [b"two\n"]
    assert copy.lines.rest == b"thr"


def a_status(folder: Path) -> WorkerStatus:
    (folder / "log").write_text("first\n\x1b[31ma last line that is far too long for any terminal at all\x1b[0m\n\n")
    progress = [Progress("clone", 12_345_678), Progress("build", 3, 7, "steps", "RUN make"), Progress("push", 42, 100)]
    rows = [
        RunRow(f"t-{i}/0", i, folder / "log", "a name", "loading", each) for i, each in enumerate([*progress, None])
    ]
    return WorkerStatus("sqlite:///queue.db", 4, "running", rows={row.run: row for row in rows})


def drawn(status: WorkerStatus, columns: int) -> list[str]:
    console = Console(file=StringIO(), width=columns, color_system=None)
    with console.capture() as captured:
        console.print(draw(status, columns))
    return captured.get().splitlines()


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_the_table_fits_any_terminal(tmp_path: Path, columns: int) -> None:
    status = a_status(tmp_path)
    lines = drawn(status, columns)
    assert max(map(len, lines)) <= columns
    assert len(lines) == 1 + len(status.rows) + (columns >= 70)
    status.pause = "the disk is full, and this sentence is longer than a line of such a terminal" * 3
    assert len(drawn(status, columns)) == len(lines) + 1


def test_steps_have_bars_and_others_their_last_line(tmp_path: Path) -> None:
    lines = drawn(a_status(tmp_path), 120)
    for text, line in zip(("clone 12.3 MB", "build 3 of 7 steps  RUN make", "push 42 %"), lines[2:], strict=False):
        assert text in line
        assert "━━━" in line
    assert lines[5].rstrip().endswith("a last line that is far too long for any terminal at all")


def test_the_newest_line_of_a_log_that_overflows_is_in_its_tail(tmp_path: Path) -> None:
    row = RunRow("t/0", 0, tmp_path / "log")
    row.log.write_text("head\n")
    (tmp_path / "log.tail-5-9").write_text("older\n")
    (tmp_path / "log.tail-5-10").write_text("newest\n")
    assert row.newest() == "newest"


def test_a_footer_is_erased_by_the_rows_that_it_has_at_the_present_width() -> None:
    out = StringIO()
    console = Console(file=out, width=20, height=10, force_terminal=True, color_system=None)
    footer = Footer(console)
    footer.draw((Raw("kept\n"),), Group(Text("x" * 20), Text("short")))
    assert out.getvalue() == "\r\x1b[J" + "kept\n" + "x" * 20 + "\nshort\n"
    console.width = 8
    out.truncate(0)
    out.seek(0)
    footer.draw((), Group())
    assert out.getvalue() == "\r\x1b[4A\x1b[J"  # three rows of the long line, and one


@pytest.mark.parametrize(
    ("reason", "hands_back", "offer"),
    [
        ("SIGINT", False, "Ctrl-C again hands it back"),
        ("SIGINT", True, "Ctrl-C again kills this worker"),
        ("drained by its operator", False, "Ctrl-C twice hands it back"),
        ("1 task taken, as was asked", False, "Ctrl-C twice hands it back"),
        ("drained by its operator", True, "Ctrl-C three times kills this worker"),
    ],
)
def test_the_table_offers_what_a_signal_would_do(tmp_path: Path, reason: str, hands_back: bool, offer: str) -> None:
    status = WorkerStatus(stop_reason=reason, hands_back=hands_back, rows={"t/0": RunRow("t/0", 0, tmp_path / "log")})
    assert status.notice().endswith(offer)
