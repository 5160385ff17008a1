"""The one error boundary: whatever goes wrong in our code becomes a denial, one log line and a fact.

A gRPC error status would stall EMQX 4.4 for seconds a call, and the text of an uncaught
exception would be sent to the peer.
"""

import logging
import secrets
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError

from accounts.core.decision import Reason, deny
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.provider import Provider
from exhookadmin.exhook.replies import DENY, EMPTY_SUCCESS, IGNORE
from exhookadmin.exhook.versions import Method

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")


def answer(
    provider: Provider, method: Method, message: Any, ask: Callable[[Method, Any], Answer]
) -> Answer | bytes:
    """What ``ask`` answers, or the reply to its failure. Never raises."""
    try:
        return ask(method, message)
    except (OperationalError, InterfaceError) as error:
        _log("the database is away", method, error)
        return _failed(provider, method, message, Reason.DATABASE_UNAVAILABLE)
    except Exception as error:
        _log("unexpected error", method, error)
        return _failed(provider, method, message, Reason.INTERNAL_ERROR)


def _failed(provider: Provider, method: Method, message: Any, reason: Reason) -> bytes:
    try:
        return provider.failed(method, message, reason)
    except Exception as error:
        _log("unexpected error while denying", method, error)
        provider.tally.decided(message, deny(Reason.INTERNAL_ERROR))
        return _last_resort(method.hook)


def _last_resort(hook: Hook) -> bytes:
    if hook in (Hook.CLIENT_AUTHENTICATE, Hook.CLIENT_AUTHORIZE):
        return DENY
    return IGNORE if hook == Hook.MESSAGE_PUBLISH else EMPTY_SUCCESS


def _log(text: str, method: Method, error: Exception) -> None:
    correlation = secrets.token_hex(4)
    logger.error(
        text,
        extra={"correlation": correlation, "method": method.path, "error": type(error).__name__},
        exc_info=error,
    )
