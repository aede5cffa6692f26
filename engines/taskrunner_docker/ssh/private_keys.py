"""Private keys of SSH: reading one, its public half, and signatures, by `cryptography`.

Signature formats: RFC 4253 (RSA), RFC 5656 (ECDSA), RFC 8332 (RSA with SHA-2), RFC 8709 (Ed25519).
"""

from __future__ import annotations

import base64
from typing import Protocol

import attrs
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from taskrunner_docker.ssh.messages import with_length

_RSA_SHA2_256, _RSA_SHA2_512 = 2, 4
"""Flags of a request. Without one of them, RSA would sign with SHA-1, which no current server takes."""
_CURVE_HASHES: dict[str, hashes.HashAlgorithm] = {
    "nistp256": hashes.SHA256(),
    "nistp384": hashes.SHA384(),
    "nistp521": hashes.SHA512(),
}


class BadKey(ValueError):
    """A text is no private key that can be used. The message says why, and holds nothing of the text."""


class CannotSign(Exception):
    """The key does not make the signature that was asked for."""


class _Signer(Protocol):
    def __call__(self, data: bytes, flags: int) -> tuple[str, bytes]:
        """The name of the algorithm, and the signature. Raises CannotSign."""


@attrs.frozen
class PrivateKey:
    """A key that signs, and is in memory only."""

    public: bytes
    """The public half, as in a message."""
    _sign: _Signer = attrs.field(repr=False)

    def sign(self, data: bytes, flags: int) -> bytes:
        """The signature as in a message. Raises CannotSign."""
        algorithm, signature = self._sign(data, flags)
        return with_length(algorithm.encode()) + with_length(signature)


def load_key(text: str) -> PrivateKey:
    """Reads a key in the format of OpenSSH or as PEM. Raises BadKey."""
    data = text.strip().encode() + b"\n"
    load = serialization.load_ssh_private_key if b"OPENSSH" in data[:40] else serialization.load_pem_private_key
    try:
        key = load(data, password=None)
    except TypeError:
        raise BadKey("has a passphrase: give a key without one") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("is no private key in the format of OpenSSH or PEM") from None
    return PrivateKey(_public(key), _signer(key))


def _public(key: serialization.SSHPrivateKeyTypes | object) -> bytes:
    if not isinstance(key, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise BadKey("is of a kind that SSH servers do not take: make an Ed25519, ECDSA or RSA key")
    formats = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    try:
        return base64.b64decode(key.public_key().public_bytes(*formats).split()[1])
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("is on a curve that SSH does not have") from None


def _signer(key: object) -> _Signer:
    match key:
        case ed25519.Ed25519PrivateKey():
            return lambda data, _flags: ("ssh-ed25519", key.sign(data))
        case ec.EllipticCurvePrivateKey():
            return lambda data, _flags: _sign_ecdsa(key, data)
        case rsa.RSAPrivateKey():
            return lambda data, flags: _sign_rsa(key, data, flags)
    raise BadKey("is of a kind that SSH servers do not take: make an Ed25519, ECDSA or RSA key")


def _sign_ecdsa(key: ec.EllipticCurvePrivateKey, data: bytes) -> tuple[str, bytes]:
    curve = f"nistp{key.curve.key_size}"
    pair = decode_dss_signature(key.sign(data, ec.ECDSA(_CURVE_HASHES[curve])))
    return f"ecdsa-sha2-{curve}", b"".join(with_length(_big_number(part)) for part in pair)


def _sign_rsa(key: rsa.RSAPrivateKey, data: bytes, flags: int) -> tuple[str, bytes]:
    if flags & _RSA_SHA2_512:
        return "rsa-sha2-512", key.sign(data, padding.PKCS1v15(), hashes.SHA512())
    if flags & _RSA_SHA2_256:
        return "rsa-sha2-256", key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    raise CannotSign("RSA with SHA-1")


def _big_number(value: int) -> bytes:
    """Positive: the top bit, which would be the sign, is clear."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big")
