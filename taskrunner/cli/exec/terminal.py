"""The terminal of the caller, while a remote command uses it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType

from taskrunner.interfaces.execution import Size

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end this program. By default they would do so at once, and leave the terminal as it is."""


def has_terminal() -> bool:
    """Whether all three streams are a terminal: where one goes elsewhere, its bytes must stay what they are."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def size_of(terminal: int) -> Size:
    columns, rows = os.get_terminal_size(terminal)
    return Size(rows, columns)


@contextmanager
def raw(terminal: int) -> Iterator[None]:
    """Each key goes to the remote command as it is, Ctrl-C too. The settings of before are back after the block,
    however it ends, also by SIGTERM."""
    with ExitStack() as restoring:
        before = termios.tcgetattr(terminal)
        restoring.callback(_restore, terminal, before)
        for number in ENDING:
            restoring.callback(signal.signal, number, signal.signal(number, _end))
        tty.setraw(terminal, termios.TCSANOW)  # with TCSAFLUSH, what was typed already would be lost
        yield


def _restore(terminal: int, settings: list[object]) -> None:
    with suppress(termios.error):  # the terminal itself has gone
        termios.tcsetattr(terminal, termios.TCSANOW, settings)  # type: ignore[arg-type]  # as tcgetattr returned them


def _end(number: int, _: FrameType | None) -> None:
    """Runs also while a write to a stopped terminal blocks, where a callback of the event loop would not."""
    sys.exit(128 + number)


@contextmanager
def on_resize(call: Callable[[], object]) -> Iterator[None]:
    """Calls this whenever the window of the terminal has got another size."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, call)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
