"""Image names: `registry.example:5000/team/app:1.0`, parsed and checked.

The grammar is that of the `distribution/reference` library, which Docker itself uses.
"""

from __future__ import annotations

import hashlib
import re
from typing import Self

import attrs

DOCKER_HUB = "docker.io"
"""The registry of a name that has none; its credentials are kept under this name."""

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9-]+)*(?::[0-9]+)?|\[[0-9a-fA-F:]+\](?::[0-9]+)?"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}")
_LONGEST_NAME = 255
"""Characters of registry and path together."""


@attrs.frozen
class Reference:
    """One image name."""

    registry: str
    """Host and port, the key of its login in the configuration: `127.0.0.1:5000`."""
    path: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parses a name. Raises ValueError, whose text names the mistake."""
        rest, _, digest = text.partition("@")
        if digest and not _DIGEST.fullmatch(digest):
            raise ValueError("after @ comes a digest such as sha256:… with 64 hexadecimal digits")
        host, path = _split(rest)
        host = host or DOCKER_HUB
        path, colon, tag = path.partition(":")
        _check(host, path, tag if colon else None)
        return cls(host, path, tag, digest)

    @property
    def name(self) -> str:
        """Without tag and digest, as Docker's push expects it."""
        return self.path if self.registry == DOCKER_HUB else f"{self.registry}/{self.path}"

    @property
    def local(self) -> str:
        """As Docker keeps it on this machine: with a digest it keeps no tag, and without both the tag is `latest`. An
        official image of Docker Hub has no `library/` in front."""
        official = self.registry == DOCKER_HUB and self.path.count("/") == 1
        name = self.path.removeprefix("library/") if official else self.name
        return f"{name}@{self.digest}" if self.digest else f"{name}:{self.tag or 'latest'}"

    @property
    def file_name(self) -> str:
        """The same for all ways to write one name."""
        return hashlib.sha256(f"{self.name}:{self.tag or 'latest'}".encode()).hexdigest()

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def names_registry(text: str) -> bool:
    """Whether an image name has a registry in front."""
    return bool(_split(text)[0])


def is_registry(text: str) -> bool:
    """Whether this can be the host and port of a registry, or the name of an entry in the configuration."""
    return bool(_HOST.fullmatch(text))


def _split(name: str) -> tuple[str, str]:
    host, slash, path = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost" or host != host.lower()):
        return host, path
    return "", name


def _check(host: str, path: str, tag: str | None) -> None:
    if not _HOST.fullmatch(host):
        raise ValueError(f"{host!r} is no registry host")
    if path != path.lower():
        raise ValueError(f"the name {path!r} must be in lower case")
    if not _PATH.fullmatch(path):
        raise ValueError(f"the name {path!r} is not of lower-case letters and digits, separated by one of / . _ -")
    if len(host) + 1 + len(path) > _LONGEST_NAME:
        raise ValueError(f"the name is longer than {_LONGEST_NAME} characters")
    if tag is not None and not _TAG.fullmatch(tag):
        raise ValueError(f"{tag!r} is no tag: up to 128 letters, digits and _ . -, and no . or - in front")
