"""Certificates for trying TLS: a CA of one's own, and what it signs. Not for production."""

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_NAME = "ExHook Admin demo CA"
# Clocks of test machines differ.
BACKDATED = timedelta(minutes=5)


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write(self, directory: Path, name: str) -> None:
        """Writes ``name.pem`` and ``name.key``, which only its owner may read."""
        _write(directory / f"{name}.key", self.key_pem, 0o600)
        _write(directory / f"{name}.pem", self.certificate_pem, 0o644)


def new_ca(days: float, name: str = CA_NAME) -> Issued:
    """A CA that signs servers and clients, and no further CA."""
    start = datetime.now(UTC) - BACKDATED
    return _issue(name, None, start, start + BACKDATED + timedelta(days=days))


def issue(
    ca: Issued,
    name: str,
    alternative_names: Sequence[str] = (),
    days: float = 30,
    start: datetime | None = None,
) -> Issued:
    """A certificate that both a server and a client can use."""
    start = start or datetime.now(UTC) - BACKDATED
    return _issue(name, ca, start, start + BACKDATED + timedelta(days=days), alternative_names)


def read_ca(directory: Path) -> Issued | None:
    """The CA that an earlier run left there, while it is valid."""
    try:
        certificate = x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes())
        key = load_pem_private_key((directory / "ca.key").read_bytes(), password=None)
    except (OSError, ValueError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or datetime.now(UTC) > certificate.not_valid_after_utc:
        return None
    return Issued(certificate, key)


def _issue(
    name: str,
    ca: Issued | None,
    start: datetime,
    end: datetime,
    alternative_names: Sequence[str] = (),
) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca.certificate.subject if ca else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        # An end after the CA's would promise what the CA cannot keep.
        .not_valid_after(min(end, ca.certificate.not_valid_after_utc) if ca else end)
        .add_extension(x509.BasicConstraints(ca=ca is None, path_length=None if ca else 0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if ca is None:
        builder = builder.add_extension(_usage(signs=True), critical=True)
    else:
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key())
        builder = (
            builder.add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(issuer, critical=False)
        )
    if alternative_names:
        names = x509.SubjectAlternativeName([_general_name(name) for name in alternative_names])
        builder = builder.add_extension(names, critical=False)
    return Issued(builder.sign(ca.key if ca else key, hashes.SHA256()), key)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    """Puts the file in place whole and private from its first byte: somebody may be reading it."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    temporary.replace(path)
