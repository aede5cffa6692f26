"""A certificate authority, for servers and clients of the tests."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@attrs.define
class Authority:
    """An authority of its own, made by openssl."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    def make(self) -> None:
        self._openssl("ca", "/CN=A private authority", "-addext", "basicConstraints=critical,CA:TRUE")

    def certificate(self, name: str, address: str, *options: str) -> Path:
        """A certificate for an address, with its key."""
        signer = ["-CA", str(self.file), "-CAkey", str(self.folder / "ca.key")]
        self._openssl(name, "/CN=server", "-addext", f"subjectAltName={address}", *signer, *options)
        both = self.folder / f"{name}-both.pem"
        both.write_text((self.folder / f"{name}.key").read_text() + (self.folder / f"{name}.pem").read_text())
        return both

    def expired_certificate(self, name: str, address: str) -> Path:
        """As `certificate`, for a day in 2020. `openssl req` makes none, so that cryptography does."""
        key = ec.generate_private_key(ec.SECP256R1())
        signer = x509.load_pem_x509_certificate(self.file.read_bytes())
        signing_key = serialization.load_pem_private_key((self.folder / "ca.key").read_bytes(), None)
        assert isinstance(signing_key, ec.EllipticCurvePrivateKey)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")]))
            .issuer_name(signer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2020, 1, 2, tzinfo=UTC))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
            .sign(signing_key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        both = self.folder / f"{name}-both.pem"
        both.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
        return both

    def _openssl(self, name: str, subject: str, *options: str) -> None:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        files = ["-keyout", str(self.folder / f"{name}.key"), "-out", str(self.folder / f"{name}.pem")]
        command = ["openssl", "req", "-x509", *key, *files, "-subj", subject, *options]
        subprocess.run(command, check=True, capture_output=True)
