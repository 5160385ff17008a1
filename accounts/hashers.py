"""How device passwords are hashed: Django's hasher framework, bcrypt by default."""

from django.conf import settings
from django.contrib.auth import hashers


class DeviceBCryptHasher(hashers.BCryptSHA256PasswordHasher):
    """Django's bcrypt_sha256 with a cost that a fleet can pay.

    Every device logs in again after a broker restart: at Django's 12 rounds that is a
    quarter of a second of CPU each. SHA-256 first, so bcrypt's 72-byte limit never bites.
    """

    @property
    def rounds(self) -> int:  # type: ignore[override]
        return int(settings.EXHOOK_BCRYPT_ROUNDS)
