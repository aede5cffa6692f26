"""A real git server on 127.0.0.1, and repositories made by the real git: for tests and demonstrations."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

GIT_ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_NAME": "A. Author",
    "GIT_AUTHOR_EMAIL": "author@example.org",
    "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "A. Author",
    "GIT_COMMITTER_EMAIL": "author@example.org",
    "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z",
    "GIT_TERMINAL_PROMPT": "0",
}
"""The environment of git: no user's configuration, always the same author and time."""


def git(repository: Path, *arguments: str, **env: str) -> bytes:
    """Runs the real git in a repository, and returns what it prints."""
    command = ["git", "-c", "protocol.file.allow=always", *arguments]
    return subprocess.run(command, cwd=repository, env=GIT_ENV | env, check=True, capture_output=True).stdout


def make_repository(path: Path, files: Mapping[str, str | bytes], branch: str = "main") -> str:
    """Makes a repository with a working tree at `path`, with one commit on `branch`. Returns the commit's id."""
    path.mkdir(parents=True)
    git(path, "init", "--quiet", f"--initial-branch={branch}")
    return commit(path, files)


def commit(path: Path, files: Mapping[str, str | bytes], message: str = "a change") -> str:
    """Writes files into the working tree, and commits everything that is in it. Returns the commit's id."""
    for name, content in files.items():
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    git(path, "add", "--all", "--force", ".")
    git(path, "commit", "--quiet", "--allow-empty", f"--message={message}")
    return git(path, "rev-parse", "HEAD").decode().strip()


def add_submodule(parent: Path, name: str, url: str, sha: str) -> None:
    """As `git submodule add`, with any URL."""
    old = (parent / ".gitmodules").read_text() if (parent / ".gitmodules").exists() else ""
    (parent / ".gitmodules").write_text(old + f'[submodule "{name}"]\n\tpath = {name}\n\turl = {url}\n')
    git(parent, "add", ".gitmodules")
    git(parent, "update-index", "--add", "--cacheinfo", f"160000,{sha},{name}")
    git(parent, "commit", "--quiet", "--message=submodule")


class GitServer:
    """Serves every repository below a folder over HTTP, by git's own `http-backend`; bare ones and working trees alike.

    With a token, it requires this as the password of HTTP's Basic authentication, for any user::

        with GitServer(folder, token="secret") as server:
            url = server.url("team/web.git")
    """

    def __init__(self, root: Path, token: str | None = None, certificate: Path | None = None) -> None:
        """`certificate` is a PEM file with its key: the server then speaks HTTPS."""
        self.root, self.token = root, token
        self._scheme = "https" if certificate else "http"
        self.requests: list[str] = []
        """Method and path of each request."""
        self.sent = 0
        """Bytes of all answers so far."""
        self.stall_after: int | None = None
        """Bytes of an answer to a POST after which the server waits until `resume`, or None."""
        self.break_after: int | None = None
        """Bytes of an answer to a POST after which the server closes the connection, or None."""
        self.redirect = ""
        """The URL, which ends in `/`, that every request is redirected to; empty for none."""
        self.stalled, self.resume = threading.Event(), threading.Event()
        self.broken_pipes = threading.Semaphore(0)
        """Released each time that a client disconnects during an answer."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if certificate:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(certificate)
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.resume.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    def url(self, path: str) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}/{path}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(_GitHandler):
            git_server = server

        return Handler


class _GitHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    git_server: GitServer

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
        """Says nothing."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.git_server.requests.append(f"{self.command} {self.path}")
        if self.git_server.redirect:
            self._close(302, "Location", self.git_server.redirect.rstrip("/") + self.path)
            return
        if not self._authorized():
            self._close(401, "WWW-Authenticate", 'Basic realm="git"')
            return
        with self._backend() as backend:
            try:
                self._converse(backend, body)
            except ConnectionError:
                backend.kill()
                self.git_server.broken_pipes.release()

    def _authorized(self) -> bool:
        kind, _, login = self.headers.get("Authorization", "").partition(" ")
        password = base64.b64decode(login).partition(b":")[2] if kind == "Basic" else b""
        return self.git_server.token is None or password == self.git_server.token.encode()

    def _close(self, status: int, header: str, value: str) -> None:
        self.send_response(status)
        self.send_header(header, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _backend(self) -> subprocess.Popen[bytes]:
        path, _, query = self.path.partition("?")
        env = GIT_ENV | {
            "GIT_PROJECT_ROOT": str(self.git_server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": self.headers.get("Content-Length", "0"),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        return subprocess.Popen(["git", "http-backend"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)

    def _converse(self, backend: subprocess.Popen[bytes], body: bytes) -> None:
        assert backend.stdin is not None
        assert backend.stdout is not None
        backend.stdin.write(body)
        backend.stdin.close()
        headers = []
        while line := backend.stdout.readline().strip().decode():
            headers.append(line.split(": ", 1))
        status = next((value for name, value in headers if name == "Status"), "200")
        self.send_response(int(status.split()[0]))
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self._send(backend)

    def _send(self, backend: subprocess.Popen[bytes]) -> None:
        server, sent = self.git_server, 0
        assert backend.stdout is not None
        while data := backend.stdout.read1(1 << 16):
            if self.command == "POST" and server.break_after is not None and sent + len(data) > server.break_after:
                backend.kill()
                return
            self.wfile.write(data)
            sent += len(data)
            server.sent += len(data)
            if self.command == "POST" and server.stall_after is not None and sent > server.stall_after:
                server.stalled.set()
                server.resume.wait()


def export_bare(source: Path, target: Path) -> Path:
    """A bare copy of a repository, as servers keep them."""
    target.parent.mkdir(parents=True, exist_ok=True)
    git(source, "clone", "--quiet", "--bare", "--no-local", str(source), str(target))
    return target
