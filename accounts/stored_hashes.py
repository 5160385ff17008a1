"""Every form in which a password may be stored, ours and other brokers', and how each is verified.

A form says itself what it is, and whatever can be wrong with it is found when it is *read*, so that an
import can give the reason before anything is stored, and a login meets no surprise:

| form | from |
|---|---|
| ``bcrypt_sha256$$2b$…`` | this program |
| ``emqx$<digest>$<salt position>$<salt>$<hex>`` | EMQX: ``plain`` is never stored, see ``emqx_hash`` |
| ``emqx_pbkdf2$<mac>$<iterations>$<salt>$<hex>`` | EMQX |
| ``$2a$ $2b$ $2x$ $2y$`` | bcrypt as EMQX, VerneMQ and mosquitto-go-auth write it |
| ``$6$<base64 salt>$<base64>``, ``$7$<iterations>$…`` | Mosquitto's password file |
| ``PBKDF2$<mac>$<iterations>$…``, ``$pbkdf2-sha512$i=…,l=…$…`` | mosquitto-go-auth |
| ``$argon2id$v=19$m=…,t=…,p=…$…`` | Mosquitto 2.1, mosquitto-go-auth |
| ``pbkdf2_sha256$ pbkdf2_sha1$ scrypt$ bcrypt$ argon2$ sha1$ md5$`` | Django, old versions included |

In an EMQX form the salt is text as EMQX uses it and may hold ``$``: the hexadecimal end is split off first.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable

import bcrypt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

STORED_CHARACTERS = 512
"""The longest form that a credential holds."""

# A login waits for these, and so does whoever waits behind it: about a second on one core, and memory
# that a small server can spare for each hashing thread.
MOST_ITERATIONS = 2_000_000
MOST_BCRYPT_ROUNDS = 14
MOST_KIBIBYTES = 262_144
MOST_KIBIBYTE_PASSES = 1_048_576
MOST_LANES = 16

BCRYPT_BYTES = 72
"""What bcrypt looks at of a password; other brokers cut there, the library raises."""

DIGESTS = {"md5": "md5", "sha": "sha1", "sha256": "sha256", "sha512": "sha512"}
"""EMQX's names of digests to OpenSSL's."""
MACS = {
    "md4": "md4",
    "md5": "md5",
    "ripemd160": "ripemd160",
    "sha": "sha1",
    "sha224": "sha224",
    "sha256": "sha256",
    "sha384": "sha384",
    "sha512": "sha512",
}
"""EMQX's names of PBKDF2's hash functions to OpenSSL's."""
SALT_POSITIONS = ("disable", "prefix", "suffix")

Verify = Callable[[bytes], bool]

_BCRYPT = re.compile(r"\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}")
_ARGON2 = re.compile(
    r"\$argon2id\$v=(\d{1,3})\$m=(\d{1,10}),t=(\d{1,10}),p=(\d{1,4})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)
_PHC_PBKDF2 = re.compile(r"\$pbkdf2-sha512\$i=(\d+),l=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_NUMBER = re.compile(r"[0-9]{1,12}")


class UnusableHash(ValueError):
    """A stored form that no login could verify, or not in bearable time; the text says why, and no secret."""


def read_hash(encoded: str) -> Verify:
    """How to verify a password against this stored form. Raises UnusableHash.

    The answer raises ValueError for a password that the algorithm cannot take.
    """
    if len(encoded) > STORED_CHARACTERS:
        raise UnusableHash(f"it is longer than {STORED_CHARACTERS} characters, the most that can be kept")
    if not encoded.isascii() and not encoded.startswith("emqx"):
        raise UnusableHash("it holds characters that no such hash has")
    name = "$" + encoded.split("$", 2)[1] if encoded.startswith("$") else encoded.partition("$")[0]
    reader = _READERS.get(name)
    if reader is None:
        raise UnusableHash("it has the form of no hash that is known here")
    return reader(encoded)


def hash_problem(encoded: str) -> str | None:
    """Why this form cannot be stored as a credential, in words for a report; None when it can."""
    try:
        read_hash(encoded)
    except UnusableHash as problem:
        return str(problem)
    return None


def emqx_hash(
    algorithm: str,
    password_hash: str,
    salt: str = "",
    *,
    salt_position: str = "prefix",
    mac: str = "sha256",
    iterations: int = 1,
    dk_length: int | None = None,
) -> str:
    """The stored form of a hash from EMQX's built-in database (``emqx_passwd.erl``).

    ``algorithm`` is that of the authenticator: md5, sha, sha256 or sha512 with its salt position, bcrypt,
    or pbkdf2 with its MAC, iterations and key length (None: the MAC's own). Raises UnusableHash.
    """
    if algorithm == "bcrypt":
        # The hash is the salt too, whatever the salt column holds.
        encoded = password_hash
    elif algorithm == "pbkdf2":
        if mac not in MACS:
            raise UnusableHash(f"the MAC function must be one of {', '.join(MACS)}")
        encoded = f"emqx_pbkdf2${mac}${iterations}${salt}${password_hash}"
        wanted = dk_length or _digest_size(mac)
        if len(password_hash) != 2 * wanted:
            raise UnusableHash(
                f"a PBKDF2 key of {wanted} bytes has {2 * wanted} hexadecimal digits, "
                f"not {len(password_hash)}: is the algorithm right?"
            )
    elif algorithm in DIGESTS:
        if salt_position not in SALT_POSITIONS:
            raise UnusableHash(f"the salt position must be one of {', '.join(SALT_POSITIONS)}")
        kept = "" if salt_position == "disable" else salt
        encoded = f"emqx${algorithm}${salt_position}${kept}${password_hash}"
    else:
        raise UnusableHash(f"the algorithm must be one of {', '.join(DIGESTS)}, bcrypt, pbkdf2")
    if "\0" in salt:
        raise UnusableHash("the salt holds NUL, which no database can keep as text")
    read_hash(encoded)
    return encoded


def emqx_plain(password_hash: str, salt: str = "", *, salt_position: str = "prefix") -> str:
    """The password behind EMQX's algorithm ``plain``, which “hashes” to salt and password in clear.

    Raises UnusableHash when there is none that would have verified.
    """
    if salt_position == "prefix" and password_hash.startswith(salt):
        return password_hash[len(salt) :]
    if salt_position == "suffix" and password_hash.endswith(salt):
        return password_hash[: len(password_hash) - len(salt)]
    if salt_position == "disable":
        return password_hash
    raise UnusableHash("the salt is no part of the stored text, so no password ever matched")


def _emqx(encoded: str) -> Verify:
    _, algorithm, position, rest = _fields(encoded, 4)
    salt, _, digest = rest.rpartition("$")
    if algorithm not in DIGESTS or position not in SALT_POSITIONS:
        raise UnusableHash("its digest or salt position is not one of EMQX's")
    return _digest(DIGESTS[algorithm], position, salt, digest)


def _digest(name: str, position: str, salt_text: str, digest: str) -> Verify:
    wanted, salt = _hexadecimal(digest), _text(salt_text)
    size = hashlib.new(name, usedforsecurity=False).digest_size
    if len(wanted) != size:
        raise UnusableHash(
            f"a {name} digest has {2 * size} hexadecimal digits, not {len(digest)}: is the algorithm right?"
        )

    def verify(password: bytes) -> bool:
        data = {"disable": password, "prefix": salt + password, "suffix": password + salt}[position]
        return hmac.compare_digest(hashlib.new(name, data, usedforsecurity=False).digest(), wanted)

    return verify


def _emqx_pbkdf2(encoded: str) -> Verify:
    _, mac, iterations, rest = _fields(encoded, 4)
    salt, _, key = rest.rpartition("$")
    if mac not in MACS:
        raise UnusableHash("its MAC function is not one of EMQX's")
    return _pbkdf2(MACS[mac], iterations, _text(salt), _hexadecimal(key))


def _bcrypt(encoded: str) -> Verify:
    salted = _bcrypt_salt(encoded)
    return lambda password: hmac.compare_digest(bcrypt.hashpw(password[:BCRYPT_BYTES], salted), salted)


def _bcrypt_sha256(encoded: str) -> Verify:
    salted = _bcrypt_salt(encoded.removeprefix("bcrypt_sha256$"))

    def verify(password: bytes) -> bool:
        digest = hashlib.sha256(password).hexdigest().encode()
        return hmac.compare_digest(bcrypt.hashpw(digest, salted), salted)

    return verify


def _bcrypt_salt(encoded: str) -> bytes:
    found = _BCRYPT.fullmatch(encoded)
    if found is None:
        raise UnusableHash("it is no whole bcrypt hash, which has 60 characters: $2b$, two digits, $ and 53")
    if not 4 <= int(found[1]) <= MOST_BCRYPT_ROUNDS:
        raise UnusableHash(
            f"its {int(found[1])} bcrypt rounds are not between 4 and {MOST_BCRYPT_ROUNDS}: "
            "each login would stall"
        )
    return encoded.encode()


def _mosquitto_sha512(encoded: str) -> Verify:
    _, _, salt_text, digest = _fields(encoded, 4)
    salt, wanted = _base64(salt_text), _base64(digest)
    if len(wanted) != 64:
        raise UnusableHash("it is no Mosquitto $6$ hash: that ends in the base64 of 64 bytes")
    return lambda password: hmac.compare_digest(hashlib.sha512(password + salt).digest(), wanted)


def _mosquitto_pbkdf2(encoded: str) -> Verify:
    _, _, iterations, salt, key = _fields(encoded, 5)
    wanted = _base64(key)
    if len(wanted) != 64:
        raise UnusableHash("it is no Mosquitto $7$ hash: that ends in the base64 of 64 bytes")
    return _pbkdf2("sha512", iterations, _base64(salt), wanted)


def _go_auth_pbkdf2(encoded: str) -> Verify:
    _, mac, iterations, salt, key = _fields(encoded, 5)
    if mac not in ("sha256", "sha512"):
        raise UnusableHash("mosquitto-go-auth knows sha256 and sha512 only")
    return _pbkdf2(mac, iterations, _base64(salt), _base64(key))


def _phc_pbkdf2(encoded: str) -> Verify:
    found = _PHC_PBKDF2.fullmatch(encoded)
    if found is None:
        raise UnusableHash("it is no $pbkdf2-sha512$ hash: that is $i=<iterations>,l=<bytes>$<salt>$<key>")
    key = _base64(found[4])
    if len(key) != int(found[2]):
        raise UnusableHash("its key has another length than it says")
    return _pbkdf2("sha512", found[1], _base64(found[3]), key)


def _argon2(encoded: str) -> Verify:
    found = _ARGON2.fullmatch(encoded)
    if found is None or int(found[1]) != 19:
        raise UnusableHash("it is no argon2id hash of version 19: $argon2id$v=19$m=…,t=…,p=…$<salt>$<key>")
    memory, passes, lanes = int(found[2]), int(found[3]), int(found[4])
    if (
        memory > MOST_KIBIBYTES
        or memory * passes > MOST_KIBIBYTE_PASSES
        or not 1 <= lanes <= MOST_LANES
        or passes < 1
    ):
        raise UnusableHash(
            f"its argon2 cost m={memory},t={passes},p={lanes} is outside m≤{MOST_KIBIBYTES}, "
            f"m×t≤{MOST_KIBIBYTE_PASSES}, p≤{MOST_LANES}: each login would stall"
        )
    salt, wanted = _base64(found[5]), _base64(found[6])

    def derive(password: bytes) -> bytes:
        kdf = Argon2id(
            salt=salt, length=len(wanted), iterations=passes, lanes=lanes, memory_cost=memory, ad=None
        )
        return kdf.derive(password)

    try:
        Argon2id(salt=salt, length=len(wanted), iterations=passes, lanes=lanes, memory_cost=memory)
    except UnsupportedAlgorithm:
        raise UnusableHash("this server's OpenSSL is too old for argon2: it needs version 3.2") from None
    except ValueError as problem:
        raise UnusableHash(f"its argon2 parameters fit no hash: {problem}") from None
    return lambda password: hmac.compare_digest(derive(password), wanted)


def _django_digest(encoded: str) -> Verify:
    name, salt, digest = _fields(encoded, 3)
    return _digest(name, "prefix", salt, digest)


def _django_pbkdf2(mac: str) -> Callable[[str], Verify]:
    def read(encoded: str) -> Verify:
        _, iterations, salt, key = _fields(encoded, 4)
        return _pbkdf2(mac, iterations, _text(salt), _base64(key))

    return read


def _django_scrypt(encoded: str) -> Verify:
    _, n, salt_text, r, p, key = _fields(encoded, 6)
    work, block, parallel = _number(n), _number(r), _number(p)
    if work < 2 or work & (work - 1) or not 1 <= block <= 64 or not 1 <= parallel <= MOST_LANES:
        raise UnusableHash("its scrypt parameters fit no hash")
    if work * block * 128 > MOST_KIBIBYTES * 1024:
        raise UnusableHash(
            f"its scrypt cost n={work},r={block} needs too much memory: each login would stall"
        )
    wanted, salt, memory = _base64(key), _text(salt_text), work * block * 128 + (1 << 20)

    def verify(password: bytes) -> bool:
        derived = hashlib.scrypt(
            password, salt=salt, n=work, r=block, p=parallel, maxmem=2 * memory, dklen=len(wanted)
        )
        return hmac.compare_digest(derived, wanted)

    return verify


def _pbkdf2(mac: str, iterations: str, salt: bytes, wanted: bytes) -> Verify:
    count = _number(iterations)
    # A key longer than the digest costs its iterations once more for each digest's worth.
    try:
        size = hashlib.new(mac, usedforsecurity=False).digest_size
        hashlib.pbkdf2_hmac(mac, b"", b"", 1)
    except ValueError:
        raise UnusableHash(
            f"this server's OpenSSL has no {mac}: set a new password for this device"
        ) from None
    cost = count * -(-len(wanted) // size)
    if not 1 <= cost <= MOST_ITERATIONS:
        raise UnusableHash(
            f"its {cost:,} PBKDF2 iterations are not between 1 and {MOST_ITERATIONS:,}: "
            "each login would stall"
        )
    return lambda password: hmac.compare_digest(
        hashlib.pbkdf2_hmac(mac, password, salt, count, len(wanted)), wanted
    )


def _digest_size(mac: str) -> int:
    """Of PBKDF2's hash functions, in bytes; md4's is known even where OpenSSL has none."""
    return {"md4": 16, "md5": 16, "ripemd160": 20, "sha": 20}.get(mac) or int(mac.removeprefix("sha")) // 8


def _fields(encoded: str, count: int) -> list[str]:
    fields = encoded.split("$", count - 1)
    if len(fields) != count:
        raise UnusableHash("it is cut off: a part of it is missing")
    return fields


def _text(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise UnusableHash("its salt holds half of a surrogate pair, which is not a character") from None


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise UnusableHash("a number in it cannot be read, or is absurdly large")
    return int(text)


def _hexadecimal(text: str) -> bytes:
    if not _HEX.fullmatch(text):
        raise UnusableHash("it does not end in hexadecimal digits: is the algorithm right?")
    return bytes.fromhex(text)


def _base64(text: str) -> bytes:
    """With or without the padding, which some writers leave out."""
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise UnusableHash("a part of it is not base64") from None
    if not decoded:
        raise UnusableHash("it is cut off: a part of it is empty")
    return decoded


_READERS: dict[str, Callable[[str], Verify]] = {
    "bcrypt_sha256": _bcrypt_sha256,
    "emqx": _emqx,
    "emqx_pbkdf2": _emqx_pbkdf2,
    "$2a": _bcrypt,
    "$2b": _bcrypt,
    "$2x": _bcrypt,
    "$2y": _bcrypt,
    "$6": _mosquitto_sha512,
    "$7": _mosquitto_pbkdf2,
    "PBKDF2": _go_auth_pbkdf2,
    "$pbkdf2-sha512": _phc_pbkdf2,
    "$argon2id": _argon2,
    "pbkdf2_sha256": _django_pbkdf2("sha256"),
    "pbkdf2_sha1": _django_pbkdf2("sha1"),
    "scrypt": _django_scrypt,
    "md5": _django_digest,
    "sha1": _django_digest,
    "bcrypt": lambda encoded: _bcrypt(encoded.removeprefix("bcrypt$")),
    "argon2": lambda encoded: _argon2(encoded.removeprefix("argon2")),
}
