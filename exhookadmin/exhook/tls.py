"""Certificates of the endpoint: read from files, checked, watched for their end, and read again.

Knows no gRPC. What is wrong is said before anything is replaced: with the setting, the
file, and what to do.
"""

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.conf import settings

logger = logging.getLogger(__name__)

CERT, KEY = "EXHOOK_TLS_CERT", "EXHOOK_TLS_KEY"
CLIENT_CA, CLIENT_NAMES = "EXHOOK_TLS_CLIENT_CA", "EXHOOK_TLS_CLIENT_NAMES"

WARN_BEFORE = timedelta(days=14)
# OpenSSL's default security level refuses less, and so would EMQX.
RSA_BITS = 2048


class TlsProblem(Exception):
    """The certificates cannot be used; the text is for whoever set them up."""


@dataclass(frozen=True)
class TlsFiles:
    """Where the certificates are, and whom they let in: the four settings."""

    cert: Path
    key: Path
    client_ca: Path | None = None
    client_names: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Certificates:
    """Checked certificates as PEM. ``expires_at`` is the end of the first that ends."""

    key: bytes
    chain: bytes
    client_ca: bytes | None
    expires_at: datetime
    expiring: str
    """The setting and file of the one that ends first."""


def settings_present() -> bool:
    """True when any of the TLS settings is set: the endpoint must then not serve plain text."""
    return any(getattr(settings, name) for name in (CERT, KEY, CLIENT_CA, CLIENT_NAMES))


def files_from_settings() -> TlsFiles | None:
    """None when no TLS setting is set. Raises TlsProblem for a combination that cannot be meant."""
    if not settings_present():
        return None
    cert, key, client_ca, names = (getattr(settings, name) for name in (CERT, KEY, CLIENT_CA, CLIENT_NAMES))
    for name, value, other in ((CERT, cert, KEY), (KEY, key, CERT)):
        if not value:
            raise TlsProblem(
                f"{name} is not set. The endpoint needs a certificate and its key: set both {name} and "
                f"{other}, or none of the EXHOOK_TLS_… settings."
            )
    if names and not client_ca:
        raise TlsProblem(
            f"{CLIENT_NAMES} is set and {CLIENT_CA} is not. Names can be checked on client certificates "
            f"only: set {CLIENT_CA} to the CA that signs them."
        )
    return TlsFiles(Path(cert), Path(key), Path(client_ca) if client_ca else None, frozenset(names))


def read_certificates(files: TlsFiles, now: datetime | None = None) -> Certificates:
    """The files' content, checked to fit together and to be valid now. Raises TlsProblem."""
    now = now or datetime.now(UTC)
    chain = _read(CERT, files.cert)
    certificates = _certificates(CERT, files.cert, chain)
    _require_usable(files, certificates[0])
    key = _read(KEY, files.key)
    _require_key(files, key, certificates)
    for certificate in certificates:
        _require_valid(CERT, files.cert, certificate, now)
    ends = [(certificate.not_valid_after_utc, f"{CERT} ({files.cert})") for certificate in certificates]
    client_ca = None
    if files.client_ca is not None:
        client_ca = _read(CLIENT_CA, files.client_ca)
        authorities = _certificates(CLIENT_CA, files.client_ca, client_ca)
        # A bundle may hold the CA that is being replaced beside the one that replaces it.
        last = max(authorities, key=lambda authority: authority.not_valid_after_utc)
        _require_valid(CLIENT_CA, files.client_ca, last, now)
        ends.append((last.not_valid_after_utc, f"{CLIENT_CA} ({files.client_ca})"))
    expires_at, expiring = min(ends)
    return Certificates(key, chain, client_ca, expires_at, expiring)


def expiry_warning(expires_at: datetime, what: str, now: datetime) -> str:
    """What to tell people about a certificate that ends within 14 days or has ended; else empty."""
    if now >= expires_at:
        return f"{what} expired on {_at(expires_at)}: brokers that check it no longer connect."
    if expires_at - now > WARN_BEFORE:
        return ""
    return (
        f"{what} expires on {_at(expires_at)}, in {_days(expires_at - now)}. Renew the file and send "
        "SIGHUP to run_exhook."
    )


def names_of(auth_context: Mapping[str, Iterable[bytes]]) -> set[str]:
    """The CN and the subject alternative names in gRPC's description of a peer."""
    return {
        name.decode(errors="replace")
        for kind in ("x509_common_name", "x509_subject_alternative_name")
        for name in auth_context.get(kind, ())
    }


class ServerTls:
    """The certificates that are in use, and the way to replace them while serving.

    ``take_new`` belongs to the transport, which asks at every new connection.
    """

    def __init__(self, files: TlsFiles) -> None:
        """Raises TlsProblem."""
        self.files = files
        self.current = read_certificates(files)
        self.reloads = 0
        self.failed_reloads = 0
        self._fresh: Certificates | None = None
        self._lock = threading.Lock()

    def reload(self) -> bool:
        """Reads the files again; a problem is logged and leaves everything as it was."""
        with self._lock:
            try:
                fresh = read_certificates(self.files)
            except TlsProblem as problem:
                self.failed_reloads += 1
                logger.error(
                    "certificates not reloaded, the old ones stay in use", extra={"problem": str(problem)}
                )
                return False
            self.current = self._fresh = fresh
            self.reloads += 1
        logger.info("certificates reloaded", extra={"expires_at": fresh.expires_at.isoformat()})
        return True

    def take_new(self) -> Certificates | None:
        """What a reload brought since the last call, else None."""
        if self._fresh is None:
            return None
        with self._lock:
            fresh, self._fresh = self._fresh, None
        return fresh


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsProblem(
            f"{setting}: {path} cannot be read ({error.strerror}). Check the path, and that the user who "
            "runs this program may read it."
        ) from None


def _certificates(setting: str, path: Path, pem: bytes) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise TlsProblem(
            f"{setting}: {path} holds no certificate that can be read. It must be a PEM file, with lines "
            "like “-----BEGIN CERTIFICATE-----”."
        ) from None


def _require_usable(files: TlsFiles, certificate: x509.Certificate) -> None:
    """gRPC refuses other keys when it listens, without a reason, and when it reloads, without a word."""
    key = certificate.public_key()
    usable = (
        (isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_BITS)
        or (
            isinstance(key, ec.EllipticCurvePublicKey)
            and key.curve.name in {"secp256r1", "secp384r1", "secp521r1"}
        )
        or isinstance(key, ed25519.Ed25519PublicKey)
    )
    if not usable:
        raise TlsProblem(
            f"{CERT}: the key of the certificate in {files.cert} is of a kind that cannot be used. Make a "
            f"new one: EC on the curve P-256 or P-384, or RSA with at least {RSA_BITS} bits."
        )


def _require_key(files: TlsFiles, pem: bytes, certificates: Sequence[x509.Certificate]) -> None:
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise TlsProblem(
            f"{KEY}: {files.key} is protected by a passphrase. Store the key without one, readable by the "
            "user who runs this program only: openssl pkey -in KEY -out NEW_KEY"
        ) from None
    except Exception:
        # Besides ValueError there is one class for each odd kind of key.
        raise TlsProblem(
            f"{KEY}: {files.key} holds no private key that can be read. It must be a PEM file, with lines "
            "like “-----BEGIN PRIVATE KEY-----”."
        ) from None
    matching = [index for index, found in enumerate(certificates) if found.public_key() == key.public_key()]
    if not matching:
        raise TlsProblem(
            f"{KEY}: {files.key} does not belong to the certificate in {CERT} ({files.cert}). Use the key "
            "that this certificate was requested with."
        )
    if 0 not in matching:
        raise TlsProblem(
            f"{CERT}: {files.cert} begins with another certificate than the server’s own. Put the one that "
            f"belongs to {KEY} first and its issuers after it."
        )


def _require_valid(setting: str, path: Path, certificate: x509.Certificate, now: datetime) -> None:
    subject = certificate.subject.rfc4514_string()
    if now > certificate.not_valid_after_utc:
        raise TlsProblem(
            f"{setting}: the certificate “{subject}” in {path} expired on "
            f"{_at(certificate.not_valid_after_utc)}. Renew it."
        )
    if now < certificate.not_valid_before_utc:
        raise TlsProblem(
            f"{setting}: the certificate “{subject}” in {path} is not valid before "
            f"{_at(certificate.not_valid_before_utc)}. Wait until then, or correct this machine’s clock "
            f"(it says {_at(now)})."
        )


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _days(span: timedelta) -> str:
    return "1 day" if span.days == 1 else f"{span.days} days" if span.days else "less than a day"
