"""Wrong URLs, tokens and servers, and the errors that users see."""

from __future__ import annotations

import functools
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from taskrunner.errors import TaskFailed, TaskFailedInternally, Unavailable
from tests.git.conftest import Fetcher, noise
from tests.support.githttp import GitServer, git, make_repository
from tests.support.small_server import host_of, small_server

TOKEN = "the-t0ken/with+odd=signs"


@pytest.fixture
def web(root: Path) -> Path:
    make_repository(root / "web", {"a": "1\n" * 100})
    return root / "web"


def test_a_token_gives_access(web: Path, locked: GitServer, fetcher: Fetcher) -> None:
    assert fetcher.files(locked.url("web"), token=TOKEN) == {"a": b"1\n" * 100}


def test_credentials_in_the_url_give_access(web: Path, locked: GitServer, fetcher: Fetcher) -> None:
    url = f"http://someone:the-t0ken%2Fwith+odd=signs@127.0.0.1:{locked.port}/web"
    with fetcher.commit(url) as commit:
        assert commit.url == locked.url("web")


def test_a_wrong_token(web: Path, locked: GitServer, fetcher: Fetcher) -> None:
    with pytest.raises(TaskFailed, match=r"^clone: http://127.0.0.1:\d+/web refused the token: is it expired"):
        fetcher.sha(locked.url("web"), token="wrong")


def test_no_token(web: Path, locked: GitServer, fetcher: Fetcher) -> None:
    with pytest.raises(TaskFailed, match="needs a token, and none was given"):
        fetcher.sha(locked.url("web"))


def test_no_such_repository(server: GitServer, locked: GitServer, fetcher: Fetcher) -> None:
    with pytest.raises(TaskFailed, match=r"/nothing was not found, or it is private and needs a token"):
        fetcher.sha(server.url("nothing"))
    with pytest.raises(TaskFailed, match="was not found, or the token may not see it"):
        fetcher.sha(locked.url("nothing"), token=TOKEN)


def test_no_server(fetcher: Fetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for scheme in ("http", "https", "git"):
        with pytest.raises(Unavailable, match=rf"clone: 127.0.0.1:{port} refused the connection"):
            fetcher.sha(f"{scheme}://127.0.0.1:{port}/web")


def test_no_such_host(fetcher: Fetcher) -> None:
    for url in ("https://no-such-host.invalid/web", "git://no-such-host.invalid/web"):
        with pytest.raises(Unavailable, match=r"no-such-host.invalid is not known to the name service"):
            fetcher.sha(url)


def test_no_tls(server: GitServer, fetcher: Fetcher) -> None:
    with pytest.raises(Unavailable, match="has trouble with TLS"):
        fetcher.sha(f"https://127.0.0.1:{server.port}/web")


@pytest.mark.parametrize("after", [0, 10, 50, 2000, 200_000])
def test_a_server_that_closes_the_connection_midway(
    after: int, root: Path, server: GitServer, fetcher: Fetcher
) -> None:
    make_repository(root / "random", {"a": noise(1, 400_000), "b": "c"})
    server.break_after = after
    with pytest.raises(Unavailable, match="broke off the connection"):
        fetcher.sha(server.url("random"), "main")
    server.break_after = None
    assert set(fetcher.files(server.url("random"), "main")) == {"a", "b"}


Answer = Callable[[bytes], int]


@pytest.fixture
def answering() -> Iterator[Answer]:
    """Starts a server that answers every connection with the same bytes; returns its port."""
    servers: list[socket.socket] = []

    def start(answer: bytes) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)
        threading.Thread(target=_answer_all, args=(server, answer), daemon=True).start()
        return int(server.getsockname()[1])

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def _answer_all(server: socket.socket, answer: bytes) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.recv(65536)
            connection.sendall(answer)


def http(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (http("503 Busy", b"", "Retry-After: 7"), Unavailable, "answered with status 503"),
        (http("429 Slow Down"), Unavailable, "answered with status 429"),
        (http("403 No"), TaskFailed, "needs a token, and none was given"),
        (http("418 Teapot"), TaskFailed, "answered with status 418"),
        (http("200 OK", b"<html>", "Content-Type: text/html"), TaskFailed, "is no git repository"),
        (http("200 OK", b"junk", "Content-Type: application/x-git-upload-pack-advertisement"), TaskFailed, "refused"),
        (http("302 Found", b"", "Location: http://127.0.0.1:1/x"), Unavailable, "refused the connection"),
        (b"junk", Unavailable, "broke off"),
        (b"", Unavailable, "broke off"),
    ],
)
def test_servers_with_odd_answers(
    answer: bytes, error: type[Exception], message: str, answering: Answer, fetcher: Fetcher
) -> None:
    with pytest.raises(error, match=message) as caught:
        fetcher.sha(f"http://127.0.0.1:{answering(answer)}/web")
    assert str(caught.value).startswith("clone: ")
    assert getattr(caught.value, "retry_after", None) == (7 if b"503" in answer else None)


def test_a_repository_as_plain_files(web: Path, root: Path, fetcher: Fetcher) -> None:
    git(web, "update-server-info")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(root))
    message = r"the server gives out plain files \(dumb HTTP\), which is not"
    with small_server(handler) as plain, pytest.raises(TaskFailed, match=message):
        fetcher.sha(f"http://{host_of(plain)}/web/.git", "main")


@pytest.mark.parametrize("answer", [b"", b"junk and more junk", b"0000", b"ffff", b"0007abc"])
def test_servers_with_odd_answers_in_gits_own_protocol(answer: bytes, answering: Answer, fetcher: Fetcher) -> None:
    with pytest.raises((TaskFailed, Unavailable), match=r"clone: git://127.0.0.1|clone: 127.0.0.1"):
        fetcher.sha(f"git://127.0.0.1:{answering(answer)}/web")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "is empty"),
        ("-oProxyCommand=touch /tmp/x", "begins with `-`"),
        ("--upload-pack=x", "begins with `-`"),
        ("ext::sh -c date", "space or control"),
        ("ext::date", "transport program"),
        ("fd::17", "transport program"),
        ("https://host/a b", "space or control"),
        ("https://host/a\nb", "space or control"),
        ("https://host:notaport/a", "wrong host or port"),
        ("https:///a", "has no host"),
        ("https://host/a?token=x", "no `?` or `#`"),
        ("https://host/a#main", "no `?` or `#`"),
        ("ftp://host/a", "is not supported"),
        ("../web", "is no URL"),
        ("web", "is no URL"),
        ("file://host/web", "absolute path and no host"),
        ("ssh://-oProxyCommand=x/web", "has no host"),
        ("-x@host:web", "begins with `-`"),
        ("host:-x", "begins with `-`"),
        ("ssh://-x@host/web", "begins with `-`"),
        ("ssh://git:secret@host/web", "takes no password"),
        ("ssh://host/a%0ab", "space or control"),
    ],
)
def test_a_url_that_is_refused(url: str, message: str, fetcher: Fetcher) -> None:
    with pytest.raises(TaskFailed) as caught:
        fetcher.sha(url)
    assert caught.value.reason == "clone-failed"
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_disk_that_cannot_be_written_is_an_internal_failure(web: Path, server: GitServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TaskFailedInternally, match="cannot be read or written: Not a directory"):
        Fetcher(tmp_path / "file" / "mirror").sha(server.url("web"))
