"""From what went wrong in one attempt to download, to whether it may pass."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import urllib3
import urllib3.exceptions

from taskrunner.errors import TaskFailed, Unavailable
from taskrunner.files.downloads.location import Location, download_failed

_REFUSED, _GONE = {401, 403}, {404, 410}
_PASSING = {408, 425, 429, 500, 502, 503, 504}
"""Others of 500 and more say that the server lacks something; they do not pass. 520 to 530 are Cloudflare's."""
_CLOUDFLARE = range(520, 531)


def unavailable(message: str, retry_after: float | None = None) -> Unavailable:
    """It may pass: the same download may be tried again."""
    return Unavailable(f"download: {message}", retry_after)


def status_error(location: Location, response: urllib3.BaseHTTPResponse) -> TaskFailed | Unavailable:
    """What follows from an answer that is not the file."""
    status = response.status
    if status in _PASSING or status in _CLOUDFLARE:
        return unavailable(f"{location} answered with status {status}", _retry_after(response))
    if status in _REFUSED:
        hint = "refused the credentials" if location.authorization else "needs credentials, and none were sent"
        return download_failed(f"{location} {hint} (status {status})")
    if status in _GONE:
        return download_failed(f"{location} was not found (status {status})")
    return download_failed(f"{location} answered with status {status}")


def network_error(location: Location, error: Exception, connect: float, silence: float) -> TaskFailed | Unavailable:
    """What follows from a connection that failed. The error's own text may hold the URL, and is not shown."""
    chain = list(_chain(error))
    if found := next((link for link in chain if isinstance(link, ssl.SSLError)), None):
        if isinstance(found, ssl.SSLCertVerificationError):
            return download_failed(f"the certificate of {location.host} is not accepted: {found.verify_message}")
        if not isinstance(found, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
            return download_failed(f"{location.host} has trouble with TLS: {found.reason or 'it speaks no TLS'}")
    if any(isinstance(link, urllib3.exceptions.LocationValueError) for link in chain):
        return download_failed("the URL has a wrong host or port")
    for kinds, text in (
        ((urllib3.exceptions.ProxyError,), "cannot be reached through the proxy of this machine"),
        ((socket.gaierror, urllib3.exceptions.NameResolutionError), "is not known to the name service"),
        ((ConnectionRefusedError,), "refused the connection"),
        ((urllib3.exceptions.ConnectTimeoutError,), f"did not answer within {connect:g} s"),
        ((TimeoutError, urllib3.exceptions.ReadTimeoutError), f"was silent for {silence:g} s"),
        ((ConnectionError, urllib3.exceptions.HTTPError), "broke off the connection"),
    ):
        if any(isinstance(link, kinds) for link in chain):
            return unavailable(f"{location.host} {text}")
    return unavailable(f"{location.host} cannot be reached: {getattr(error, 'strerror', '') or type(error).__name__}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it, the innermost last."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        yield error
        seen.append(error)
        inner = (getattr(error, "reason", None), *error.args)
        error = next((link for link in inner if isinstance(link, BaseException)), error.__cause__ or error.__context__)


def _retry_after(response: urllib3.BaseHTTPResponse) -> float | None:
    """Seconds; the header has them, or a date."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return max(0.0, (moment - dt.datetime.now(dt.UTC)).total_seconds())
