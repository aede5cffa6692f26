"""Task files: reading one, and checking it as a worker does."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from taskrunner.cli.display.sanitize import printable
from taskrunner.config.plugins import platforms
from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.limits import MAX_DOCUMENT
from taskrunner.model import Document, Submission
from taskrunner.schema.check import submission_complaints
from taskrunner.schema.parse import parse_document, read_document
from taskrunner.schema.task import submission_of


def read_task(path: str) -> Document:
    """Reads a task from a file, or from stdin when the path is `-`.

    Raises: MalformedPayload.
    """
    if path != "-":
        return read_document(Path(path))
    if sys.stdin is None:  # a process may be started without one
        raise MalformedPayload(Complaint("stdin", "is closed", "send the task to it, or name a file"))
    return parse_document(sys.stdin.buffer.read(MAX_DOCUMENT + 1), "stdin")


def lenient_submission(document: Document) -> Submission:
    """The submission of a task, also of one that no worker will take.

    Raises: MalformedPayload for what cannot be queued at all, such as a bad id; with every other complaint about it.
    """
    try:
        return submission_of(document)
    except MalformedPayload as error:
        raise MalformedPayload(*dict.fromkeys((*error.complaints, *complaints_about(document)))) from None


def complaints_about(document: Document) -> tuple[Complaint, ...]:
    """Why no worker could take this task, as far as that is known here. What only this machine lacks is a warning on
    stderr: the task may be for the worker of another one."""
    complaints, warning = submission_complaints(document, platforms())
    if warning:
        warn(warning)
    return complaints


def warn(text: str) -> None:
    click.echo(f"taskrunner: {printable(text)}", err=True)
