"""What the main command of a run begins with as its standard streams."""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailedInternally, local_failure
from taskrunner.interfaces.log import LogStream
from taskrunner_process.accounts.account import Account
from taskrunner_process.exec import FOR_GROUP

INPUT_TIME = 60.0
"""Seconds to write the payload's text to disk, which has a few megabytes at most."""


async def open_input(text: str, folder: Path, account: Account | None) -> int:
    """The standard input as a file without a name, which needs no writer while the command runs.

    Raises: TaskFailedInternally.
    """
    if not text:
        return os.open(os.devnull, os.O_RDONLY)
    try:
        return await run_blocking(
            partial(_save, text.encode(), folder, account),
            limit=INPUT_TIME,
            doing="keeping the input",
            discard=os.close,
            error=TaskFailedInternally,
        )
    except OSError as error:
        raise local_failure(f"the standard input could not be kept: {error.strerror}", error) from None


def _save(text: bytes, folder: Path, account: Account | None) -> int:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(text)
        file.seek(0)
        if account:
            account.take(file.fileno())
            if account.sudo:
                os.fchmod(file.fileno(), FOR_GROUP)
        return os.dup(file.fileno())


def open_outputs(*, separate: bool) -> tuple[dict[LogStream, int], int, int]:
    """The worker's ends of the output, by stream, and the stdout and stderr of the command.

    By default these two are one pipe, which keeps the order in which the command writes. Of two pipes, the kernel does
    not say which was written to first: a shell that writes to both in turn has half of its lines out of place.
    """
    reading, stdout = os.pipe()
    if not separate:
        return {"both": reading}, stdout, stdout
    reading_stderr, stderr = os.pipe()
    return {"stdout": reading, "stderr": reading_stderr}, stdout, stderr
