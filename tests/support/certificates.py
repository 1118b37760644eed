"""An authority that signs real certificates."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

LOOPBACK = (x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost"))


class Authority:
    """`pem` is its own certificate."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._signed("authority", self._key, (), authority=True)
        self.pem = self._certificate.public_bytes(Encoding.PEM)

    def issue(
        self, *names: x509.GeneralName, common_name: str = "one", days: tuple[float, float] = (-1, 1)
    ) -> tuple[bytes, bytes]:
        """A certificate and its key, in PEM; good from the one day to the other, counted from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._signed(common_name, key, names, days=days)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), pem

    def write(self, cert_file: Path, key_file: Path) -> bytes:
        """A new certificate for loopback into these files; returns it."""
        certificate, key = self.issue(*LOOPBACK)
        cert_file.write_bytes(certificate)
        key_file.write_bytes(key)
        return certificate

    def _signed(
        self,
        common_name: str,
        key: ec.EllipticCurvePrivateKey,
        names: tuple[x509.GeneralName, ...],
        *,
        authority: bool = False,
        days: tuple[float, float] = (-1, 1),
    ) -> x509.Certificate:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(common_name))
            .issuer_name(named("authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())
