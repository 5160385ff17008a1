"""What is checked before any process is started: settings that can only fail."""

import socket
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


MOST_PORT = 65535


class CannotStart(Exception):
    """The settings cannot be served; the text is for whoever made them."""


def check_web_address(address: str) -> None:
    """Raises CannotStart where gunicorn could only try to listen again and again."""
    if address.startswith(("unix:", "fd://")):
        return
    host, _, port = address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > MOST_PORT:
        raise CannotStart(f"--web: “{address}” is not HOST:PORT, for example 127.0.0.1:8000.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host.removeprefix("[").removesuffix("]"), int(port)))
            trial.listen(1)
        except OSError as error:
            raise CannotStart(
                f"The web interface cannot be served on {address}: {error.strerror or error}. If another "
                "program listens there, stop it; else choose another address with --web."
            ) from None


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
