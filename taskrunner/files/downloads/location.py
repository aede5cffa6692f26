"""Where a file is: a URL taken apart, with its credentials out of sight."""

from __future__ import annotations

import re
from base64 import b64encode
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import attrs

from taskrunner.errors import TaskFailed
from taskrunner.url_secrets import login_secrets

_PORTS = {"http": 80, "https": 443}
_HEADER = re.compile(r"[\x21-\x7e]*")
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f]")


def download_failed(message: str) -> TaskFailed:
    """The URL, the checksum or the server's answer is wrong, and stays so."""
    return TaskFailed("download-failed", f"download: {message}")


@attrs.frozen
class Location:
    """A file on a server. Only `str` of it may be shown: a query often holds a signature, which is a credential."""

    url: str = attrs.field(repr=False)
    """Without user, password and fragment."""
    authorization: str = attrs.field(default="", repr=False)
    """The value of the header; empty for none."""
    secrets: tuple[str, ...] = attrs.field(default=(), repr=False)
    """What is to be masked in a log: the password of the URL, and a user that may be a token."""

    @classmethod
    def parse(cls, url: str, token: str = "") -> Location:
        """A token is sent as a bearer, or as the password when the URL has a user without one.

        Raises: TaskFailed, whose text shows no credentials.
        """
        if _UNSAFE.search(url):
            raise download_failed("the URL has a space or a control character in it")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise download_failed("the URL has a wrong host or port") from None
        if parts.scheme not in _PORTS or not host:
            raise download_failed("the URL is not one of http:// or https:// with a host")
        name = f"[{host}]" if ":" in host else host
        netloc = name if port is None else f"{name}:{port}"
        bare = urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, ""))
        secrets = login_secrets(parts.username or "", parts.password or token)
        return cls(bare, _authorization(parts.username, parts.password, token), secrets)

    def redirected(self, to: str) -> Location:
        """Where a redirect leads. Credentials stay with the same scheme, host and port; those in `to` are not used.

        Raises: TaskFailed.
        """
        try:
            there = Location.parse(urljoin(self.url, to))
        except (TaskFailed, ValueError):
            raise download_failed(f"{self} redirects to something that is no http:// or https:// URL") from None
        return attrs.evolve(there, authorization=self.authorization if there.origin == self.origin else "")

    @property
    def origin(self) -> tuple[str, str | None, int]:
        parts = urlsplit(self.url)
        return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        shown = "".join(letter if letter.isprintable() else "�" for letter in parts.path)
        return f"{parts.scheme}://{parts.netloc}{shown}"


def _authorization(user: str | None, password: str | None, token: str) -> str:
    if user is None:
        if not _HEADER.fullmatch(token):
            raise download_failed("the token has a space, a line break or another character that no token has")
        return f"Bearer {token}" if token else ""
    login = f"{unquote(user)}:{unquote(password) if password is not None else token}"
    return f"Basic {b64encode(login.encode()).decode()}"
