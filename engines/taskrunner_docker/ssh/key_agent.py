"""An agent of keys in memory: no program, no socket and no file has them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from taskrunner_docker.ssh.messages import (
    IDENTITIES,
    REFUSED,
    REQUEST_IDENTITIES,
    SIGN_REQUEST,
    SIGNATURE,
    Agent,
    number,
    read_field,
    read_number,
    with_length,
)
from taskrunner_docker.ssh.private_keys import CannotSign, PrivateKey


def key_agent(keys: Sequence[PrivateKey]) -> Agent:
    """Lists these keys, and signs with them. It refuses everything else that an agent may be asked for."""
    return partial(_answer, {key.public: key for key in keys})


def _answer(keys: dict[bytes, PrivateKey], request: bytes) -> bytes:
    if request[0] == REQUEST_IDENTITIES:
        listed = (with_length(public) + with_length(b"") for public in keys)
        return bytes([IDENTITIES]) + number(len(keys)) + b"".join(listed)
    return _sign(keys, request) if request[0] == SIGN_REQUEST else REFUSED


def _sign(keys: dict[bytes, PrivateKey], request: bytes) -> bytes:
    public, at = read_field(request, 1)
    data, at = read_field(request, at)
    flags, _ = read_number(request, at)
    if public not in keys:
        return REFUSED
    try:
        return bytes([SIGNATURE]) + with_length(keys[public].sign(data, flags))
    except CannotSign:
        return REFUSED
