"""Hashes that other brokers made, each with its password and the form in which it is stored.

Those of EMQX are from its own documentation and tests; those of Mosquitto, mosquitto-go-auth and Django were
made with hashlib, bcrypt and argon2 as these programs do.
"""

from dataclasses import dataclass
from typing import Any

from accounts.stored_hashes import emqx_hash
from exhookadmin.fleet.formats.go_auth_hash import go_auth_hash


@dataclass(frozen=True)
class Vector:
    name: str
    encoded: str
    password: str


def emqx(name: str, password: str, *arguments: str, **options: Any) -> Vector:
    return Vector(name, emqx_hash(*arguments, **options), password)


BCRYPT = "$2b$12$wtY3h20mUjjmeaClpqZVvehyw7F.V78F3rbK2xDkCzRTMi6pmfUB6"
PREFIX, SUFFIX = {"salt_position": "prefix"}, {"salt_position": "suffix"}
VECTORS = [
    emqx(
        "emqx myuser3", "mypassword3", "sha256",
        "b6c743545a7817ae8c8f624371d5f5f0373234bb0ff36b8ffbf19bce0e06ab75",
        "de1024f462fb83910fd13151bd4bd235",
    ),
    emqx(
        "emqx myuser4", "mypassword4", "sha256",
        "ee68c985a69208b6eda8c6c9b4c7c2d2b15ee2352cdd64a903171710a99182e8",
        "ad773b5be9dd0613fe6c2f4d8c403139",
    ),
    emqx(
        "emqx myuser1", "mypassword1", "sha256",
        "c5e46903df45e5dc096dc74657610dbee8deaacae656df88a1788f1847390242",
        "e378187547bf2d6f0545a3f441aa4d8a",
    ),
    emqx("emqx md5 prefix", "password", "md5", "67a1e09bb1f83f5007dc119c14d663aa", "salt", **PREFIX),
    emqx("emqx sha1 prefix", "password", "sha", "59b3e8d637cf97edbe2384cf59cb7453dfe30789", "salt", **PREFIX),
    emqx(
        "emqx sha256 suffix", "password", "sha256",
        "7a37b85c8918eac19a9089c0fa5a2ab4dce3f90528dcdeec108b23ddf3607b99", "salt", **SUFFIX,
    ),
    emqx(
        "emqx sha256 in capitals", "password", "sha256",
        "7A37B85C8918EAC19A9089C0FA5A2AB4DCE3F90528DCDEEC108B23DDF3607B99", "salt", **SUFFIX,
    ),
    emqx(
        "emqx sha512 suffix", "password", "sha512",
        "fa6a2185b3e0a9a85ef41ffb67ef3c1fb6f74980f8ebf970e4e72e353ed9537d"
        "593083c201dfd6e43e1c8a7aac2bc8dbb119c7dfb7d4b8f131111395bd70e97f", "salt", **SUFFIX,
    ),
    emqx(
        "emqx sha256 without salt", "password", "sha256",
        "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8", "unused",
        salt_position="disable",
    ),
    emqx("emqx bcrypt", "password", "bcrypt", BCRYPT),
    emqx(
        "emqx pbkdf2", "password", "pbkdf2",
        "01dbee7f4a9e243e988b62c73cda935da05378b93244ec8f48a99e61ad799d86", "ATHENA.MIT.EDUraeburn",
        mac="sha", iterations=2, dk_length=32,
    ),
    emqx(
        # RFC 6070, second test vector
        "emqx pbkdf2 as long as its MAC", "password", "pbkdf2",
        "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957", "salt", mac="sha", iterations=2,
    ),
    emqx(
        "emqx pbkdf2 md5", "password", "pbkdf2", "f6acd4bda3e4d3d831a5f61da9ca9d5c", "salt",
        mac="md5", iterations=3,
    ),
    emqx(
        "emqx pbkdf2 sha224", "password", "pbkdf2",
        "947cf079cfc7f2016dcd7ec418840443edaabb90c496f98cabeec4bf", "salt", mac="sha224", iterations=3,
    ),
    emqx(
        "emqx pbkdf2 sha256", "password", "pbkdf2",
        "ad35240ac683febfaf3cd49d845473fbbbaa2437f5f82d5a415ae00ac76c6bfc", "salt",
        mac="sha256", iterations=3,
    ),
    emqx(
        "emqx pbkdf2 sha384", "password", "pbkdf2",
        "1bfb451b6087e5d24eeffb57d7284448da95b581d35a1887d9a6e756af559b1f"
        "b4798a4529502f87cdf71f435d66d25e", "salt", mac="sha384", iterations=3,
    ),
    emqx(
        "emqx pbkdf2 sha512", "password", "pbkdf2",
        "b6b07cb2cebf4ad84468391a543824fccffe0e0769dbe6bddf10a65673c4b648"
        "e612d44918f9ce9a19a1294cf5140628084ba994c3b21a4ef4741220b811c633", "salt",
        mac="sha512", iterations=3,
    ),
    Vector("bcrypt 2a", "$2a$04$wtY3h20mUjjmeaClpqZVvemqQ4yfgzG910JRDgZLWQ/Nn8Yo3f3Ga", "password"),
    Vector("bcrypt 2y", "$2y$04$wtY3h20mUjjmeaClpqZVvemqQ4yfgzG910JRDgZLWQ/Nn8Yo3f3Ga", "password"),
    Vector(
        "mosquitto sha512",
        "$6$MDEyMzQ1Njc4OWFi$qEXipeLbgxRlwd06QHfY5WITkUZg0jLg9SZbXzq3ifXjfj+v3GbJGrSfC5PAg3UNCS+UFfbhUIZX"
        "4bmIAs330w==", "secret",
    ),
    Vector(
        "mosquitto pbkdf2",
        "$7$101$MDEyMzQ1Njc4OWFi$EO/lLlkeUgIiBaS8G8UK0ZMP1u508TA7Tl+AdJ1cEsmlbGyEPAERErpfq84j1kepISs0Uzmc"
        "dL4ucgZ2uodxfQ==", "secret",
    ),
    Vector(
        "go-auth pbkdf2",
        "PBKDF2$sha512$1000$c2FsdHNhbHRzYWx0c2FsdA==$715rqIr5dXOVPpBhqqsugl037zT5bWJTWYmZtIcK8hA=",
        "password",
    ),
    Vector(
        "go-auth pbkdf2 with a text as salt",
        go_auth_hash("PBKDF2$sha256$1000$plainsalt$J4y2od7dpE/VnyRjLjiUzpVxK1vHHka6BC6e534UEfM=", "utf-8"),
        "password",
    ),
    Vector(
        "go-auth pbkdf2, PHC",
        "$pbkdf2-sha512$i=1000,l=64$c2FsdHNhbHRzYWx0c2FsdA$715rqIr5dXOVPpBhqqsugl037zT5bWJTWYmZtIcK8hBnisKp"
        "wfY7kokvwjDrNHqHhF50Pb7MD6HvkJwiDQw4ww", "password",
    ),
    Vector(
        "argon2id",
        "$argon2id$v=19$m=4096,t=3,p=2$G5BYJFSw3/Q86e3QapBy4w$L5r6qK0+ipdNdj9yL/91A4mcI2WCwMy4brGKwNeRmOA",
        "test-password",
    ),
    Vector(
        "django pbkdf2_sha256",
        "pbkdf2_sha256$10$salt$ZTzIiNk37+IoEKXL2yWlvYLi67J6gA+Fz6NgptklGY4=", "password",
    ),
    Vector("django pbkdf2_sha1", "pbkdf2_sha1$10$salt$rj/l9XB+B/PnwRf7iFzQUqb813o=", "password"),
    Vector(
        "django scrypt",
        "scrypt$16$salt$8$5$IpYYmSkCLRvt8zvHf8yCWiFspIg8By9i2gTYDsnQf152KweTBopmQcPBDm6qDkWc2gnM0Zom4y1tHtCu"
        "SW6ZTw==", "password",
    ),
    Vector(
        "django bcrypt",
        "bcrypt$$2b$04$wtY3h20mUjjmeaClpqZVvemqQ4yfgzG910JRDgZLWQ/Nn8Yo3f3Ga", "password",
    ),
    Vector(
        "django argon2",
        "argon2$argon2id$v=19$m=64,t=1,p=1$JQ1mJA664aVC6m1gUT2gOw$9+SZJrNwHhGVUiqZeIvUUPZAQxqMdEGP8ruU7wrDSeY",
        "password",
    ),
    Vector("django md5", "md5$salt$67a1e09bb1f83f5007dc119c14d663aa", "password"),
    Vector("django sha1", "sha1$salt$59b3e8d637cf97edbe2384cf59cb7453dfe30789", "password"),
]  # fmt: skip
