"""An image that comes out of a file, in place of a registry."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from attrs.validators import matches_re

from taskrunner.errors import Complaint
from taskrunner.model import Secret, Source

_CHECKSUM_HINT = "write the 64 hex digits that `sha256sum` prints"


@attrs.frozen
class ImageFile:
    """A tar as `docker save` writes it, with one image."""

    url: str = attrs.field(
        default="",
        validator=matches_re(r"(?:https?://[^\x00-\x20\x7f]+)?"),
        metadata={"doc": "Where it is downloaded from; it needs a `sha256`.", "hint": "write an https:// URL"},
    )
    path: str = attrs.field(
        default="",
        validator=matches_re(r"(?:/[^\x00-\x1f\x7f]+)?"),
        metadata={
            "doc": "Or its full path on the worker's machine, if [source] archives allows that.",
            "hint": "write the full path",
        },
    )
    sha256: str = attrs.field(
        default="",
        validator=matches_re(r"(?:[0-9a-fA-F]{64})?"),
        metadata={"doc": "The checksum of the file.", "hint": _CHECKSUM_HINT},
    )
    token: Secret | None = attrs.field(default=None, metadata={"doc": "The password for the URL."})
    from_queue: str = attrs.field(
        default="",
        validator=matches_re(r"(?:[a-z0-9-]{1,64})?"),
        metadata={
            "doc": "Or its name at the queue: written by queues whose tasks name images in another way.",
            "hint": "leave it out",
        },
    )

    @property
    def source(self) -> Source:
        """As the worker's one way to fetch an archive takes it."""
        return Source(archive=self.url or self.path, sha256=self.sha256, token=self.token)


def image_file_complaints(file: ImageFile) -> Iterator[Complaint]:
    """The mistakes that types cannot find."""
    if file.from_queue and file != ImageFile(from_queue=file.from_queue):
        yield Complaint("image_file.from_queue", "stands beside other fields", "leave them out")
        return
    if not (file.url or file.path or file.from_queue):
        yield Complaint("image_file", "names no file", "write `url` and `sha256`, or `path`")
    if file.url and file.path:
        yield Complaint("image_file.path", "stands beside `url`", "leave one of them out")
    if file.url and not file.sha256:
        yield Complaint("image_file.sha256", "is missing beside `url`", _CHECKSUM_HINT)
    if file.path and file.token:
        yield Complaint("image_file.token", "is of no use for a path", "leave it out")
