"""The TLS identity of a port: its certificate and key, and the authority of its clients."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.errors import ConfigError
from taskrunner.queues.listening.options import ListenOptions

READ_LIMIT = 10.0
"""Seconds for three small files."""

MAX_PEM = 1 << 20
"""Bytes. The certificates of all public authorities together take 200 kB."""


@attrs.frozen
class TlsIdentity:
    """Texts in PEM. `context` is for servers of asyncio, the texts are for gRPC, which has its own TLS."""

    certificate: bytes
    key: bytes = attrs.field(repr=False)
    client_ca: bytes
    """Empty without mutual TLS."""
    context: ssl.SSLContext


async def load_tls(options: ListenOptions) -> TlsIdentity | None:
    """None when the port speaks no TLS. Raises: ConfigError."""
    if not options.certificate:
        return None
    return await run_blocking(
        lambda: _load(options), limit=READ_LIMIT, doing="reading the certificate", error=ConfigError
    )


def _load(options: ListenOptions) -> TlsIdentity:
    certificate, key = _read(options.certificate, "certificate"), _read(options.key, "key")
    client_ca = _read(options.client_ca, "client_ca") if options.client_ca else b""
    return TlsIdentity(certificate, key, client_ca, _context(options, client_ca))


def _read(path: str, field: str) -> bytes:
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_PEM:
            raise ConfigError(f"listen.{field}: {path} is no PEM file")
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"listen.{field}: {path} cannot be read: {error.strerror}") from None


def _context(options: ListenOptions, client_ca: bytes) -> ssl.SSLContext:
    """TLS 1.2 or later, as by Python's defaults."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(options.certificate, options.key, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        problem = f"listen.key: {options.key} is not the key of {options.certificate}, as PEM without a password"
        raise ConfigError(f"{problem}: {error}") from None
    if client_ca:
        _require_clients(context, options.client_ca, client_ca)
    return context


def _require_clients(context: ssl.SSLContext, path: str, client_ca: bytes) -> None:
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_verify_locations(cadata=client_ca.decode())
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(f"listen.client_ca: {path} has no certificate: {error}") from None


def _no_password() -> str:
    """Without this, OpenSSL would ask at the terminal for the password of an encrypted key."""
    raise ValueError("it has a password")
