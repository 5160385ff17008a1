"""The product's settings in an environment of their own.

Neither the `.env` nor the variables of whoever runs the tests reach them, and what the program keeps on disk
goes to a directory that ends with the run. Only ``DATABASE_URL`` is taken over: it chooses the database.
"""

import atexit
import os
import shutil
import tempfile

import environ

ENVIRONMENT = {
    "SECRET_KEY": "only-for-tests-" + "0" * 40,
    "HTTPS_ONLY": "false",
    "EXHOOK_BCRYPT_ROUNDS": "4",
}


def _enter() -> None:
    run = os.environ.get("PYTEST_XDIST_WORKER", "main")
    if os.environ.get("TEST_RUN") == run:
        return  # a program that a test started keeps the environment the test gave it
    for name in [name for name in os.environ if name.startswith("EXHOOK_")]:
        del os.environ[name]
    if "TEST_DIR" not in os.environ:
        # The main process tidies up for its workers too: Ctrl-C may end those without a word.
        os.environ["TEST_DIR"] = tempfile.mkdtemp(prefix="exhookadmin-tests-")
        atexit.register(shutil.rmtree, os.environ["TEST_DIR"], ignore_errors=True)
    os.environ.update(ENVIRONMENT, TEST_RUN=run, VAR_DIR=os.path.join(os.environ["TEST_DIR"], run))


_enter()
environ.Env.read_env = lambda *arguments, **options: None

from exhookadmin.settings import *  # noqa: E402, F403
from exhookadmin.settings import DATABASES, PASSWORD_HASHERS, VAR_DIR  # noqa: E402

# For the passwords of staff, whom nearly every test of a page creates: the real one takes half a second.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *PASSWORD_HASHERS]

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, as in production: Django's in-memory test database locks differently, and no other
    # process can see it.
    DATABASES["default"]["TEST"] = {"NAME": str(VAR_DIR / "test.sqlite3")}
