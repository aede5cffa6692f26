"""URLs of queues, as they may be shown."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import attrs

from taskrunner.url_secrets import login_secrets


def check_queue_url(_: object, __: attrs.Attribute[Any], url: str) -> None:
    """Raises ValueError, which does not repeat the URL: it may hold a password. A validator, so that all that read the
    URL can split it."""
    try:
        urlsplit(url)
    except ValueError:
        raise ValueError("has a host that is none: brackets are for an IPv6 address, as in [::1]:80") from None


def public_url(url: str) -> str:
    """A URL without the password or token that it may hold."""
    parts = urlsplit(url)
    if "@" not in parts.netloc and not parts.query:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"***@{host}" if user else host, query="").geturl()


def hidden_parts(url: str) -> list[str]:
    """The parts of a URL that may be secret."""
    parts = urlsplit(url)
    credentials = parts.netloc.rpartition("@")[0]
    login = login_secrets(parts.username or "", parts.password or "")
    return [part for part in (credentials, *login, parts.query) if part]
