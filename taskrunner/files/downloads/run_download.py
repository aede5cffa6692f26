"""A download of a run: with credentials that no log shows, the authority of its worker, and its progress reported."""

from __future__ import annotations

from pathlib import Path

from taskrunner.files.download import download
from taskrunner.files.downloads.location import Location
from taskrunner.interfaces.platform import RunContext
from taskrunner.model import Secret


def masked_location(context: RunContext, url: str, token: Secret | None = None) -> Location:
    """Where a file is. Its credentials are masked in the log of the run from now on.

    Raises: TaskFailed (the URL is wrong), MalformedPayload (there is no such secret).
    """
    location = Location.parse(url, context.reveal(token) if token else "")
    for secret in location.secrets:
        context.log.mask(secret)
    return location


async def download_for_run(context: RunContext, location: Location, target: Path, sha256: str, *, label: str) -> None:
    """As `download`. Its lines in the log of the run begin with `label`, the part of the task that it is for."""
    context.log.say(f"{label}: downloading {location}")
    ca_file = context.source_options.ca_file
    size = await download(
        location,
        target,
        sha256,
        log=context.log,
        progress=context.progress,
        ca_file=Path(ca_file) if ca_file else None,
    )
    context.log.say(f"{label}: downloaded {size} bytes")
