"""The three versions: every RPC of each, and how each one spells the hooks."""

import pytest

from exhookadmin import settings as product_settings
from exhookadmin.exhook.hooks import HOOK_OF_METHOD, Hook
from exhookadmin.exhook.versions import VERSIONS, Version
from tests.exhook.server import V1, V2, V3, request_class, response_class

PROVIDER_HOOKS = {Hook.PROVIDER_LOADED, Hook.PROVIDER_UNLOADED}
each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)


def test_three_versions():
    assert [version.name for version in VERSIONS] == ["v1", "v2", "v3"]


@each_version
def test_a_version_has_each_of_the_21_hooks_once(version: Version):
    hooks = [method.hook for method in version.methods.values()]
    assert len(hooks) == 21
    assert set(hooks) == set(Hook)


@each_version
def test_methods_are_those_of_the_descriptor(version: Version):
    service = version.pb2.DESCRIPTOR.services_by_name["HookProvider"]
    assert list(version.methods) == [rpc.name for rpc in service.methods]
    assert version.service == service.full_name


@each_version
def test_a_path_is_what_grpc_asks_for(version: Version):
    assert {method.path for method in version.methods.values()} == {
        f"/emqx.exhook.{version.name}.HookProvider/{name}" for name in version.methods
    }


@each_version
def test_a_method_reads_and_answers_its_own_version_s_messages(version: Version):
    for method in version.methods.values():
        assert type(method.parse(b"")) is request_class(method)
        assert type(method.response(b"")) is response_class(method)
        assert type(method.parse(b"")).__module__ == version.pb2.__name__


@each_version
def test_only_three_hooks_take_a_value(version: Version):
    valued = {
        method.hook
        for method in version.methods.values()
        if response_class(method).__name__ == "ValuedResponse"
    }
    assert valued == {Hook.CLIENT_AUTHENTICATE, Hook.CLIENT_AUTHORIZE, Hook.MESSAGE_PUBLISH}


@pytest.mark.parametrize(
    ("version", "hook", "method", "spelled"),
    [
        (V1, Hook.CLIENT_AUTHORIZE, "OnClientCheckAcl", "client.check_acl"),
        (V2, Hook.CLIENT_AUTHORIZE, "OnClientAuthorize", "client.authorize"),
        (V3, Hook.CLIENT_AUTHORIZE, "OnClientAuthorize", "client.authorize"),
        (V1, Hook.SESSION_TAKENOVER, "OnSessionTakeovered", "session.takeovered"),
        (V2, Hook.SESSION_TAKENOVER, "OnSessionTakenover", "session.takenover"),
        (V3, Hook.SESSION_TAKENOVER, "OnSessionTakenover", "session.takenover"),
        (V1, Hook.CLIENT_AUTHENTICATE, "OnClientAuthenticate", "client.authenticate"),
        (V3, Hook.MESSAGE_DROPPED, "OnMessageDropped", "message.dropped"),
    ],
)
def test_spellings(version: Version, hook: Hook, method: str, spelled: str):
    assert version.methods[method].hook == hook
    assert version.spell(hook) == spelled


def test_v1_alone_has_spellings_of_its_own():
    of_v1 = {hook for hook in Hook if V1.spell(hook) != hook}
    assert of_v1 == {Hook.CLIENT_AUTHORIZE, Hook.SESSION_TAKENOVER}
    assert all(version.spell(hook) == hook for version in (V2, V3) for hook in Hook)


def test_every_method_name_of_every_version_is_known_and_no_other():
    assert set(HOOK_OF_METHOD) == {name for version in VERSIONS for name in version.methods}


def test_the_settings_offer_every_hook_that_can_be_declared():
    assert {hook.value for hook in set(Hook) - PROVIDER_HOOKS} == product_settings._HOOKS
