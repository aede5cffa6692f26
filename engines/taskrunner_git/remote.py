"""The address of a repository: its URL, parsed and checked, with hidden credentials."""

from __future__ import annotations

import posixpath
import re
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

import attrs

from taskrunner_git.failures import clone_failed

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
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")
_TOKEN_USER = "x-access-token"  # noqa: S105  GitHub wants this name beside a token; GitLab and Gitea accept it


@attrs.frozen
class Remote:
    """The address of a repository.

    It may be a path on this machine, absolute or as `file://`: the author of a task has it read with the rights of the
    worker. A submodule may be such a path only when the repository that names it is one too.
    """

    scheme: Scheme
    path: str
    host: str = ""
    port: int | None = None
    user: str = attrs.field(default="", repr=False)
    password: str = attrs.field(default="", repr=False)
    scp_like: bool = False
    """`host:path`, where the path may be relative to the user's home."""

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

    def with_token(self, token: str | None) -> Remote:
        """The same with the token as its password, for a URL over HTTP that has no password itself."""
        if not token or not self.is_http or self.password:
            return self
        return attrs.evolve(self, user=self.user or _TOKEN_USER, password=token)

    def submodule(self, url: str) -> Remote:
        """A repository that this one names as a submodule. It has the same credentials only on the same host.

        Raises: TaskFailed.
        """
        if url.startswith(("./", "../")):
            return self._relative(url)
        other = parse_url(url)
        if other.scheme == "file" and self.scheme != "file":
            raise clone_failed(f"the submodule {url!r} is a path on the worker's machine, which {self} may not name")
        same = (other.scheme, other.host, other.port) == (self.scheme, self.host, self.port)
        return attrs.evolve(other, user=self.user, password=self.password) if same and not other.password else other

    def _relative(self, url: str) -> Remote:
        """As git resolves it: each leading `../` removes the last part of this path."""
        base, rest = self.path.rstrip("/"), url
        while rest.startswith(("./", "../")):
            step, _, rest = rest.partition("/")
            if step == ".." and not base:
                raise clone_failed(f"the submodule {url!r} leads out of {self}")
            if step == "..":
                base = base.rpartition("/")[0]
        root = "/" if self.path.startswith("/") else ""
        path = posixpath.normpath(posixpath.join(base or root, rest))
        if path.startswith(("..", "-")) or path in {"/", "."} or _UNSAFE.search(url):
            raise clone_failed(f"the submodule {url!r} leads out of {self}")
        return attrs.evolve(self, path=path)


def parse_url(url: str) -> Remote:
    """Parses a URL; `user@host:path` and an absolute path count as URLs.

    Raises: TaskFailed, whose text shows no credentials.
    """
    if not url or url.startswith("-") or _UNSAFE.search(url):
        raise clone_failed(
            "the URL of the repository is empty, begins with `-`, or has a space or control character in it"
        )
    if re.match(r"[A-Za-z0-9+.-]+::", url):
        raise clone_failed("the repository names a transport program (`name::`), which is not allowed: give a URL")
    if "://" in url:
        return _from_url(url)
    if url.startswith("/"):
        return Remote("file", posixpath.normpath(url))
    if found := _SCP_LIKE.fullmatch(url):
        return _ssh(found["host"].strip("[]"), found["path"], found["user"] or "", scp_like=True)
    raise clone_failed("the repository is no URL (https://…, ssh://…, user@host:path) and no absolute path")


def _from_url(url: str) -> Remote:
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise clone_failed("the URL of the repository has a wrong host or port") from None
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None:
        raise clone_failed(f"{parts.scheme}:// is not supported: use one of {', '.join(_SCHEMES)}")
    if parts.query or parts.fragment:
        raise clone_failed("the URL of the repository must have no `?` or `#`: a branch goes into the field for it")
    if scheme == "file":
        return _local(host, unquote(parts.path))
    if not host or host.startswith("-"):
        raise clone_failed("the URL of the repository has no host")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if scheme == "ssh":
        return _ssh(host, unquote(parts.path), user, port, password=password)
    return Remote(scheme, quote(unquote(parts.path), safe="/~+@:!$&'()*,;="), host, port, user, password)


def _local(host: str, path: str) -> Remote:
    if host not in {"", "localhost"} or not path.startswith("/") or _UNSAFE.search(path):
        raise clone_failed("a file:// URL needs an absolute path and no host: file:///path")
    return Remote("file", posixpath.normpath(path))


def _ssh(
    host: str, path: str, user: str, port: int | None = None, *, password: str = "", scp_like: bool = False
) -> Remote:
    if password:
        raise clone_failed("an ssh:// URL takes no password: ssh uses the keys of the worker's user")
    if host.startswith("-") or path.startswith("-") or user.startswith("-") or _UNSAFE.search(path + user):
        raise clone_failed("host, user or path of the repository begins with `-`, or has a space or control character")
    return Remote("ssh", path, host, port, user, scp_like=scp_like)
