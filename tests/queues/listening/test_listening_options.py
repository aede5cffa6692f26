"""What a port is opened with: its address, its table of options, its certificate and its tokens."""

from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from taskrunner.errors import ConfigError, MalformedPayload
from taskrunner.model import Secret
from taskrunner.queues.listening import (
    Address,
    BearerTokens,
    ListenOptions,
    listen_complaints,
    listening_address,
)
from taskrunner.schema.decode import decode
from tests.queues.listening.conftest import open_at, tls_options
from tests.support.authority import Authority


@pytest.mark.parametrize(
    ("url", "address", "text"),
    [
        ("agent://", Address("127.0.0.1", 8089), "127.0.0.1:8089"),
        ("agent://:70", Address("127.0.0.1", 70), "127.0.0.1:70"),
        ("agent://0.0.0.0", Address("0.0.0.0", 8089), "0.0.0.0:8089"),  # noqa: S104  on purpose
        ("agent://[::1]:0/", Address("::1", 0), "[::1]:0"),
        ("agent://worker.example:70?build_id=7", Address("worker.example", 70), "worker.example:70"),
    ],
)
def test_a_url_names_where_to_listen_and_by_default_this_machine_alone(url: str, address: Address, text: str) -> None:
    assert listening_address(url, 8089) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("agent://me:hunter2@0.0.0.0:80", "no user or password"),
        ("agent://0.0.0.0:80/jobs", "no path"),
        ("agent://0.0.0.0:80#x", "no path"),
        ("agent://0.0.0.0:65536", "no port between"),
        ("agent://0.0.0.0:http", "no port between"),
        ("agent://*:80", "no host"),
        ("agent://[::1:80", "no IPv6 address"),
        ("agent://[hunter2]:80", "no IPv6 address"),
    ],
)
def test_any_other_url_is_refused_without_its_password(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as refused:
        listening_address(url, 8089)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"max_message": 1000}, "max_message: must be at least 64KiB"),
        ({"max_connections": 0}, "max_connections: must be at least 1"),
        ({"idle_timeout": 0.5}, "idle_timeout"),
        ({"certificate": "cert.pem"}, "certificate: is not of the form it needs (write the full path of a PEM file)"),
        ({"token": "hunter2"}, "token: is not known here (did you mean tokens?)"),
    ],
)
def test_a_wrong_table_is_refused_by_its_field(table: dict[str, Any], complaint: str) -> None:
    with pytest.raises(MalformedPayload) as refused:
        decode(ListenOptions, table)
    assert complaint in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        (ListenOptions(certificate="/a"), ["listen.key"]),
        (ListenOptions(key="/a", client_ca="/b"), ["listen.key", "listen.client_ca"]),
        (ListenOptions(certificate="/a", key="/b", client_ca="/c"), []),
        (ListenOptions(), []),
    ],
)
def test_fields_that_need_each_other_are_complained_about(options: ListenOptions, paths: list[str]) -> None:
    assert [complaint.path for complaint in listen_complaints(options)] == paths


def test_tokens_are_compared_whole_and_shown_nowhere() -> None:
    options = ListenOptions(tokens=(Secret("old"), Secret("new")))
    listener = open_at(options, secrets={"old": "hunter1", "new": "hunter2"})
    admitted = ["Bearer hunter1", "bearer hunter2", b"Bearer  hunter2"]
    refused = [None, "", "hunter1", "Basic hunter1", "Bearer hunter", "Bearer hunter11", "Bearer ", "Bearer hünter1"]
    assert all(listener.tokens.admits(header) for header in admitted)
    assert not any(listener.tokens.admits(header) for header in refused)
    assert "hunter" not in repr(listener)


def test_without_tokens_everybody_is_admitted() -> None:
    assert BearerTokens().admits(None)
    assert not BearerTokens().required


def test_an_empty_token_is_refused_as_it_would_admit_everybody() -> None:
    with pytest.raises(ConfigError, match=r"listen.tokens\[0\]: the secret is empty"):
        open_at(ListenOptions(tokens=(Secret("t"),)), secrets={"t": " "})


@pytest.mark.parametrize(
    ("url", "token", "warning"),
    [
        ("agent://", "", ""),
        ("agent://localhost", "", ""),
        ("agent://[::1]", "", ""),
        ("agent://0.0.0.0", "", "whoever reaches it may run tasks here"),
        ("agent://worker.example", "", "whoever reaches it may run tasks here"),
        ("agent://0.0.0.0", "t", "whoever reads its traffic has the token"),
    ],
)
def test_an_open_port_without_protection_is_warned_of(url: str, token: str, warning: str) -> None:
    options = ListenOptions(tokens=(Secret(token),) if token else ())
    exposure = open_at(options, url, {"t": "hunter2"}).exposure
    assert warning in exposure
    assert bool(warning) == bool(exposure)


def test_a_certificate_makes_a_context_for_servers_and_texts_for_grpc(authority: Authority) -> None:
    tls = open_at(tls_options(authority)).tls
    assert tls
    assert tls.certificate.startswith(b"-----BEGIN CERTIFICATE")
    assert (tls.client_ca, tls.context.verify_mode) == (b"", ssl.CERT_NONE)
    assert "PRIVATE" not in repr(tls)


def test_with_an_authority_of_clients_each_needs_a_certificate(authority: Authority) -> None:
    listener = open_at(tls_options(authority, client_ca=str(authority.file)), "agent://0.0.0.0")
    assert listener.tls
    assert listener.tls.context.verify_mode == ssl.CERT_REQUIRED
    assert listener.exposure == ""


def test_each_wrong_file_is_refused_by_its_field(authority: Authority, tmp_path: Path) -> None:
    fifo, encrypted = tmp_path / "fifo", tmp_path / "encrypted"
    os.mkfifo(fifo)
    encrypt = ["openssl", "ec", "-in", str(authority.folder / "server.key"), "-aes128", "-passout", "pass:x"]
    subprocess.run([*encrypt, "-out", encrypted], check=True, capture_output=True)
    wrong = {
        f"listen.certificate: {tmp_path}/none cannot be read": {"certificate": str(tmp_path / "none")},
        f"listen.certificate: {fifo} is no PEM file": {"certificate": str(fifo)},
        f"listen.key: {authority.folder}/ca.key is not the key of": {"key": str(authority.folder / "ca.key")},
        f"listen.key: {encrypted} is not the key of": {"key": str(encrypted)},
        f"listen.client_ca: {authority.folder}/ca.key has no certificate": {"client_ca": f"{authority.folder}/ca.key"},
    }
    for problem, files in wrong.items():
        with pytest.raises(ConfigError) as refused:
            open_at(tls_options(authority, **files))
        assert str(refused.value).startswith(problem)
