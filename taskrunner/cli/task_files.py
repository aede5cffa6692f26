"""Task files: reading one, and checking it as a worker does."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from taskrunner.cli.display.sanitize import printable
from taskrunner.config.plugins import payload_classes
from taskrunner.errors import Complaint, ConfigError, MalformedPayload
from taskrunner.limits import MAX_DOCUMENT
from taskrunner.model import Submission
from taskrunner.schema.parse import parse_document, read_document
from taskrunner.schema.task import decode_task, submission_of


def read_task(path: str) -> Submission:
    """Reads a task from a file, or from stdin when the path is `-`. Only a task that cannot be queued is refused.

    Raises: MalformedPayload.
    """
    if path != "-":
        return submission_of(read_document(Path(path)))
    if sys.stdin is None:  # a process may be started without one
        raise MalformedPayload(Complaint("stdin", "is closed", "send the task to it, or name a file"))
    return submission_of(parse_document(sys.stdin.buffer.read(MAX_DOCUMENT + 1), "stdin"))


def warn_of_mistakes(submission: Submission) -> None:
    """Prints on stderr why a worker will refuse the task, so that the author need not wait for the worker."""
    try:
        decode_task(submission.document, payload_classes())
    except MalformedPayload as error:
        click.echo(f"taskrunner: no worker will take this task:\n{printable(str(error))}", err=True)
    except ConfigError as error:
        click.echo(f"taskrunner: this task cannot be checked here: {error}", err=True)
