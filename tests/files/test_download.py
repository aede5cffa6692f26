"""Downloads against a real server on this machine that misbehaves in every way servers do."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from taskrunner.blocking import run_blocking
from taskrunner.errors import MachineFault, TaskFailed, TaskFailedInternally, TaskrunnerError, Unavailable
from taskrunner.files.download import PAUSES, DownloadLimits, download
from taskrunner.files.downloads.location import Location
from taskrunner.model import Progress
from taskrunner.testing import clock
from taskrunner.testing.fakes.log import MemoryLog
from tests.support.file_server import Answer, Exchange, FileServer, make_certificate, serving

CONTENT = os.urandom(600_000)
HALF = 300_000
ETAG = '"v1"'
SECRET = "s3cret-t0ken"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment of the tests has."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as running:
        yield running


@pytest.fixture
def other() -> Iterator[FileServer]:
    with serving() as running:
        yield running


@attrs.define
class Client:
    """Downloads into a folder of the test."""

    folder: Path
    log: MemoryLog = attrs.field(factory=MemoryLog)
    progress: list[Progress] = attrs.field(factory=list)
    report: Callable[[Progress], None] = lambda _: None

    @property
    def target(self) -> Path:
        return self.folder / "file"

    @property
    def lines(self) -> list[str]:
        return self.log.data.decode().splitlines()

    def get(
        self,
        url: str,
        *,
        token: str = "",
        sha256: str = hashlib.sha256(CONTENT).hexdigest(),
        ca_file: Path | None = None,
        run: Callable[[Coroutine[Any, Any, int]], int] = clock.run,
        **limits: Any,
    ) -> int:
        return run(self.coroutine(Location.parse(url, token), sha256, ca_file, DownloadLimits(**limits)))

    async def coroutine(
        self,
        location: Location,
        sha256: str = hashlib.sha256(CONTENT).hexdigest(),
        ca_file: Path | None = None,
        limits: DownloadLimits = DownloadLimits(),  # noqa: B008  frozen
    ) -> int:
        def report(progress: Progress) -> None:
            self.progress.append(progress)
            self.report(progress)

        return await download(
            location, self.target, sha256, log=self.log, progress=report, limits=limits, ca_file=ca_file
        )


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path)


def whole(exchange: Exchange) -> None:
    exchange.send(200, CONTENT, ETag=ETAG)


def part(exchange: Exchange) -> None:
    exchange.send_part(CONTENT, ETag=ETAG)


def half(exchange: Exchange) -> None:
    """Ends in the middle of the body."""
    exchange.send(200, CONTENT[:HALF], length=len(CONTENT), ETag=ETAG)


def status(number: int, **headers: str) -> Answer:
    return lambda exchange: exchange.send(number, b"<html>sorry</html>", **headers)


# ---- what works ----------------------------------------------------------------------------------------


def test_a_file_is_downloaded_with_its_progress(client: Client, server: FileServer) -> None:
    server.answers = [whole]
    assert client.get(server.url("/a/b.tar?c=d#e")) == len(CONTENT)
    assert client.target.read_bytes() == CONTENT
    assert client.target.stat().st_mode & 0o777 == 0o600
    assert client.progress[-1] == Progress("download", len(CONTENT), len(CONTENT))
    assert [each.done for each in client.progress] == sorted({each.done for each in client.progress})
    [request] = server.requests
    assert (request.path, request.headers["accept-encoding"]) == ("/a/b.tar?c=d", "identity")
    assert client.lines == []


def test_an_upper_case_checksum_and_an_old_longer_file(client: Client, server: FileServer) -> None:
    server.answers = [whole]
    client.target.write_bytes(bytes(700_000))
    client.get(server.url(), sha256=hashlib.sha256(CONTENT).hexdigest().upper())
    assert client.target.read_bytes() == CONTENT


def test_a_body_without_a_length(client: Client, server: FileServer) -> None:
    server.answers = [lambda exchange: exchange.send(200, CONTENT, length=None)]
    client.get(server.url())
    assert client.target.read_bytes() == CONTENT
    assert client.progress[-1] == Progress("download", len(CONTENT), None)


def chunked(content: bytes, *, end: bytes = b"0\r\n\r\n") -> Answer:
    return lambda exchange: exchange.send(
        200, b"%x\r\n%s\r\n" % (len(content), content) + end, length=None, Transfer_Encoding="chunked"
    )


def test_a_body_in_chunks(client: Client, server: FileServer) -> None:
    server.answers = [chunked(CONTENT)]
    client.get(server.url())
    assert client.target.read_bytes() == CONTENT


def test_a_file_is_kept_as_it_is_stored_although_a_server_calls_it_encoded(client: Client, server: FileServer) -> None:
    packed = gzip.compress(CONTENT)
    server.answers = [lambda exchange: exchange.send(200, packed, Content_Encoding="gzip")]
    client.get(server.url(), sha256=hashlib.sha256(packed).hexdigest())
    assert client.target.read_bytes() == packed


def test_the_proxy_of_the_environment_is_used(
    client: Client, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [whole]
    monkeypatch.setenv("http_proxy", f"http://user:word@127.0.0.1:{server.port}")
    client.get("http://files.example/src.tar")
    [request] = server.requests
    assert request.path == "http://files.example/src.tar"
    assert request.headers["proxy-authorization"] == "Basic dXNlcjp3b3Jk"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    client.get(server.url())
    assert server.requests[1].path == "/src.tar"


# ---- what is final -------------------------------------------------------------------------------------

FINAL = {
    400: "answered with status 400",
    401: "needs credentials, and none were sent (status 401)",
    403: "needs credentials, and none were sent (status 403)",
    404: "was not found (status 404)",
    410: "was not found (status 410)",
    204: "answered with status 204",
    206: "answered with status 206",
    304: "answered with status 304",
    416: "answered with status 416",
    501: "answered with status 501",
    302: "answered with status 302",
}


@pytest.mark.parametrize("number", FINAL)
def test_an_answer_that_stays_so_is_not_tried_again(number: int, client: Client, server: FileServer) -> None:
    server.answers = [status(number)]
    with pytest.raises(TaskFailed) as failed:
        client.get(server.url("/src.tar?signature=x"))
    assert (failed.value.reason, failed.value.message) == (
        "download-failed",
        f"download: {server.url()} {FINAL[number]}",
    )
    assert len(server.requests) == 1
    assert client.lines == []


def test_a_wrong_checksum_names_both(client: Client, server: FileServer) -> None:
    server.answers = [whole]
    with pytest.raises(TaskFailed) as failed:
        client.get(server.url(), sha256="0" * 64)
    found = hashlib.sha256(CONTENT).hexdigest()
    assert failed.value.message == f"download: {server.url()} has the sha256 {found}, and not {'0' * 64}"
    assert len(server.requests) == 1


def test_a_length_that_is_too_small_is_a_wrong_checksum(client: Client, server: FileServer) -> None:
    server.answers = [lambda exchange: exchange.send(200, CONTENT, length=HALF)]
    with pytest.raises(TaskFailed, match=r"has the sha256 "):
        client.get(server.url())
    assert client.target.stat().st_size == HALF


TOO_LARGE: dict[str, Answer] = {
    "by its length": lambda exchange: exchange.send(200, b"", length=10**15),
    "without a length": lambda exchange: exchange.send(200, CONTENT, length=None),
    "in chunks": chunked(CONTENT),
}


@pytest.mark.parametrize("how", TOO_LARGE)
def test_a_file_that_is_too_large(how: str, client: Client, server: FileServer) -> None:
    server.answers = [TOO_LARGE[how]]
    with pytest.raises(TaskFailed) as failed:
        client.get(server.url(), size=HALF)
    assert failed.value.message == f"download: {server.url()} is larger than {HALF} bytes"
    assert client.target.stat().st_size <= HALF if client.target.exists() else True


def test_a_part_of_a_file_that_is_too_large(client: Client, server: FileServer) -> None:
    server.answers = [
        lambda exchange: exchange.send(200, CONTENT[:1000], length=2000),
        lambda exchange: exchange.send(206, b"x", Content_Range=f"bytes 1000-1000/{10**9}"),
    ]
    with pytest.raises(TaskFailed, match="is larger than 5000 bytes"):
        client.get(server.url(), size=5000)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://user:s3cret@host/x", "the URL is not one of http:// or https:// with a host"),
        ("file:///etc/passwd", "the URL is not one of http:// or https:// with a host"),
        ("/etc/passwd", "the URL is not one of http:// or https:// with a host"),
        ("https:///x", "the URL is not one of http:// or https:// with a host"),
        ("https://host:99999/x", "the URL has a wrong host or port"),
        ("https://[::1/x", "the URL has a wrong host or port"),
        ("https://host/a b", "the URL has a space or a control character in it"),
        ("https://host/a\r\nX-Evil: 1", "the URL has a space or a control character in it"),
        ("https://host/\x1b[2J", "the URL has a space or a control character in it"),
    ],
)
def test_a_url_that_is_none(url: str, message: str) -> None:
    with pytest.raises(TaskFailed) as failed:
        Location.parse(url)
    assert failed.value.message == f"download: {message}"


@pytest.mark.parametrize("token", [f"{SECRET}\n", f"{SECRET} x", f"{SECRET}é"])
def test_a_token_that_no_header_can_have_is_not_shown(token: str) -> None:
    with pytest.raises(TaskFailed) as failed:
        Location.parse("https://host/x", token)
    assert failed.value.message == (
        "download: the token has a space, a line break or another character that no token has"
    )


# ---- what may pass -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [408, 425, 429, 500, 502, 503, 504, 522])
def test_an_answer_that_may_pass_is_tried_again(number: int, client: Client, server: FileServer) -> None:
    server.answers = [status(number), whole]
    client.get(server.url())
    assert client.target.read_bytes() == CONTENT
    assert client.lines == [f"[taskrunner] download: {server.url()} answered with status {number}; starts again in 1 s"]


def test_the_last_attempt_is_unavailable(client: Client, server: FileServer) -> None:
    server.answers = [status(503, Retry_After="7")]
    with pytest.raises(Unavailable) as failed:
        client.get(server.url())
    assert (failed.value.message, failed.value.retry_after) == (
        f"download: {server.url()} answered with status 503",
        7,
    )
    assert len(server.requests) == len(PAUSES) + 1
    assert [line.rpartition(" in ")[2] for line in client.lines] == ["7 s", "7 s", "15 s", "30 s"]


@pytest.mark.parametrize("form", ["seconds", "date", "date without a zone"])
def test_the_wait_that_a_server_asks_for_is_kept(form: str, client: Client, server: FileServer) -> None:
    """In virtual time."""
    begin = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
    date = format_datetime(begin + timedelta(seconds=90), usegmt=True)
    texts = {"seconds": "90", "date": date, "date without a zone": date.removesuffix("GMT") + "-0000"}
    server.answers = [status(429, Retry_After=texts[form]), whole]

    async def main() -> float:
        begin = asyncio.get_running_loop().time()
        await client.coroutine(Location.parse(server.url()))
        return asyncio.get_running_loop().time() - begin

    assert clock.run(main(), start=begin) == pytest.approx(90, abs=0.01)


@pytest.mark.parametrize("text", ["soon", "-5", "", "1.5", "٣"])
def test_a_wait_that_is_none_is_ignored(text: str, client: Client, server: FileServer) -> None:
    server.answers = [lambda exchange: exchange.send(503, Retry_After=text), whole]
    client.get(server.url())
    assert client.lines[0].endswith("starts again in 1 s")


def test_a_server_that_wants_a_long_wait_ends_the_download(client: Client, server: FileServer) -> None:
    server.answers = [status(429, Retry_After="3600")]
    with pytest.raises(Unavailable) as failed:
        client.get(server.url())
    assert failed.value.retry_after == 3600
    assert len(server.requests) == 1


def test_a_port_without_a_server(client: Client) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(Unavailable) as failed:
            client.get(f"http://127.0.0.1:{port}/x")
    assert failed.value.message == f"download: 127.0.0.1:{port} refused the connection"
    assert len(client.lines) == len(PAUSES)


def test_a_host_that_is_unknown(client: Client) -> None:
    with pytest.raises(Unavailable) as failed:
        client.get("http://host.invalid/x", pauses=())
    assert failed.value.message == "download: host.invalid is not known to the name service"


def test_a_proxy_that_is_not_there(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("http_proxy", f"http://user:{SECRET}@127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(Unavailable) as failed:
            client.get("http://files.example/x", pauses=())
    assert failed.value.message == "download: files.example cannot be reached through the proxy of this machine"


def nothing(exchange: Exchange) -> None:
    """Closes the connection."""


def garbage(exchange: Exchange) -> None:
    exchange.connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


def long_header(exchange: Exchange) -> None:
    exchange.connection.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n")


@pytest.mark.parametrize("answer", [nothing, Exchange.reset, garbage, long_header, chunked(CONTENT, end=b"")])
def test_a_connection_that_breaks_is_tried_again(answer: Answer, client: Client, server: FileServer) -> None:
    server.answers = [answer, part]
    client.get(server.url())
    assert client.target.read_bytes() == CONTENT


def test_a_server_that_is_silent_before_its_answer(client: Client, server: FileServer) -> None:
    server.answers = [Exchange.stall, whole]
    client.get(server.url(), silence=0.5)
    assert client.lines == [f"[taskrunner] download: 127.0.0.1:{server.port} was silent for 0.5 s; starts again in 1 s"]


# ---- what is resumed -----------------------------------------------------------------------------------


def stalled_half(exchange: Exchange) -> None:
    half(exchange)
    exchange.stall()


@pytest.mark.parametrize(
    ("answer", "why"), [(half, "broke off the connection"), (stalled_half, "was silent for 0.5 s")]
)
def test_a_transfer_goes_on_where_it_ended(answer: Answer, why: str, client: Client, server: FileServer) -> None:
    server.answers = [answer, part]
    assert client.get(server.url(), silence=0.5) == len(CONTENT)
    assert client.target.read_bytes() == CONTENT
    at = client.lines[0].partition("goes on at ")[2].partition(" bytes")[0]
    assert 0 < int(at) <= HALF
    assert client.lines == [f"[taskrunner] download: 127.0.0.1:{server.port} {why}; goes on at {at} bytes in 1 s"]
    assert server.requests[1].headers["range"] == f"bytes={at}-"
    assert server.requests[1].headers["if-range"] == ETAG
    assert client.progress[-1] == Progress("download", len(CONTENT), len(CONTENT))


def test_a_transfer_goes_on_after_a_reset(client: Client, server: FileServer) -> None:
    arrived = threading.Event()
    client.report = lambda _: arrived.set()

    def half_and_reset(exchange: Exchange) -> None:
        half(exchange)
        assert arrived.wait(60)
        exchange.reset()

    server.answers = [half_and_reset, part]
    client.get(server.url())
    assert client.target.read_bytes() == CONTENT
    assert server.requests[1].headers["range"].startswith("bytes=")


def test_several_breaks(client: Client, server: FileServer) -> None:
    def piece(exchange: Exchange) -> None:
        start = int(exchange.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        headers = {"Content_Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"} if start else {}
        exchange.send(206 if start else 200, CONTENT[start : start + 150_000], length=len(CONTENT) - start, **headers)

    server.answers = [piece]
    client.get(server.url())
    assert client.target.read_bytes() == CONTENT
    assert len(server.requests) > 3


@pytest.mark.parametrize(
    ("etag", "modified", "validator"),
    [
        ("", "", None),
        ('W/"v1"', "", None),
        ('W/"v1"', "Mon, 06 May 2030 07:08:09 GMT", "Mon, 06 May 2030 07:08:09 GMT"),
    ],
)
def test_the_version_that_a_part_must_have(
    etag: str, modified: str, validator: str | None, client: Client, server: FileServer
) -> None:
    headers = {name: value for name, value in {"ETag": etag, "Last_Modified": modified}.items() if value}
    server.answers = [lambda exchange: exchange.send(200, CONTENT[:HALF], length=len(CONTENT), **headers), part]
    client.get(server.url())
    assert server.requests[1].headers.get("if-range") == validator


RESTARTS: dict[str, tuple[Answer, str]] = {
    "a server without ranges": (whole, ""),
    "another part": (
        lambda exchange: exchange.send(206, CONTENT[5:], Content_Range=f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}"),
        "answered with another part than was asked for; starts again in 4 s",
    ),
    "a part of nothing": (
        lambda exchange: exchange.send(206, CONTENT),
        "answered with another part than was asked for; starts again in 4 s",
    ),
    "a file that is shorter now": (lambda exchange: exchange.send(416), "has become shorter; starts again in 4 s"),
    "a part of another version": (
        lambda exchange: exchange.send_part(bytes(len(CONTENT))),
        "came in parts that do not fit together; starts again in 4 s",
    ),
}


@pytest.mark.parametrize("how", RESTARTS)
def test_a_transfer_that_cannot_go_on_starts_again(how: str, client: Client, server: FileServer) -> None:
    answer, line = RESTARTS[how]
    server.answers = [half, answer, whole]
    assert client.get(server.url()) == len(CONTENT)
    assert client.target.read_bytes() == CONTENT
    assert client.lines[1:] == ([f"[taskrunner] download: {server.url()} {line}"] if line else [])
    assert "range" not in server.requests[-1].headers or not line


def test_an_end_that_nothing_announced_may_be_a_break(client: Client, server: FileServer) -> None:
    """Without a length, a server that is killed looks like one that has sent everything."""
    server.answers = [lambda exchange: exchange.send(200, CONTENT[:HALF], length=None), whole]
    client.get(server.url())
    assert client.target.read_bytes() == CONTENT


def test_a_length_that_is_too_large_does_not_matter_when_all_is_there(client: Client, server: FileServer) -> None:
    server.answers = [lambda exchange: exchange.send(200, CONTENT, length=len(CONTENT) + 5)]
    assert client.get(server.url()) == len(CONTENT)
    assert len(server.requests) == 1


# ---- redirects and credentials ------------------------------------------------------------------------


@pytest.mark.parametrize("number", [301, 302, 303, 307, 308])
def test_redirects_are_followed(number: int, client: Client, server: FileServer, other: FileServer) -> None:
    server.answers = [status(number, Location="../b c?d=e"), status(number, Location=other.url("/größe"))]
    other.answers = [whole]
    client.get(server.url("/a/x"))
    assert [request.path for request in server.requests] == ["/a/x", "/b%20c?d=e"]
    assert [request.path for request in other.requests] == ["/gr%C3%B6%C3%9Fe"]


def test_a_redirect_is_followed_again_when_a_transfer_goes_on(
    client: Client, server: FileServer, other: FileServer
) -> None:
    """The address that it led to may be valid for a short time."""
    server.answers = [status(302, Location=other.url("/1")), status(302, Location=other.url("/2"))]
    other.answers = [half, part]
    client.get(server.url())
    assert [request.path for request in other.requests] == ["/1", "/2"]
    assert "range" in other.requests[1].headers


def test_redirects_in_a_circle(client: Client, server: FileServer) -> None:
    server.answers = [status(302, Location="/src.tar")]
    with pytest.raises(TaskFailed) as failed:
        client.get(server.url())
    assert failed.value.message == (
        f"download: {server.url()} is behind more than 10 redirects: do they go in a circle?"
    )
    assert len(server.requests) == 11


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://host/x", "http://[::1", "javascript:alert(1)"])
def test_a_redirect_to_something_else(to: str, client: Client, server: FileServer) -> None:
    server.answers = [status(302, Location=to)]
    with pytest.raises(TaskFailed) as failed:
        client.get(server.url())
    assert failed.value.message == (
        f"download: {server.url()} redirects to something that is no http:// or https:// URL"
    )


def sent(server: FileServer) -> list[str | None]:
    return [request.headers.get("authorization") for request in server.requests]


def test_a_token_goes_to_its_own_server_only(client: Client, server: FileServer, other: FileServer) -> None:
    """Not to another port, and not to another name of the same machine; and not back by a detour."""
    server.answers = [status(302, Location="/here"), status(302, Location=other.url()), whole]
    other.answers = [status(302, Location=server.url(host="localhost"))]
    client.get(server.url(), token=SECRET)
    assert sent(server) == [f"Bearer {SECRET}", f"Bearer {SECRET}", None]
    assert sent(other) == [None]


@pytest.mark.parametrize(
    ("login", "token", "header"),
    [
        ("user:word@", "", "Basic dXNlcjp3b3Jk"),
        ("user:w%40rd@", SECRET, "Basic dXNlcjp3QHJk"),
        ("user@", "word", "Basic dXNlcjp3b3Jk"),
        ("", "word", "Bearer word"),
    ],
)
def test_credentials_in_the_url(login: str, token: str, header: str, client: Client, server: FileServer) -> None:
    server.answers = [whole]
    client.get(f"http://{login}127.0.0.1:{server.port}/x", token=token)
    assert sent(server) == [header]


def test_credentials_in_a_redirect_are_not_used(client: Client, server: FileServer, other: FileServer) -> None:
    server.answers = [status(302, Location=f"http://evil:evil@127.0.0.1:{other.port}/x")]
    other.answers = [whole]
    client.get(server.url())
    assert sent(other) == [None]


@pytest.mark.parametrize(
    "answers",
    [
        [status(500), status(404)],
        [status(401)],
        [half, status(500, Retry_After="9999")],
        [nothing, Exchange.reset, status(302, Location=f"/x?signature={SECRET}"), status(404)],
        [status(302, Location=f"ftp://u:{SECRET}@host/")],
        [status(302, Location=f"http://u:{SECRET}@host.invalid/?{SECRET}")],
        [whole],
        [garbage],
    ],
)
def test_credentials_are_never_shown(
    answers: list[Answer], client: Client, server: FileServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the log, an error, its traceback, a representation, or on the disk."""
    server.answers = answers
    location = Location.parse(f"http://user:{SECRET}@127.0.0.1:{server.port}/x?signature={SECRET}#{SECRET}", SECRET)
    with pytest.raises(TaskrunnerError) as failed:
        clock.run(client.coroutine(location, "0" * 64))
    shown = [str(failed.value), repr(failed.value), failed.getrepr(), repr(location), str(location), *client.lines]
    assert not [text for text in shown if SECRET in str(text)]
    assert failed.value.__cause__ is None
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in client.folder.iterdir())


def test_refused_credentials_are_named_as_such(client: Client, server: FileServer) -> None:
    server.answers = [status(403)]
    with pytest.raises(TaskFailed, match=r"refused the credentials \(status 403\)"):
        client.get(server.url(), token=SECRET)


# ---- certificates --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("certificates")
    return {
        "good": make_certificate(folder / "good"),
        "another name": make_certificate(folder / "another", "DNS:files.example"),
    }


def test_a_private_authority_is_trusted_when_it_is_named(client: Client, certificates: dict[str, Path]) -> None:
    with serving(certificates["good"]) as server:
        server.answers = [half, part]
        client.get(server.url(scheme="https"), ca_file=certificates["good"])
    assert client.target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "trusted", "why"),
    [
        ("good", False, "self-signed certificate"),
        ("another name", True, "IP address mismatch, certificate is not valid for '127.0.0.1'."),
    ],
)
def test_a_certificate_that_is_not_accepted_stays_so(
    name: str, trusted: bool, why: str, client: Client, certificates: dict[str, Path]
) -> None:
    with serving(certificates[name]) as server:
        server.answers = [whole]
        with pytest.raises(TaskFailed) as failed:
            client.get(server.url(scheme="https"), ca_file=certificates[name] if trusted else None)
        assert failed.value.message == (f"download: the certificate of 127.0.0.1:{server.port} is not accepted: {why}")
        assert server.requests == []
    assert client.lines == []


def test_tls_where_there_is_none(client: Client, server: FileServer) -> None:
    with pytest.raises(TaskFailed, match=rf"^download: 127\.0\.0\.1:{server.port} has trouble with TLS: "):
        client.get(server.url(scheme="https"))


@pytest.mark.parametrize(("content", "why"), [(None, "No such file or directory"), ("x", "it has no certificates")])
def test_a_file_of_authorities_that_cannot_be_used(
    content: str | None, why: str, client: Client, server: FileServer
) -> None:
    path = client.folder / "ca.pem"
    if content:
        path.write_text(content)
    with pytest.raises(TaskFailedInternally) as failed:
        client.get(server.url(scheme="https"), ca_file=path)
    assert failed.value.args == (f"download: {path} cannot be used: {why}",)


# ---- time, cancellation, this machine ------------------------------------------------------------------


def test_all_attempts_together_have_a_limit(client: Client, server: FileServer) -> None:
    """On the real clock: the thread waits for a real socket."""
    server.answers = [stalled_half]
    with pytest.raises(Unavailable) as failed:
        client.get(server.url(), total=0.3, run=asyncio.run)
    assert failed.value.message == f"download: {server.url()} took longer than 0.3 s"
    assert len(server.requests) == 1
    assert server.left.wait(60)


def test_no_attempt_begins_when_the_time_is_too_short(client: Client, server: FileServer) -> None:
    server.answers = [status(503)]
    with pytest.raises(Unavailable):
        client.get(server.url(), total=10)
    assert len(client.lines) == 2, "1 and 4 seconds, but not 15"


@pytest.mark.parametrize("answer", [Exchange.stall, stalled_half])
def test_a_cancel_ends_the_connection_at_once(answer: Answer, client: Client, server: FileServer) -> None:
    begun = threading.Event()

    def begin(exchange: Exchange) -> None:
        begun.set()
        answer(exchange)

    server.answers = [begin]

    async def main() -> None:
        call = asyncio.create_task(client.coroutine(Location.parse(server.url())))
        assert await run_blocking(partial(begun.wait, 60), limit=70, doing="waiting")
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()

    asyncio.run(main())
    assert server.left.wait(60)
    assert client.lines == []


def test_a_cancel_between_two_attempts(client: Client, server: FileServer) -> None:
    server.answers = [status(503)]

    async def main() -> None:
        call = asyncio.create_task(client.coroutine(Location.parse(server.url())))
        await asyncio.sleep(3)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()

    clock.run(main())
    assert len(server.requests) == 2


def test_a_full_disk_is_our_own_fault(small_disk: Path, server: FileServer) -> None:
    server.answers = [whole]
    with pytest.raises(MachineFault) as failed:
        Client(small_disk).get(server.url())
    assert str(failed.value) == "download: the file cannot be written here: No space left on device"


def test_a_link_in_the_place_of_the_file_is_not_followed(client: Client, server: FileServer) -> None:
    server.answers = [whole]
    client.target.symlink_to("elsewhere")
    with pytest.raises(
        TaskFailedInternally, match="the file cannot be written here: Too many levels of symbolic links"
    ):
        client.get(server.url())
    assert not (client.folder / "elsewhere").exists()


def test_no_descriptor_stays_open(client: Client) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with serving() as server:  # it has closed its own connections when it has ended
        server.answers = [half, status(302, Location="/x"), Exchange.reset, part]
        client.get(server.url())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_missing_library_is_named(tmp_path: Path) -> None:
    code = """
import asyncio, sys
sys.modules["urllib3"] = None
from pathlib import Path
from taskrunner.files.download import download
from taskrunner.files.downloads.location import Location
from taskrunner.testing.fakes.log import MemoryLog
try:
    asyncio.run(download(Location.parse("http://x/"), Path("x"), "", log=MemoryLog(), progress=print))
except Exception as error:
    print(type(error).__name__, error)
"""
    printed = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=tmp_path)
    assert printed == (
        "TaskFailedInternally download: this worker cannot download: install taskrunner-worker[archives] on it\n"
    )
