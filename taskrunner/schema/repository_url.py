"""The URL of a git repository, parsed and checked, with hidden credentials."""

from __future__ import annotations

import posixpath
import re
from typing import Any, Literal, Self
from urllib.parse import quote, unquote, urlsplit

import attrs

from taskrunner.url_secrets import login_secrets

Scheme = Literal["https", "http", "git", "ssh", "file"]

_SCHEMES: dict[str, Scheme] = {
    "https": "https",
    "http": "http",
    "git": "git",
    "ssh": "ssh",
    "git+ssh": "ssh",
    "ssh+git": "ssh",
    "file": "file",
}
_SCP_LIKE = re.compile(r"(?:(?P<user>[^@/:]+)@)?(?P<host>\[[^\]]+\]|[^/:@\[\]]+):(?P<path>.+)")
UNSAFE = re.compile(r"[\x00-\x20\x7f]")
_NOT_TEXT = re.compile(r"[\ud800-\udfff]")
"""What stands for bytes that are not UTF-8."""


@attrs.frozen
class RepositoryUrl:
    """Where a repository is: on a server, or at a path of this machine."""

    scheme: Scheme
    path: str
    host: str = ""
    port: int | None = None
    user: str = attrs.field(default="", repr=False)
    password: str = attrs.field(default="", repr=False)
    scp_like: bool = False
    """`host:path`, where the path may be relative to the user's home."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parses a URL; `user@host:path` and an absolute path count as URLs.

        Raises: ValueError, whose text is for the author of the URL and shows no credentials.
        """
        return cls(**_parts(url))

    def __str__(self) -> str:
        """The URL without credentials, for logs and errors."""
        if self.scheme == "file":
            return self.path
        login = f"{self.user}@" if self.scheme == "ssh" and self.user else ""
        if self.scp_like:
            return f"{login}{self.host}:{self.path}"
        return f"{self.scheme}://{login}{self.netloc}{self.path}"

    @property
    def netloc(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def is_http(self) -> bool:
        return self.scheme in {"http", "https"}

    @property
    def credentials(self) -> tuple[str, ...]:
        """What must be hidden in a log: the password, and a user that may be a token."""
        return login_secrets(self.user, self.password) if self.is_http else ()


def _parts(url: str) -> dict[str, Any]:
    if not url or url.startswith("-") or UNSAFE.search(url):
        raise ValueError(
            "the URL of the repository is empty, begins with `-`, or has a space or control character in it"
        )
    if _NOT_TEXT.search(url):
        raise ValueError("the URL of the repository is not UTF-8")
    if re.match(r"[A-Za-z0-9+.-]+::", url):
        raise ValueError("the repository names a transport program (`name::`), which is not allowed: give a URL")
    if "://" in url:
        return _from_url(url)
    if url.startswith("/"):
        return {"scheme": "file", "path": posixpath.normpath(url)}
    if found := _SCP_LIKE.fullmatch(url):
        return _ssh(found["host"].strip("[]"), found["path"], found["user"] or "", scp_like=True)
    raise ValueError("the repository is no URL (https://…, ssh://…, user@host:path) and no absolute path")


def _from_url(url: str) -> dict[str, Any]:
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise ValueError("the URL of the repository has a wrong host or port") from None
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None:
        raise ValueError(f"{parts.scheme}:// is not supported: use one of {', '.join(_SCHEMES)}")
    if parts.query or parts.fragment:
        raise ValueError("the URL of the repository must have no `?` or `#`: a branch goes into the field for it")
    if scheme == "file":
        return _local(host, unquote(parts.path))
    if not host or host.startswith("-") or "\\" in parts.netloc:  # some programs take it for `/`, which ends the host
        raise ValueError("the URL of the repository has no host")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if scheme == "ssh":
        return _ssh(host, unquote(parts.path), user, port, password=password)
    path = quote(unquote(parts.path), safe="/~+@:!$&'()*,;=")
    return {"scheme": scheme, "path": path, "host": host, "port": port, "user": user, "password": password}


def _local(host: str, path: str) -> dict[str, Any]:
    if host not in {"", "localhost"} or not path.startswith("/") or UNSAFE.search(path):
        raise ValueError("a file:// URL needs an absolute path and no host: file:///path")
    return {"scheme": "file", "path": posixpath.normpath(path)}


def _ssh(
    host: str, path: str, user: str, port: int | None = None, *, password: str = "", scp_like: bool = False
) -> dict[str, Any]:
    if password:
        raise ValueError("an ssh:// URL takes no password: ssh uses the keys of the worker's user")
    if host.startswith("-") or path.startswith("-") or user.startswith("-") or UNSAFE.search(path + user):
        raise ValueError("host, user or path of the repository begins with `-`, or has a space or control character")
    return {"scheme": "ssh", "path": path, "host": host, "port": port, "user": user, "scp_like": scp_like}
