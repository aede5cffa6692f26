"""Which repositories tasks may name: rules of an operator, for all tasks of a worker or for those of one queue.

What is not allowed is refused, and a path of the machine or a host over ssh is only allowed by a pattern that says so:
both are read with the rights and the keys of the worker's user, not with those of the task's author.

A pattern is one of these; each `*` stands for any characters of one part (a host, a port, a folder), not for `/`::

    git.example.com                      over https; `*.example.com` for the hosts of a domain
    https://git.example.com:8443/team    this folder and what is below; the port is the usual one unless it is given
    ssh://git@git.example.com/team       over ssh; without a user, any user
    git@git.example.com:team/*           the same as it is written for scp
    /srv/git                             this folder of the worker's machine and what is below
"""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache

import attrs

from taskrunner.errors import Complaint
from taskrunner.schema.repository_url import RepositoryUrl

_PORTS = {"https": 443, "http": 80, "git": 9418, "ssh": 22}
_HOME = "/~/"
"""The path of a repository in the home of its user over ssh, as git writes it in a URL."""


@attrs.frozen
class RepositoryRules:
    """The patterns of one list in the configuration."""

    patterns: tuple[str, ...]
    setting: str = "[source] repositories"
    """Where the list stands, for the operator."""

    def complaint(self, url: str, path: str = "source.repository") -> Complaint | None:
        """What is wrong with a URL that a task names; None when it is allowed. `path` is that of the field."""
        try:
            return self.refusal(RepositoryUrl.parse(url), path)
        except ValueError as error:
            return Complaint(path, str(error))

    def refusal(self, url: RepositoryUrl, path: str = "source.repository") -> Complaint | None:
        """The same for a URL that is parsed already."""
        if self.allows(url):
            return None
        what = {"file": "a path of the worker's machine", "ssh": "a repository over ssh"}.get(url.scheme)
        problem = f"{url} is not among the repositories that this worker allows"
        return Complaint(path, f"{problem}: it is {what}" if what else problem, f"its operator sets {self.setting}")

    def allows(self, url: RepositoryUrl) -> bool:
        """Whether one of the patterns matches. A server may take `..` in a path for the folder above, which would lead
        out of any pattern."""
        path = _from_root(url.path)
        if ".." in path.split("/"):
            return False
        text = _text(url, path)
        return any(_expression(pattern).fullmatch(text) for pattern in self.patterns)


def _from_root(path: str) -> str:
    return path if path.startswith("/") or not path else _HOME + path


def _text(url: RepositoryUrl, path: str) -> str:
    """A URL in the one form that expressions match: with its port, the host in small letters, and no `.git`."""
    if url.scheme == "file":
        return f"file://{path}"
    host = f"[{url.host}]" if ":" in url.host else url.host
    user = f"{url.user}@" if url.scheme == "ssh" and url.user else ""
    return f"{url.scheme}://{user}{host.lower()}:{url.port or _PORTS[url.scheme]}{_without_suffix(path)}"


@lru_cache(maxsize=1000)
def _expression(pattern: str) -> re.Pattern[str]:
    if pattern.startswith(("/", "file://")):
        return re.compile("file://" + _below(posixpath.normpath(pattern.removeprefix("file://"))))
    scheme, separator, rest = pattern.partition("://")
    if not separator:
        scp = re.fullmatch(r"([^@/:]+@[^:/]+):(.*)", pattern)
        scheme, rest = ("ssh", scp[1] + _from_root(scp[2])) if scp else ("https", pattern)
    netloc, _, path = rest.partition("/")
    user, _, server = netloc.rpartition("@")
    host, port = re.fullmatch(r"(\[.*\]|[^:]*)(?::(.*))?", server).groups()  # type: ignore[union-attr]  # always
    login = f"{_any(user)}@" if user else "(?:[^/@]*@)?"
    where = f"{_any(host.lower())}:{_any(port or str(_PORTS[scheme]))}"
    return re.compile(f"{scheme}://{login if scheme == 'ssh' else ''}{where}{_below(_without_suffix('/' + path))}")


def _below(path: str) -> str:
    """A folder, and what is below."""
    return rf"{_any(path.rstrip('/'), '[^/]*')}(?:/.*)?"


def _any(part: str, characters: str = "[^/@]*") -> str:
    return characters.join(map(re.escape, part.split("*")))


def _without_suffix(path: str) -> str:
    return path.rstrip("/").removesuffix(".git")
