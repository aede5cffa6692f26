"""QueueFile: a file that the queue's system has for a run, such as an image in an artifact of another task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs


@attrs.frozen
class QueueFile:
    """Where the file is now. Made for one run, after the queue's system has said that this run may have it."""

    name: str
    """For messages."""
    url: str = attrs.field(repr=False)
    """Where it is downloaded from, without further credentials. It may be signed, so it is never shown, and does not
    last."""
    key: str
    """Names the content: under one key there is never another one, so a copy can be kept for later runs."""


LocateFile = Callable[[str], Awaitable[QueueFile]]
"""Finds a file by the name that the queue has given to it in the run's document.

Raises: MalformedPayload (there is no such file, or the run may not have it), NotSupported, Unavailable.
"""
