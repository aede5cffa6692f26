"""The agent of a build, used by OpenSSH's own programs; no Docker."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from taskrunner.errors import Unavailable
from taskrunner_docker.ssh import BadKey, key_agent, load_key, socket_agent, take_requests, with_length
from taskrunner_docker.ssh.messages import MAX_MESSAGE, REFUSED, AgentProtocolError
from tests.support.ssh_agent import make_key, openssh_agent, run, serving

KINDS = {
    "ed25519": ("-t", "ed25519"),
    "ecdsa-256": ("-t", "ecdsa", "-b", "256"),
    "ecdsa-384": ("-t", "ecdsa", "-b", "384"),
    "ecdsa-521": ("-t", "ecdsa", "-b", "521"),
    "rsa": ("-t", "rsa", "-b", "2048"),
    "rsa-pem": ("-t", "rsa", "-b", "2048", "-m", "PEM"),
    "ecdsa-pkcs8": ("-t", "ecdsa", "-m", "PKCS8"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_openssh_lists_the_key_and_verifies_what_it_signs(tmp_path: Path, kind: str) -> None:
    key = make_key(tmp_path / "key", *KINDS[kind])
    with serving(key_agent([load_key(key.read_text())]), tmp_path / "agent") as agent:
        listed = run("ssh-add", "-L", agent=agent)
        signed = run("ssh-keygen", "-q", "-Y", "sign", "-n", "test", "-f", f"{key}.pub", f"{key}.pub", agent=agent)
    assert signed.returncode == 0, signed.stderr
    assert listed.stdout.split()[:2] == Path(f"{key}.pub").read_text().split()[:2]
    command = f"ssh-keygen -Y check-novalidate -n test -s {key}.pub.sig <{key}.pub"
    assert "Good" in run("sh", "-c", command).stdout


def test_another_key_and_another_request_are_refused(tmp_path: Path) -> None:
    key, other = make_key(tmp_path / "key"), make_key(tmp_path / "other")
    with serving(key_agent([load_key(key.read_text())]), tmp_path / "agent") as agent:
        assert run("ssh-add", "-T", f"{other}.pub", agent=agent).returncode != 0
        assert run("ssh-add", str(other), agent=agent).returncode != 0
        assert run("ssh-add", "-D", agent=agent).returncode != 0
        assert run("ssh-add", "-T", f"{key}.pub", agent=agent).returncode == 0


def test_rsa_with_sha1_is_refused(tmp_path: Path) -> None:
    key = load_key(make_key(tmp_path / "key", *KINDS["rsa"]).read_text())
    request = bytes([13]) + with_length(key.public) + with_length(b"data") + struct.pack(">I", 0)
    assert key_agent([key])(request) == REFUSED


def test_the_operators_agent_signs_and_keeps_its_keys(tmp_path: Path) -> None:
    key, other = make_key(tmp_path / "key"), make_key(tmp_path / "other")
    with (
        openssh_agent(tmp_path / "own", key) as own,
        serving(socket_agent(str(own)), tmp_path / "agent") as agent,
    ):
        assert run("ssh-add", "-T", f"{key}.pub", agent=agent).returncode == 0
        assert run("ssh-add", str(other), agent=agent).returncode != 0, "a task adds no key"
        assert run("ssh-add", "-D", agent=agent).returncode != 0, "a task removes no key"
        assert run("ssh-add", "-l", agent=own).stdout.count("\n") == 1


def test_an_agent_that_is_gone_is_the_workers_fault(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"\[docker\] ssh_agent"):
        socket_agent(str(tmp_path / "none"))(b"\x0b")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (("-N", "phrase"), "has a passphrase"),
        (("-N", "phrase", "-m", "PEM", "-t", "rsa"), "has a passphrase"),
    ],
)
def test_a_key_with_a_passphrase_is_refused(tmp_path: Path, make: tuple[str, ...], said: str) -> None:
    with pytest.raises(BadKey, match=said):
        load_key(make_key(tmp_path / "key", *make).read_text())


@pytest.mark.parametrize(
    "text",
    ["", "x", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----", "ssh-ed25519 AAAA me"],
)
def test_what_is_no_key_is_refused_without_its_text(text: str) -> None:
    with pytest.raises(BadKey, match="is no private key") as caught:
        load_key(text)
    assert "AAAA" not in str(caught.value)


def test_a_key_that_no_server_takes_is_refused() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, x25519
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    for key in (
        ed448.Ed448PrivateKey.generate(),
        ec.generate_private_key(ec.SECP256K1()),
        x25519.X25519PrivateKey.generate(),
    ):
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        with pytest.raises(BadKey, match="SSH"):
            load_key(text)


@given(some.lists(some.binary(min_size=1, max_size=40)), some.integers(1, 9))
def test_requests_arrive_however_the_stream_is_cut(requests: list[bytes], size: int) -> None:
    stream = b"".join(map(with_length, requests))
    received, taken = bytearray(), list[bytes]()
    for at in range(0, len(stream), size):
        received += stream[at : at + size]
        taken += take_requests(received)
    assert taken == requests
    assert not received


@given(some.binary(min_size=1))
def test_no_request_breaks_an_agent(request: bytes) -> None:
    with suppress(AgentProtocolError):
        assert key_agent([])(request)


@pytest.mark.parametrize("size", [0, MAX_MESSAGE + 1])
def test_a_message_of_a_wrong_size_is_refused(size: int) -> None:
    with pytest.raises(AgentProtocolError):
        list(take_requests(bytearray(struct.pack(">I", size) + b"x")))
