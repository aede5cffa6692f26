"""The parts of a URL's `user:password@` that must be hidden."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

_LOGIN = re.compile(r"//[^/]*@")

_NAMES = frozenset({"git", "oauth2", "x-access-token", "x-token-auth", "gitlab-ci-token"})
"""Users that hosts ask for beside a token, by their documentation."""
_NO_PASSWORDS = frozenset({"", "x-oauth-basic", "x"})
"""Passwords that stand beside a token in the place of the user."""
_SHORTEST_TOKEN, _LONGEST_NAME = 4, 16
"""Characters of a user. A shorter one is no token, and a longer one may be a token whatever the password is."""


def login_secrets(user: str, password: str) -> tuple[str, ...]:
    """The password, and a user that may be a token: GitHub and others take a token in the place of the user, with no
    password or with any. Each as it stands in the URL and decoded.
    """
    longest_name = _SHORTEST_TOKEN - 1 if password in _NO_PASSWORDS else _LONGEST_NAME
    found = {user} if len(user) > longest_name and user not in _NAMES else set()
    if password not in _NO_PASSWORDS:
        found.add(password)
    return tuple(sorted((found | set(map(unquote, found))) - {""}))


def without_login(url: str) -> str:
    """A URL as people are shown it, without user, password and query: a query often holds a signature."""
    return _LOGIN.sub("//", url).partition("?")[0]


def without_password(url: str) -> tuple[str, str]:
    """A URL over HTTP without its password, and that. Any other URL stays as it is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url, ""
    if parts.scheme not in {"http", "https"} or not parts.password:
        return url, ""
    login = f"{parts.username}@" if parts.username else ""
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=login + host).geturl(), unquote(parts.password)
