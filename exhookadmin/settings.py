"""Settings: read from the environment, safe by default. Each is explained in docs/settings.md."""

import os
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

from exhookadmin.environment import Environment, writing
from exhookadmin.logs import LOGGING as LOGGING
from exhookadmin.look import UNFOLD as UNFOLD

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()
if (BASE_DIR / ".env").exists():
    environ.Env.read_env(BASE_DIR / ".env")

VAR_DIR = Path(env.str("VAR_DIR", default=str(BASE_DIR / "var")))
with writing("VAR_DIR", VAR_DIR):
    VAR_DIR.mkdir(parents=True, exist_ok=True)


def _secret_key() -> str:
    """From SECRET_KEY or SECRET_KEY_FILE; else made once and kept beside the database."""
    key: str = env.str("SECRET_KEY", default="")
    if key:
        return key
    with writing("VAR_DIR", VAR_DIR):
        return _kept_secret_key(VAR_DIR / "secret-key")


def _kept_secret_key(path: Path) -> str:
    # Written aside and linked into place, so that of two processes that start together one wins.
    fresh = VAR_DIR / f"secret-key.{os.getpid()}"
    if not path.exists():
        fresh.touch(mode=0o600)
        fresh.write_text(get_random_secret_key())
        with suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    return path.read_text().strip()


DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = _secret_key()
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    # Without autodiscovery (urls.py does that): the endpoint has no use for the admin.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_grpc_framework",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "accounts",
    "acl",
    "audit",
    # The last: it gives the roles their permissions when those of all the others are there.
    "exhookadmin",
]

# What people upload may hold passwords: up to this, more than the import page takes, it touches no disk.
FILE_UPLOAD_MAX_MEMORY_SIZE = 6 * 1024 * 1024

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "exhookadmin.staff.headers.HeadersMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "exhookadmin.staff.actors.ActorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "exhookadmin.staff.second_factor_pages.SecondFactorMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "exhookadmin.urls"
WSGI_APPLICATION = "exhookadmin.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.debug",
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def _database() -> dict[str, Any]:
    database = env.database(
        "DATABASE_URL", default=f"sqlite:///{(VAR_DIR / 'exhookadmin.sqlite3').as_posix()}"
    )
    if database["ENGINE"] == "django.db.backends.sqlite3":
        # WAL lets the endpoint read while the audit writer writes; IMMEDIATE takes the write
        # lock at the start of a transaction, where waiting for it is still possible.
        database["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
        }
    else:
        database["CONN_MAX_AGE"] = 600
        database["CONN_HEALTH_CHECKS"] = True
        # A server that is gone without a word is given up within seconds; a kernel by itself
        # takes minutes or hours, and every thread that asks would hang for as long.
        database["OPTIONS"] = {
            "connect_timeout": 3,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,
        } | database.get("OPTIONS", {})
    return database


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    "accounts.hashers.DeviceBCryptHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "exhookadmin.staff.passwords.LongEnough", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
# Somebody who guesses at a name locks out himself, and not who is called so.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "exhookadmin.staff.pages.locked_out"
AXES_CLIENT_IP_CALLABLE = "exhookadmin.staff.actors.client_address"
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
REQUIRE_SECOND_FACTOR = env.bool("REQUIRE_SECOND_FACTOR", default=False)
OTP_TOTP_ISSUER = "ExHook Admin"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

LANGUAGE_CODE = "en-us"
TIME_ZONE = env.time_zone("TIME_ZONE", default="UTC")
USE_I18N = True
FORMAT_MODULE_PATH = "exhookadmin.formats"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
with writing("VAR_DIR", VAR_DIR):
    STATIC_ROOT.mkdir(exist_ok=True)
# Without a collectstatic run the files are served from the packages themselves.
WHITENOISE_USE_FINDERS = True

# HTTPS is the default; `make run` switches it off for a first look on localhost.
HTTPS_ONLY = env.bool("HTTPS_ONLY", default=True)
SECURE_SSL_REDIRECT = HTTPS_ONLY
SESSION_COOKIE_SECURE = HTTPS_ONLY
CSRF_COOKIE_SECURE = HTTPS_ONLY
# Browsers take a cookie of such a name from this host alone, over HTTPS alone.
_COOKIE_PREFIX = "__Host-" if HTTPS_ONLY else ""
SESSION_COOKIE_NAME = f"{_COOKIE_PREFIX}sessionid"
CSRF_COOKIE_NAME = f"{_COOKIE_PREFIX}csrftoken"
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Strict"
CSRF_COOKIE_HTTPONLY = True
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS_ONLY
SECURE_HSTS_PRELOAD = HTTPS_ONLY
if env.bool("BEHIND_TLS_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)
# Twelve hours after the last page, and with the browser.
SESSION_COOKIE_AGE = 12 * 3600
SESSION_SAVE_EVERY_REQUEST = True
SESSION_ENGINE = "exhookadmin.staff.sessions"
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
X_FRAME_OPTIONS = "DENY"

ENROLMENT = env.bool("ENROLMENT", default=False)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["exhookadmin.api.authentication.KeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["exhookadmin.api.permissions.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "LIST_SERIALIZER_ERRORS_AS_DICT": True,
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_THROTTLE_CLASSES": ["exhookadmin.api.throttling.KeyThrottle"],
    "DEFAULT_THROTTLE_RATES": {
        "key": f"{env.int('API_CALLS_PER_MINUTE', default=600, at_least=1)}/minute",
        "enrolment": f"{env.int('ENROLMENTS_PER_MINUTE', default=60, at_least=1)}/minute",
    },
    "DEFAULT_SCHEMA_CLASS": "exhookadmin.api.schema.Schema",
    "DEFAULT_VERSIONING_CLASS": None,
    "EXCEPTION_HANDLER": "exhookadmin.api.problems.problem_response",
    "UNAUTHENTICATED_USER": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "ExHook Admin",
    "DESCRIPTION": "Devices, credentials, policies and rules of an MQTT broker, and why it was decided what.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PUBLIC": True,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "COMPONENT_SPLIT_REQUEST": True,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "CredentialKind": "accounts.models.CREDENTIAL_KINDS",
        "RuleAction": "acl.models.ACTIONS",
    },
}

GRPC_FRAMEWORK = {"ROOT_HANDLERS_HOOK": "exhookadmin.exhook.service.grpc_handlers"}

_HOOKS = {
    "client.connect", "client.connack", "client.connected", "client.disconnected", "client.authenticate",
    "client.authorize", "client.subscribe", "client.unsubscribe", "session.created", "session.subscribed",
    "session.unsubscribed", "session.resumed", "session.discarded", "session.takenover", "session.terminated",
    "message.publish", "message.delivered", "message.acked", "message.dropped",
}  # fmt: skip
EXHOOK_HOOKS = env.list(
    "EXHOOK_HOOKS",
    default=[
        "client.authenticate",
        "client.authorize",
        "client.connack",
        "client.connected",
        "client.disconnected",
    ],
    choices=_HOOKS,
)
EXHOOK_MESSAGE_TOPICS = env.topic_filters("EXHOOK_MESSAGE_TOPICS", default=[])
_MESSAGE_HOOKS = [name for name in EXHOOK_HOOKS if name.startswith("message.")]
if _MESSAGE_HOOKS and not EXHOOK_MESSAGE_TOPICS:
    raise ImproperlyConfigured(
        f"EXHOOK_HOOKS: {', '.join(_MESSAGE_HOOKS)} would cost every message a round trip. Name the topics "
        "to watch, for example EXHOOK_MESSAGE_TOPICS=site/+/alarm/#, or leave the message hooks out."
    )
if EXHOOK_MESSAGE_TOPICS and not _MESSAGE_HOOKS:
    raise ImproperlyConfigured(
        "EXHOOK_MESSAGE_TOPICS does nothing without a message hook: add message.publish to EXHOOK_HOOKS, "
        "or leave the topics out."
    )
EXHOOK_SAMPLE_AUTHENTICATE = env.float("EXHOOK_SAMPLE_AUTHENTICATE", default=0.0, at_most=1.0)
EXHOOK_SAMPLE_AUTHORIZE = env.float("EXHOOK_SAMPLE_AUTHORIZE", default=0.0, at_most=1.0)
EXHOOK_IDENTITY_ORDER = env.list(
    "EXHOOK_IDENTITY_ORDER",
    default=["username", "client_id", "certificate_cn"],
    choices=["username", "client_id", "certificate_cn"],
)
EXHOOK_TRANSPORT = env.choice("EXHOOK_TRANSPORT", default="grpcio", choices=["grpcio", "native"])
EXHOOK_TLS_CERT = env.str("EXHOOK_TLS_CERT", default="")
EXHOOK_TLS_KEY = env.str("EXHOOK_TLS_KEY", default="")
EXHOOK_TLS_CLIENT_CA = env.str("EXHOOK_TLS_CLIENT_CA", default="")
EXHOOK_TLS_CLIENT_NAMES = env.list("EXHOOK_TLS_CLIENT_NAMES", default=[])
EXHOOK_METRICS = env.str("EXHOOK_METRICS", default="127.0.0.1:9001")
EXHOOK_CHAIN_UNKNOWN = env.bool("EXHOOK_CHAIN_UNKNOWN", default=False)
EXHOOK_BCRYPT_ROUNDS = env.int("EXHOOK_BCRYPT_ROUNDS", default=10, at_least=4, at_most=20)
EXHOOK_THROTTLE_BURST = env.int("EXHOOK_THROTTLE_BURST", default=10)
EXHOOK_THROTTLE_SECONDS = env.float("EXHOOK_THROTTLE_SECONDS", default=60.0, at_least=0.001)
EXHOOK_THROTTLE_ADDRESS_BURST = env.int("EXHOOK_THROTTLE_ADDRESS_BURST", default=1000)
EXHOOK_THROTTLE_ADDRESS_SECONDS = env.float("EXHOOK_THROTTLE_ADDRESS_SECONDS", default=0.1, at_least=0.001)
EXHOOK_CACHED_DEVICES = env.int("EXHOOK_CACHED_DEVICES", default=100_000, at_least=1)
EXHOOK_CACHE_SECONDS = env.int("EXHOOK_CACHE_SECONDS", default=300, at_least=1)
EXHOOK_FAIL_STATIC_SECONDS = env.int("EXHOOK_FAIL_STATIC_SECONDS", default=3600)
EXHOOK_SPOOL_DIR = env.str("EXHOOK_SPOOL_DIR", default=str(VAR_DIR / "spool"))
EXHOOK_SPOOL_MEGABYTES = env.int("EXHOOK_SPOOL_MEGABYTES", default=1024, at_least=1)
EXHOOK_SPOOL_SYNC = env.choice(
    "EXHOOK_SPOOL_SYNC", default="interval", choices=["always", "interval", "never"]
)
EXHOOK_FOLD_SECONDS = env.int("EXHOOK_FOLD_SECONDS", default=600)
EXHOOK_AUDIT_CHAIN = env.bool("EXHOOK_AUDIT_CHAIN", default=False)
EXHOOK_AUDIT_CHAIN_KEY = env.secret("EXHOOK_AUDIT_CHAIN_KEY", default="")
EXHOOK_RETENTION_DECISIONS_DAYS = env.int("EXHOOK_RETENTION_DECISIONS_DAYS", default=180, at_most=36_500)
EXHOOK_RETENTION_PRESENCE_DAYS = env.int("EXHOOK_RETENTION_PRESENCE_DAYS", default=90, at_most=36_500)
EXHOOK_RETENTION_ACTIVITY_DAYS = env.int("EXHOOK_RETENTION_ACTIVITY_DAYS", default=30, at_most=36_500)
EXHOOK_RETENTION_CHANGES_DAYS = env.int("EXHOOK_RETENTION_CHANGES_DAYS", default=730, at_most=36_500)
