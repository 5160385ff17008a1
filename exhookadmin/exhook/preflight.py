"""What is checked before any process is started: settings that can only fail."""

from importlib.util import find_spec

from django.conf import settings

from exhookadmin.exhook import tls

NATIVE_HAS_NO_TLS = (
    "EXHOOK_TRANSPORT=native serves plain text only, and the EXHOOK_TLS_… settings ask for TLS. Choose "
    "EXHOOK_TRANSPORT=grpcio, or remove them and let a proxy in front of the endpoint speak TLS."
)
NATIVE_IS_MISSING = (
    "EXHOOK_TRANSPORT=native needs a package that is not installed. "
    "Run: pip install 'pygrpc-native==0.5.*', or choose EXHOOK_TRANSPORT=grpcio."
)


class CannotStart(Exception):
    """The settings cannot be served; the text is for whoever made them."""


def check_settings() -> None:
    """Raises CannotStart for settings that no worker could start with."""
    if settings.EXHOOK_TRANSPORT == "native":
        if tls.settings_present():
            raise CannotStart(NATIVE_HAS_NO_TLS)
        if find_spec("pygrpc_native") is None:
            raise CannotStart(NATIVE_IS_MISSING)
    try:
        files = tls.files_from_settings()
        if files is not None:
            tls.read_certificates(files)
    except tls.TlsProblem as problem:
        raise CannotStart(str(problem)) from None
