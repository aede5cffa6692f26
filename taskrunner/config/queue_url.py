"""URLs of queues, as they may be shown."""

from __future__ import annotations

from urllib.parse import urlsplit

from taskrunner.url_secrets import login_secrets


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
