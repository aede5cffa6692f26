"""What the texts mean in which Docker and BuildKit report the answers of a registry. They pass on no status."""

from __future__ import annotations

import re

_STATUS = re.compile(r"(?:status|StatusCode|status code|\bcode|HTTP)[^0-9]{0,6}([1-5]\d\d)\b", re.IGNORECASE)
_TOO_MANY, _FAULTS = 429, range(500, 600)
_SILENT = re.compile(
    r"connection refused|connection reset|no such host|server misbehaving|i/o timeout|timeout exceeded|"
    r"handshake timeout|request canceled|broken pipe|network is unreachable|no route to host|\bEOF\b|"
    r"toomanyrequests|too many requests|rate exceeded|rate limit|throttl|slow down|"
    r"Service Unavailable|Bad Gateway|token (?:has|is) expired",
    re.IGNORECASE,
)
_UNAUTHORIZED = re.compile(r"unauthorized|authentication required|no basic auth|incorrect username", re.IGNORECASE)
_MISSING = re.compile(r"name unknown|does not exist|not found|manifest unknown", re.IGNORECASE)
_UNKNOWN_AUTHORITY = re.compile(r"x509: certificate signed by unknown authority|x509: certificate is not trusted")
_LOOP = re.compile(r"stopped after \d+ redirects")
_GARBAGE = re.compile(
    r"error parsing HTTP \d+ response body|malformed HTTP|server gave HTTP response to HTTPS client|"
    r"unexpected end of JSON|invalid character|no error details found|cannot unmarshal|first record does not look|"
    r"invalid checksum digest format|empty Content-Type header",
    re.IGNORECASE,
)
_REMOTE_STEP = re.compile(
    r"load metadata for |^resolve image config for |\bFROM |^docker-image://|^https?://", re.MULTILINE
)
"""Base images, the image that a `# syntax=` line names, and the files of an ADD."""


def may_pass(text: str) -> bool:
    """Whether the same request may succeed later: the registry does not answer, has a fault, or wants fewer requests,
    whatever it wrote beside that status."""
    statuses = [int(status) for status in _STATUS.findall(text)]
    return any(status == _TOO_MANY or status in _FAULTS for status in statuses) or bool(_SILENT.search(text))


def registry_fault(text: str) -> str:
    """What is wrong with the registry itself, when that is why it failed; else empty."""
    if _LOOP.search(text):
        return "the registry redirects in a circle"
    return "what answers there is no registry, or is broken" if _GARBAGE.search(text) else ""


def is_unauthorized(text: str) -> bool:
    """Whether the registry wants a login, or another one."""
    return bool(_UNAUTHORIZED.search(text))


def is_missing(text: str) -> bool:
    """Whether the registry does not have what it was asked for, or no place for it."""
    return bool(_MISSING.search(text))


def is_of_unknown_authority(text: str) -> bool:
    """Whether Docker does not trust the registry's certificate."""
    return bool(_UNKNOWN_AUTHORITY.search(text))


def asks_registry(step: str) -> bool:
    """Whether a step of a build gets something from another server, by itself and not by a command in it."""
    return bool(_REMOTE_STEP.search(step))
