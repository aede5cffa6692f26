"""HTTPS with certificates of a private authority."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskrunner.config.config import decode_config
from taskrunner.errors import TaskFailed, TaskFailedInternally
from taskrunner.interfaces.platform import RunContext
from taskrunner.interfaces.source import SourceOptions
from taskrunner.model import RunKey, Source, Task
from taskrunner.testing import FakeCaches, MemoryLog
from taskrunner_git import fetch
from taskrunner_source import checkout
from tests.git.conftest import Fetcher, contents
from tests.support.authority import Authority
from tests.support.githttp import GitServer, add_submodule, make_repository


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("GIT_SSL_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "authority").mkdir()
    made = Authority(tmp_path / "authority")
    made.make()
    return made


@pytest.fixture
def secure(root: Path, authority: Authority) -> Iterator[GitServer]:
    """A server with a certificate of the private authority."""
    lib = make_repository(root / "lib", {"l": "lib\n"})
    make_repository(root / "web", {"a": "1\n"})
    add_submodule(root / "web", "lib", "../lib", lib)
    with GitServer(root, certificate=authority.certificate("server", "IP:127.0.0.1")) as running:
        yield running


def context_of(url: str, folder: Path, options: SourceOptions) -> RunContext:
    return RunContext(
        Task("t", "any", source=Source(url, "main")),
        RunKey("t", 0),
        folder / "files",
        MemoryLog(),
        FakeCaches(folder / "caches"),
        lambda secret: secret.literal,
        lambda _: None,
        options,
    )


def fetched(fetcher: Fetcher, url: str, ca_file: Path | None) -> set[str]:
    commit = asyncio.run(
        fetch(
            url,
            "main",
            token=None,
            mirror=fetcher.mirror,
            say=fetcher.lines.append,
            progress=fetcher.progress.append,
            ca_file=ca_file,
        )
    )
    try:
        return set(contents(commit))
    finally:
        commit.close()


def test_a_private_authority_by_the_configuration(secure: GitServer, authority: Authority, fetcher: Fetcher) -> None:
    assert fetched(fetcher, secure.url("web"), authority.file) == {".gitmodules", "a", "lib/l"}


@pytest.mark.parametrize("variable", ["GIT_SSL_CAINFO", "SSL_CERT_FILE"])
def test_a_private_authority_by_the_environment(
    variable: str, secure: GitServer, authority: Authority, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(authority.file))
    assert fetched(fetcher, secure.url("web"), None) == {".gitmodules", "a", "lib/l"}


def test_an_unknown_authority_is_a_lasting_failure(secure: GitServer, fetcher: Fetcher) -> None:
    with pytest.raises(TaskFailed) as caught:
        fetcher.sha(secure.url("web"), "main")
    assert caught.value.reason == "clone-failed"
    assert str(caught.value) == (
        f"clone: the certificate of 127.0.0.1:{secure.port} is not trusted: unable to get local issuer certificate; "
        "the authority that signed it can be named by `ca_file` in [source] of the worker's configuration, or by "
        "SSL_CERT_FILE"
    )


@pytest.mark.parametrize(
    ("address", "options", "message"),
    [
        ("IP:127.0.0.2", [], "IP address mismatch, certificate is not valid for '127.0.0.1'"),
        ("DNS:host.example", [], "IP address mismatch"),
        ("IP:127.0.0.1", ["-addext", "extendedKeyUsage=clientAuth"], "un.* certificate purpose"),
    ],
)
def test_a_wrong_certificate_is_a_lasting_failure(  # noqa: PLR0917  fixtures and parameters
    address: str, options: list[str], message: str, root: Path, authority: Authority, fetcher: Fetcher
) -> None:
    make_repository(root / "web", {"a": "1\n"})
    certificate = authority.certificate("wrong", address, *options)
    with (
        GitServer(root, certificate=certificate) as server,
        pytest.raises(TaskFailed, match=rf"is not trusted: {message}"),
    ):
        fetched(fetcher, server.url("web"), authority.file)


def test_an_expired_certificate_is_a_lasting_failure(root: Path, authority: Authority, fetcher: Fetcher) -> None:
    make_repository(root / "web", {"a": "1\n"})
    certificate = authority.expired_certificate("expired", "127.0.0.1")
    with GitServer(root, certificate=certificate) as server, pytest.raises(TaskFailed) as caught:
        fetched(fetcher, server.url("web"), authority.file)
    assert caught.value.reason == "clone-failed"
    assert str(caught.value) == (
        f"clone: the certificate of 127.0.0.1:{server.port} is not trusted: certificate has expired"
    )


def test_the_section_of_the_configuration_reaches_the_fetch(
    secure: GitServer, authority: Authority, tmp_path: Path
) -> None:
    config = decode_config({"source": {"ca_file": str(authority.file)}})
    (tmp_path / "files").mkdir()
    asyncio.run(checkout(context_of(secure.url("web"), tmp_path, config.source), tmp_path / "files"))
    assert (tmp_path / "files" / "lib" / "l").read_text() == "lib\n"
    with pytest.raises(TaskFailed, match="is not trusted: unable to get local issuer certificate"):
        asyncio.run(checkout(context_of(secure.url("web"), tmp_path / "other", SourceOptions()), tmp_path / "files"))


def test_a_redirect_from_http_to_a_private_authority(
    secure: GitServer, server: GitServer, authority: Authority, fetcher: Fetcher
) -> None:
    server.redirect = secure.url("")
    assert fetched(fetcher, server.url("web"), authority.file) == {".gitmodules", "a", "lib/l"}


@pytest.mark.parametrize("content", [None, "", "junk"])
def test_a_file_without_authorities_is_a_failure_of_the_worker(
    content: str | None, secure: GitServer, tmp_path: Path, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_text(content)
    why = "No such file or directory" if content is None else "it has no certificates"
    with pytest.raises(TaskFailedInternally, match=rf"^clone: the authorities in {file} cannot be read: {why}$"):
        fetched(fetcher, secure.url("web"), file)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(file))
    with pytest.raises(TaskFailedInternally, match=rf"^clone: the authorities in {file} cannot be read: {why}$"):
        fetched(fetcher, secure.url("web"), None)
