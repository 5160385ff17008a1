"""Keys, and a client that calls as a program would."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.response import Response
from rest_framework.test import APIClient

from exhookadmin.api.keys import create_key
from exhookadmin.api.scopes import Scope


class Caller:
    """Sends one key with each call."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._client = APIClient(raise_request_exception=False)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        named = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        if self.key:
            named["HTTP_AUTHORIZATION"] = f"Bearer {self.key}"
        send = getattr(self._client, method.lower())
        answer: Response = send(f"/api/v1/{path}", body, format="json", **named)
        return answer


NewCaller = Callable[..., Caller]


@pytest.fixture
def caller_with(db: None) -> NewCaller:
    """Makes a caller whose key has just these scopes."""

    def new(*scopes: Scope, **fields: Any) -> Caller:
        new.count += 1  # type: ignore[attr-defined]
        return Caller(create_key(f"key {new.count}", scopes or list(Scope), **fields)[1])  # type: ignore[attr-defined]

    new.count = 0  # type: ignore[attr-defined]
    return new


@pytest.fixture
def call(caller_with: NewCaller) -> Caller:
    """A caller who may do everything."""
    return caller_with(*Scope)
