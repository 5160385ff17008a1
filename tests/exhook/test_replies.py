"""Replies are constants; what they mean is what each version's own messages say."""

from typing import Any

import pytest

from accounts.core.decision import Decision, Reason, allow, deny
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.replies import ALLOW, DENY, EMPTY_SUCCESS, IGNORE, reply_to
from exhookadmin.exhook.versions import VERSIONS, Version
from tests.exhook.server import method_of

each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)


def valued(version: Version, kind: str, **value: Any) -> bytes:
    response = version.pb2.ValuedResponse
    return bytes(response(type=response.ResponsedType.Value(kind), **value).SerializeToString())


@each_version
def test_the_bytes_are_what_each_version_would_write(version: Version):
    assert valued(version, "STOP_AND_RETURN", bool_result=True) == ALLOW
    assert valued(version, "STOP_AND_RETURN", bool_result=False) == DENY
    assert valued(version, "IGNORE") == IGNORE
    assert version.pb2.EmptySuccess().SerializeToString() == EMPTY_SUCCESS


@each_version
@pytest.mark.parametrize(
    ("reply", "kind", "value"),
    [
        pytest.param(ALLOW, "STOP_AND_RETURN", True, id="allow"),
        pytest.param(DENY, "STOP_AND_RETURN", False, id="deny: present and false, not absent"),
        pytest.param(IGNORE, "IGNORE", None, id="ignore"),
    ],
)
def test_the_bytes_are_what_each_version_would_read(
    version: Version, reply: bytes, kind: str, value: bool | None
):
    for hook in (Hook.CLIENT_AUTHENTICATE, Hook.CLIENT_AUTHORIZE, Hook.MESSAGE_PUBLISH):
        response = method_of(version, hook).response(reply)
        assert version.pb2.ValuedResponse.ResponsedType.Name(response.type) == kind
        assert response.HasField("bool_result") is (value is not None)
        assert response.bool_result is bool(value)
        assert not response.HasField("message")


ALLOWING = {
    Reason.CREDENTIAL_VERIFIED,
    Reason.CERTIFICATE_VERIFIED,
    Reason.NO_CREDENTIAL_REQUIRED,
    Reason.SUPERUSER,
    Reason.RULE_ALLOWS,
}


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("chain_unknown", [False, True], ids=["alone", "chained"])
def test_only_an_unknown_device_is_ever_left_to_others(reason: Reason, chain_unknown: bool):
    decision: Decision = allow(reason) if reason in ALLOWING else deny(reason)
    if reason in ALLOWING:
        expected = ALLOW
    elif chain_unknown and reason == Reason.UNKNOWN_DEVICE:
        expected = IGNORE
    else:
        expected = DENY
    assert reply_to(decision, chain_unknown) == expected
