"""What each hook tells, in every version's spelling: topics, options and reasons, never a payload."""

from typing import Any

import pytest

from audit.fact import Fact, Kind
from exhookadmin.exhook.facts import KIND_OF, TOLD, Told
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.versions import VERSIONS, Version
from tests.exhook.server import V1, V2, V3, method_of, request_class

each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)

DECIDED = {Hook.CLIENT_AUTHENTICATE, Hook.CLIENT_AUTHORIZE}
OF_A_NODE = {Hook.PROVIDER_LOADED, Hook.PROVIDER_UNLOADED}
METADATA = "qos 1, 8 bytes, id 000660B1574AEDF6F495000001D20001, sent 2026-11-20T08:50:50.270+00:00"


def told(version: Version, hook: Hook, **fields: Any) -> list[tuple[str, str]]:
    message = request_class(method_of(version, hook))(**fields)
    return [(one.topic, one.detail) for one in TOLD[hook](message)]


def message(version: Version, **more: Any) -> Any:
    return version.pb2.Message(
        **{
            "id": "000660B1574AEDF6F495000001D20001",
            "qos": 1,
            "from": "pub1",
            "topic": "t/a/x",
            "payload": b"hunter2!",
            "timestamp": 1_795_164_650_270,
        }
        | more
    )


def test_every_hook_is_a_kind_and_tells_something():
    assert {hook: kind.value for hook, kind in KIND_OF.items()} == {hook: hook.value for hook in Hook}
    assert TOLD.keys() == set(Hook) - DECIDED - OF_A_NODE


@each_version
@pytest.mark.parametrize(
    "hook",
    [
        Hook.CLIENT_CONNECTED,
        Hook.SESSION_CREATED,
        Hook.SESSION_RESUMED,
        Hook.SESSION_DISCARDED,
        Hook.SESSION_TAKENOVER,
    ],
)
def test_some_tell_that_it_happened_and_no_more(version: Version, hook: Hook):
    assert told(version, hook) == [("", "")]


@each_version
@pytest.mark.parametrize("hook", [Hook.CLIENT_DISCONNECTED, Hook.SESSION_TERMINATED])
def test_an_end_tells_its_reason_as_it_came(version: Version, hook: Hook):
    assert told(version, hook, reason="{shutdown,tcp_closed}") == [("", "{shutdown,tcp_closed}")]


@each_version
def test_a_connect_tells_its_keepalive_and_no_property(version: Version):
    props = [version.pb2.Property(name="Authentication-Data", value="hunter2")]
    connection = version.pb2.ConnInfo(keepalive=60)
    assert told(version, Hook.CLIENT_CONNECT, conninfo=connection, props=props) == [("", "keepalive 60 s")]


@each_version
def test_a_connack_tells_refusals_only(version: Version):
    refusal = request_class(method_of(version, Hook.CLIENT_CONNACK))(result_code="banned")
    assert list(TOLD[Hook.CLIENT_CONNACK](refusal)) == [Told("", "banned", allowed=False)]
    assert told(version, Hook.CLIENT_CONNACK, result_code="success") == []


def filters(version: Version, *asked: dict[str, Any]) -> list[Any]:
    return [version.pb2.TopicFilter(**one) for one in asked]


@pytest.mark.parametrize(
    ("version", "asked"),
    [
        pytest.param(V1, [{"name": "a/+", "qos": 1}, {"name": "b/#"}], id="4.x"),
        pytest.param(V2, [{"name": "a/+", "qos": 1}, {"name": "b/#"}], id="5.0 to 5.3"),
        pytest.param(V2, [{"name": "a/+", "subopts": {"qos": 1}}, {"name": "b/#", "subopts": {}}], id="5.4"),
        pytest.param(V3, [{"name": "a/+", "subopts": {"qos": 1}}, {"name": "b/#", "subopts": {}}], id="6.x"),
        pytest.param(V3, [{"name": "a/+", "subopts": {"qos": 1}}, {"name": "b/#"}], id="without options"),
    ],
)
def test_each_filter_asked_for_is_a_fact_of_its_own(version: Version, asked: list[dict[str, Any]]):
    wanted = filters(version, *asked)
    assert told(version, Hook.CLIENT_SUBSCRIBE, topic_filters=wanted) == [("a/+", "qos 1"), ("b/#", "qos 0")]


@each_version
def test_filters_given_up_are_told_one_by_one_without_options(version: Version):
    given_up = filters(version, {"name": "m/2"}, {"name": "m/3"})
    assert told(version, Hook.CLIENT_UNSUBSCRIBE, topic_filters=given_up) == [("m/2", ""), ("m/3", "")]


@each_version
@pytest.mark.parametrize("hook", [Hook.CLIENT_SUBSCRIBE, Hook.CLIENT_UNSUBSCRIBE])
def test_without_a_filter_it_is_told_that_it_happened(version: Version, hook: Hook):
    """All of them denied, or EMQX 4.4 or 5.3, which name none to unsubscribe from."""
    assert told(version, hook) == [("", "")]


@pytest.mark.parametrize(
    ("version", "topic", "share", "recorded"),
    [
        (V1, "shared/t", "g", "$share/g/shared/t"),
        (V1, "qq", "$queue", "$queue/qq"),
        (V1, "a/b", "", "a/b"),
        (V2, "shared/t", "g", "$share/g/shared/t"),
        (V2, "$share/g/shared/t", "", "$share/g/shared/t"),
        (V2, "$share/g/shared/t", "g", "$share/g/shared/t"),
        (V3, "$share/g/shared/t", None, "$share/g/shared/t"),
        (V3, "$queue/qq", None, "$queue/qq"),
    ],
)
def test_a_shared_subscription_reads_the_same_in_every_version(
    version: Version, topic: str, share: str | None, recorded: str
):
    options = {"qos": 1} | ({} if share is None else {"share": share})
    subscribed = told(version, Hook.SESSION_SUBSCRIBED, topic=topic, subopts=options)
    assert subscribed == [(recorded, "qos 1")]


@each_version
def test_subscription_options_that_are_on_are_told(version: Version):
    options = {"qos": 2, "nl": 1, "rap": 1, "rh": 2}
    assert told(version, Hook.SESSION_SUBSCRIBED, topic="a", subopts=options) == [
        ("a", "qos 2, no local, retain as published, retain handling 2")
    ]


@each_version
def test_an_ended_subscription_tells_its_topic(version: Version):
    assert told(version, Hook.SESSION_UNSUBSCRIBED, topic="mp/c-mp/in/s") == [("mp/c-mp/in/s", "")]


@each_version
def test_a_message_is_told_by_its_metadata(version: Version):
    sent = message(version)
    assert told(version, Hook.MESSAGE_PUBLISH, message=sent) == [("t/a/x", METADATA)]
    for hook in (Hook.MESSAGE_DELIVERED, Hook.MESSAGE_ACKED):
        assert told(version, hook, message=sent) == [("t/a/x", f"{METADATA}, from pub1")]
    assert told(version, Hook.MESSAGE_DROPPED, message=sent, reason="no_subscribers") == [
        ("t/a/x", f"no_subscribers: {METADATA}")
    ]


@each_version
@pytest.mark.parametrize("hook", [hook for hook in Hook if hook.startswith("message.")])
def test_a_payload_is_in_no_fact(version: Version, hook: Hook):
    request = request_class(method_of(version, hook))(message=message(version, payload=b"hunter2"))
    assert "hunter2" not in repr(TOLD[hook](request))
    assert "7 bytes" in repr(TOLD[hook](request))


@pytest.mark.parametrize(
    ("timestamp", "sent"),
    [
        (0, "1970-01-01T00:00:00.000+00:00"),
        (2**64 - 1, "18446744073709551615 ms"),
        (253_402_300_800_000, "253402300800000 ms"),
    ],
)
def test_a_time_that_no_calendar_has_is_told_as_it_came(timestamp: int, sent: str):
    ((_, detail),) = told(V3, Hook.MESSAGE_PUBLISH, message=message(V3, timestamp=timestamp))
    assert detail.endswith(f"sent {sent}")


def test_whatever_a_stranger_sends_fits_a_fact():
    detail = told(V3, Hook.MESSAGE_DROPPED, message=message(V3, topic="t" * 65_535), reason="r" * 65_535)
    ((topic, reason),) = detail
    fact = Fact(Kind.MESSAGE_DROPPED, topic=topic, detail=reason)
    assert (len(fact.topic), len(fact.detail)) == (4096, 4096)
