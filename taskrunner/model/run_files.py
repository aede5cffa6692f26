"""The files of a run: where they come from, what is put beside them, and which of them are kept."""

from __future__ import annotations

from typing import Literal

import attrs
from attrs.validators import and_, ge, le, matches_re

from taskrunner import limits
from taskrunner.model.document import Secret

_INSIDE_PATTERN = rf"(?!/)(?!(?:.*/)?\.\.(?:/|$)){limits.PRINTABLE}{{1,4095}}"
"""A relative path that does not leave its folder. 4095 is PATH_MAX without its end."""

MAX_EXPIRY = 100 * 365 * 24 * 3600
"""Seconds: longer than anybody plans for, and short enough for a calendar to hold its end."""

MAX_STRIP = 16
"""Of a path's leading parts."""


@attrs.frozen
class Source:
    """Where the files of the run come from: a commit of a git repository, or an archive."""

    repository: str = attrs.field(
        default="",
        metadata={
            "variant": "repository",
            "hint": "write a URL that git can fetch from, such as https://git.example/team/web.git, or an `archive`",
        },
    )
    """Any URL that git can fetch from, without credentials in it."""
    ref: str = attrs.field(default="", metadata={"variant": "repository"})
    """A branch, a tag, or the full id of a commit; empty for the default branch."""
    token: Secret | None = None
    """The password for the repository or the archive, over HTTP."""
    submodules: bool | tuple[str, ...] = attrs.field(default=True, metadata={"variant": "repository"})
    """Whether the files of submodules are fetched too, or the paths of those whose files are."""
    archive: str = attrs.field(
        default="",
        validator=matches_re(r"(?:https?://[^\x00-\x20\x7f]+|/[^\x00-\x1f\x7f]+)?"),
        metadata={
            "variant": "archive",
            "hint": "write an https:// URL, or the full path of an archive that the worker's configuration allows",
        },
    )
    """The URL of a tar (plain, gzip, bzip2, xz, zstd) or zip, or its full path on the worker's machine."""
    sha256: str = attrs.field(
        default="",
        validator=matches_re(r"(?:[0-9a-fA-F]{64})?"),
        metadata={"variant": "archive", "hint": "write the 64 hex digits that `sha256sum` prints"},
    )
    """The checksum of the archive. Without it, the archive is downloaded for each run, and taken as it is."""
    strip: int = attrs.field(default=0, validator=[ge(0), le(MAX_STRIP)], metadata={"variant": "archive"})
    """How many leading parts are removed from each path: 1 for an archive whose files are all in one folder."""


@attrs.frozen
class ArtifactSpec:
    """A file or a folder of a run that is kept."""

    name: str = attrs.field(validator=matches_re(limits.ARTIFACT_PATTERN), metadata={"hint": limits.ARTIFACT_HINT})
    """Its name in the store: `public/report.xml`. For a folder or a pattern, the prefix of what is found."""
    path: str = attrs.field(
        validator=matches_re(rf"/?{_INSIDE_PATTERN}"),
        metadata={"hint": "write a path inside the run's folder, without `..`"},
    )
    """Where it is, relative to the run's folder, or absolute in a container: a file, a folder, or a pattern
    (`build/**/*.whl`)."""
    optional: bool = False
    """Whether the run may succeed without it."""
    content_type: str = attrs.field(
        default="",
        validator=matches_re(r"(?:[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(?:;[ -~]*)?)?"),
        metadata={"hint": "write a media type such as text/plain, or leave it out"},
    )
    """Media type; guessed from the name when empty."""
    expires: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(and_(ge(1), le(MAX_EXPIRY))), metadata={"unit": "s"}
    )
    """Seconds after its upload until its store may remove it; without it, as the store is set up."""
    archive: bool = False
    """Whether a folder is kept as one tar: with its links, modes and empty folders. `.` is everything."""
    compression: Literal["none", "gzip", "zstd"] = "none"
    """How its files are compressed on their way into the store."""


@attrs.frozen
class CacheSpec:
    """A folder that outlives the run."""

    name: str = attrs.field(validator=matches_re(limits.CACHE_PATTERN), metadata={"hint": limits.CACHE_HINT})
    """Runs that name the same cache share it, one after the other."""
    path: str = attrs.field(validator=matches_re(rf"/?{_INSIDE_PATTERN}"), metadata={"hint": "write it without `..`"})
    """Its path in the run, relative to the run's folder, or absolute in a container."""
    read_only: bool = False
    """Whether the run may only read it; several runs can then use it at the same time."""


@attrs.frozen
class MountSpec:
    """Content that is put into the run before it begins, and that the run can only read: the answer of a URL, a file of
    the worker's machine, a text, or an artifact of another task."""

    target: str = attrs.field(
        validator=matches_re(rf"/?{_INSIDE_PATTERN}"), metadata={"hint": "write a path of its own, without `..`"}
    )
    """Its path in the run, relative to the run's folder, or absolute in a container."""
    url: str = attrs.field(
        default="",
        validator=matches_re(r"(?:https?://[^\x00-\x20\x7f]+)?"),
        metadata={
            "variant": "url",
            "hint": "write an https:// URL, or instead of it a `file`, a `content`, or an `artifact` with its `task`",
        },
    )
    """What to download. It needs `sha256`."""
    token: Secret | None = attrs.field(default=None, metadata={"variant": "url"})
    """The password or the token for the download."""
    file: str = attrs.field(
        default="",
        validator=matches_re(r"(?:/[^\x00-\x1f\x7f]+)?"),
        metadata={"variant": "file", "hint": "write the full path of a file that the worker's configuration allows"},
    )
    """The full path of a file on the worker's machine."""
    content: str = attrs.field(
        default="", validator=matches_re(r"[^\ud800-\udfff]*"), metadata={"variant": "content", "hint": "write a text"}
    )
    """The text of the file."""
    artifact: str = attrs.field(
        default="",
        validator=matches_re(rf"(?:{limits.ARTIFACT_PATTERN})?"),
        metadata={"variant": "artifact", "hint": limits.ARTIFACT_HINT},
    )
    """The name of an artifact of another task."""
    task: str = attrs.field(
        default="",
        validator=matches_re(rf"(?:{limits.ID_PATTERN})?"),
        metadata={"variant": "artifact", "hint": limits.ID_HINT},
    )
    """The id of that task, which is of the same queue and has completed."""
    sha256: str = attrs.field(
        default="",
        validator=matches_re(r"(?:[0-9a-fA-F]{64})?"),
        metadata={"hint": "write the 64 hex digits that `sha256sum` prints"},
    )
    """The checksum of what is fetched, before it is unpacked."""
    unpack: bool = False
    """Whether it is an archive, a tar (plain, gzip, bzip2, xz, zstd) or a zip, whose files are a folder at `target`."""
    executable: bool = False
    """Whether the file can be executed."""
