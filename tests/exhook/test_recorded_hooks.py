"""Which hooks become facts: those that are asked for, and about whose doing they are."""

from typing import Any

import pytest

from accounts.core.decision import Reason
from accounts.models import Device
from accounts.services import create_device
from audit.fact import Fact
from exhookadmin.exhook.hooks import MESSAGE_HOOKS, Hook
from exhookadmin.exhook.provider import ALWAYS_RECORDED
from exhookadmin.exhook.replies import EMPTY_SUCCESS, IGNORE
from exhookadmin.exhook.service import new_provider
from exhookadmin.exhook.versions import VERSIONS, Version
from tests.exhook.server import V1, V3, client_request, method_of, request_class

pytestmark = pytest.mark.django_db
each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)

DECIDED = {Hook.CLIENT_AUTHENTICATE, Hook.CLIENT_AUTHORIZE}
OF_A_NODE = {Hook.PROVIDER_LOADED, Hook.PROVIDER_UNLOADED}
OPTIONAL = sorted(set(Hook) - DECIDED - OF_A_NODE - ALWAYS_RECORDED)

PUMP: dict[str, Any] = {"clientid": "c-17", "username": "pump-17", "peerhost": "192.0.2.7"}
HEADERS = {"username": "pump-17", "protocol": "mqtt", "peerhost": "192.0.2.7"}


@pytest.fixture
def pump() -> Device:
    return create_device("pump-17", client_id_binding="any")


def happen(version: Version, hook: Hook, message: Any) -> list[Fact]:
    """The facts of one call to a provider as the settings are now."""
    facts: list[Fact] = []
    provider = new_provider(facts.append)
    provider.directory.load_policies()
    reply = provider.full(method_of(version, hook), message)
    assert reply == (IGNORE if hook == Hook.MESSAGE_PUBLISH else EMPTY_SUCCESS)
    assert sum(provider.tally.recorded.values()) == len(facts)
    return facts


def message_request(
    version: Version, hook: Hook, topic: str = "site/1", headers: Any = HEADERS, sender: str = "c-17"
) -> Any:
    sent = {"node": "emqx@n1", "from": sender, "topic": topic, "payload": b"12", "headers": headers}
    fields: dict[str, Any] = {"message": version.pb2.Message(**sent)}
    if hook in (Hook.MESSAGE_DELIVERED, Hook.MESSAGE_ACKED):
        fields["clientinfo"] = version.pb2.ClientInfo(**PUMP)
    return request_class(method_of(version, hook))(**fields)


def request(version: Version, hook: Hook) -> Any:
    if hook in MESSAGE_HOOKS:
        return message_request(version, hook)
    if hook == Hook.CLIENT_CONNECT:
        info = version.pb2.ConnInfo(**PUMP, proto_name="MQTT", proto_ver="5")
        return request_class(method_of(version, hook))(conninfo=info)
    return client_request(version, hook, PUMP)


@each_version
@pytest.mark.parametrize("hook", OPTIONAL)
def test_a_hook_that_is_asked_for_is_recorded_with_its_device(
    settings: Any, pump: Device, version: Version, hook: Hook
):
    settings.EXHOOK_HOOKS = [hook.value]
    settings.EXHOOK_MESSAGE_TOPICS = ["site/#"]
    (fact,) = happen(version, hook, request(version, hook))
    assert (fact.kind, fact.device, fact.device_id) == (hook.value, "pump-17", pump.pk)
    assert (fact.client_id, fact.username, fact.address) == ("c-17", "pump-17", "192.0.2.7")
    assert fact.allowed is None
    assert fact.revision == ""


@each_version
@pytest.mark.parametrize("hook", OPTIONAL)
def test_one_that_is_not_is_answered_only(settings: Any, pump: Device, version: Version, hook: Hook):
    """EMQX goes on calling what was declared before, until the provider is disabled and enabled."""
    settings.EXHOOK_HOOKS = [other.value for other in OPTIONAL if other != hook]
    settings.EXHOOK_MESSAGE_TOPICS = ["site/#"]
    assert happen(version, hook, request(version, hook)) == []


@pytest.mark.parametrize("hook", sorted(ALWAYS_RECORDED - {Hook.CLIENT_CONNACK}))
def test_what_sessions_are_made_of_is_always_recorded(settings: Any, pump: Device, hook: Hook):
    settings.EXHOOK_HOOKS = ["client.authenticate"]
    assert len(happen(V3, hook, client_request(V3, hook, PUMP))) == 1


@each_version
def test_a_subscribe_is_as_many_facts_as_filters(settings: Any, pump: Device, version: Version):
    settings.EXHOOK_HOOKS = ["client.subscribe"]
    filters = [version.pb2.TopicFilter(name=name) for name in ("a", "b/#", "c/+")]
    asked = client_request(version, Hook.CLIENT_SUBSCRIBE, PUMP, topic_filters=filters)
    facts = happen(version, Hook.CLIENT_SUBSCRIBE, asked)
    assert [(fact.topic, fact.detail, fact.device) for fact in facts] == [
        ("a", "qos 0", "pump-17"),
        ("b/#", "qos 0", "pump-17"),
        ("c/+", "qos 0", "pump-17"),
    ]
    assert len({fact.id for fact in facts}) == 3


@pytest.mark.parametrize("hook", [Hook.MESSAGE_PUBLISH, Hook.MESSAGE_DROPPED])
@pytest.mark.parametrize(
    ("headers", "sender", "device"),
    [
        pytest.param(HEADERS, "c-17", "pump-17", id="a username"),
        pytest.param({"username": "pump-17"}, "c-17", "pump-17", id="a will of one with a username"),
        pytest.param({"protocol": "mqtt"}, "pump-17", "pump-17", id="no username: its client id"),
        pytest.param({"protocol": "mqtt", "username": "other"}, "pump-17", "", id="another's username"),
        pytest.param({}, "pump-17", "", id="EMQX 4.3, which tells no username"),
        pytest.param({}, "http_api", "", id="the API"),
    ],
)
def test_a_message_is_its_sender_s_where_the_broker_tells_who_that_is(
    settings: Any, pump: Device, hook: Hook, headers: dict[str, str], sender: str, device: str
):
    create_device("http_api")
    settings.EXHOOK_HOOKS = [hook.value]
    settings.EXHOOK_MESSAGE_TOPICS = ["#"]
    for version in (V1, V3):
        (fact,) = happen(version, hook, message_request(version, hook, headers=headers, sender=sender))
        assert (fact.device, fact.client_id, fact.topic) == (device, sender, "site/1")
        assert fact.username == headers.get("username", "")
        assert fact.node == "emqx@n1"


@pytest.mark.parametrize("hook", [Hook.MESSAGE_DELIVERED, Hook.MESSAGE_ACKED])
def test_a_delivery_is_its_receiver_s(settings: Any, pump: Device, hook: Hook):
    settings.EXHOOK_HOOKS = [hook.value]
    settings.EXHOOK_MESSAGE_TOPICS = ["#"]
    (fact,) = happen(V3, hook, message_request(V3, hook, headers={"username": "other"}, sender="other"))
    assert (fact.device, fact.client_id) == ("pump-17", "c-17")
    assert fact.detail.endswith(", from other")


@pytest.mark.parametrize("hook", sorted(MESSAGE_HOOKS))
@pytest.mark.parametrize(
    ("topics", "topic", "recorded"),
    [
        (["site/+/alarm", "up/#"], "site/1/alarm", True),
        (["site/+/alarm", "up/#"], "up", True),
        (["site/+/alarm", "up/#"], "site/1/temperature", False),
        (["#"], "anything/at/all", True),
        (["#"], "$SYS/brokers", False),
        (["$SYS/#"], "$SYS/brokers", True),
    ],
)
def test_only_messages_of_the_topics_asked_for_are_recorded(
    settings: Any, pump: Device, hook: Hook, topics: list[str], topic: str, recorded: bool
):
    """Also when the broker has not heard of narrower filters yet."""
    settings.EXHOOK_HOOKS = [hook.value]
    settings.EXHOOK_MESSAGE_TOPICS = topics
    assert bool(happen(V3, hook, message_request(V3, hook, topic))) is recorded


@pytest.mark.parametrize("hook", OPTIONAL)
def test_what_happened_is_recorded_when_it_cannot_be_found_out_whose_doing_it_was(
    settings: Any, pump: Device, hook: Hook
):
    settings.EXHOOK_HOOKS = [hook.value]
    settings.EXHOOK_MESSAGE_TOPICS = ["site/#"]
    facts: list[Fact] = []
    provider = new_provider(facts.append)
    reply = provider.failed(method_of(V3, hook), request(V3, hook), Reason.DATABASE_UNAVAILABLE)
    assert reply == (IGNORE if hook == Hook.MESSAGE_PUBLISH else EMPTY_SUCCESS)
    assert [(fact.kind, fact.client_id, fact.device) for fact in facts] == [(hook.value, "c-17", "")]


@each_version
@pytest.mark.parametrize("hook", [Hook.MESSAGE_DELIVERED, Hook.CLIENT_CONNECT, Hook.SESSION_SUBSCRIBED])
def test_an_empty_call_is_a_fact_that_says_nothing(settings: Any, version: Version, hook: Hook):
    settings.EXHOOK_HOOKS = [hook.value]
    settings.EXHOOK_MESSAGE_TOPICS = ["#"]
    (fact,) = happen(version, hook, request_class(method_of(version, hook))())
    assert (fact.kind, fact.client_id, fact.topic) == (hook.value, "", "")
