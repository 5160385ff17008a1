"""The explain page: the production decision with its way, for any client, for an event, and for a draft."""

import re
import time
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.http import urlencode

from accounts import services as accounts_services
from accounts.core.client import Client as MqttClient
from accounts.core.decision import Reason
from accounts.models import Device
from acl import services
from acl.core.decide import AccessRequest
from acl.core.rules import Action
from acl.models import Policy, Rule
from audit.fact import Fact, Kind
from audit.models import Event
from audit.writer import write_facts
from exhookadmin.console.questions import TOPICS
from exhookadmin.console.trace import SHOWN
from exhookadmin.explain import explain_access
from tests.query_count import besides_the_login, queries_of
from tests.test_explain import ACCESSES, set_up

pytestmark = pytest.mark.django_db

PAGE = reverse("console:explain")
WRITES = re.compile(r"\s*(INSERT|UPDATE|DELETE|CREATE|DROP|ALTER)", re.IGNORECASE)


@pytest.fixture(autouse=True)
def world() -> str:
    """A small fleet; answers the token of pump-1."""
    return set_up()


def url(**asked: str) -> str:
    return f"{PAGE}?{urlencode(asked)}"


def publish(topic: str, **asked: str) -> str:
    return url(**{"username": "pump-1", "action": "publish", "topics": topic, **asked})


def text_of(response: Any) -> str:
    """What a reader sees: without tags, spaces as one."""
    assert response.status_code == 200
    html = response.content.decode().partition('id="answer"')[2].partition("</body>")[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html)).replace("&#x27;", "'")


def record(**told: Any) -> Event:
    pump = Device.objects.get(username="pump-1")
    own = {"device_id": pump.pk, "device": "pump-1", "client_id": "pump-1", "username": "pump-1"}
    fact = Fact(**{"kind": Kind.AUTHORIZE, "allowed": False, "address": "192.0.2.7", **own, **told})
    write_facts([fact])
    return Event.objects.get(pk=fact.id)


# --- any question ----------------------------------------------------------------------------------------


def test_without_a_question_the_page_says_what_it_is_for(admin_client: Client) -> None:
    response = admin_client.get(PAGE)
    assert "May it, and why?" in text_of(response)
    assert "error" not in text_of(response)


@pytest.mark.parametrize(
    "access",
    [access for access in ACCESSES if access[2]],  # a form asks for at least one topic
    ids=lambda each: f"{each[0].client_id} {each[1]} {each[2]}",
)
def test_the_decision_is_the_one_that_the_broker_gets(admin_client: Client, access: Any) -> None:
    client, action, topic, reason = access
    response = admin_client.get(
        url(
            username=client.username,
            client_id=client.client_id,
            address=client.address,
            action=action,
            topics=topic,
        )
    )
    answer = response.context["answer"]
    assert answer.explained.decision == explain_access(client, AccessRequest(Action(action), topic)).decision
    assert answer.explained.decision.reason == reason
    assert ("Allowed" if answer.explained.decision.allow else "Denied") in text_of(response)


def test_rules_are_shown_in_order_with_verdict_filling_and_source(admin_client: Client) -> None:
    response = admin_client.get(publish("site/secret/plan"))
    trace = response.context["trace"]
    assert [(step.rule.ref.text, step.matched, step.decides) for step in trace.tried] == [
        ("allow publish alarm/${clientid} (priority 10)", False, False),
        ("deny all site/secret/#", True, True),
    ]
    assert [step.rule.ref.text for step in trace.unreached] == [
        "allow all site/#",
        "allow publish desk/# from 198.51.100.0/24",
    ]
    assert trace.tried[0].rendered == "alarm/pump-1"
    assert trace.tried[0].source is not None
    assert trace.tried[0].source.why == "its own rule"
    shown = text_of(response)
    assert "Filled in: alarm/pump-1" in shown
    assert "policy base , via the group fleet" in shown
    assert "policy office , applies to everyone" in shown
    policy = reverse("admin:acl_policy_change", args=[Policy.objects.get(name="base").pk])
    assert policy in response.content.decode()


def test_a_rule_s_note_says_why_it_is_there(admin_client: Client) -> None:
    Rule.objects.filter(topic_filter="site/secret/#").update(note="asked for by the owner")
    assert "“asked for by the owner”" in text_of(admin_client.get(publish("site/secret/plan")))


def test_all_checks_are_shown_with_what_is_demanded(admin_client: Client) -> None:
    shown = text_of(
        admin_client.get(
            url(client_id="x", username="at-home", address="203.0.113.1", action="publish", topics="a")
        )
    )
    assert "demands at-home; the client has x" in shown
    assert "192.0.2.0/24; the client connects from 203.0.113.1" in shown
    assert "None was asked, because a check denied before" in shown or "No rule applies" in shown


def test_an_empty_client_id_is_the_one_the_device_is_bound_to(admin_client: Client) -> None:
    response = admin_client.get(publish("site/1"))
    assert response.context["answer"].explained.decision.reason == Reason.RULE_ALLOWS
    assert "(the one it is bound to)" in text_of(response)


def test_several_topics_make_a_table_and_each_has_its_own_address(admin_client: Client) -> None:
    response = admin_client.get(publish("site/1\r\nsite/secret/x\n\nsite/1"))
    answers = response.context["answers"]
    assert [(each.topic, each.explained.decision.allow) for each in answers] == [
        ("site/1", True),
        ("site/secret/x", False),
    ]
    alone = admin_client.get(answers[1].url)
    assert alone.context["answer"].explained == answers[1].explained


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        ({"action": "publish", "topics": "a"}, "username", "Who asks?"),
        ({"action": "publish", "username": "x"}, "topics", "Enter at least one topic"),
        ({"action": "fly", "username": "x"}, "action", "Select a valid choice"),
        ({"action": "publish", "username": "x\0", "topics": "a"}, "username", "Null characters"),
        (
            {"action": "publish", "username": "x", "topics": "\n".join(map(str, range(TOPICS + 1)))},
            "topics",
            "at most 50",
        ),
    ],
)
def test_a_question_that_makes_no_sense_is_told_beside_its_field(
    admin_client: Client, asked: dict[str, str], field: str, words: str
) -> None:
    response = admin_client.get(url(**asked))
    assert words in " ".join(response.context["form"].errors[field])
    assert "One thing is missing" in text_of(response)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"username": "pump-1", "secret": "right"}, Reason.CREDENTIAL_VERIFIED),
        ({"username": "pump-1", "secret": "wrong"}, Reason.CREDENTIAL_WRONG),
        ({"username": "pump-1", "secret": "none"}, Reason.CREDENTIAL_MISSING),
        ({"username": "pump-1"}, Reason.CREDENTIAL_VERIFIED),
        ({"username": "with-cn", "cn": "meter.example", "secret": "none"}, Reason.CERTIFICATE_VERIFIED),
        ({"username": "with-cn", "cn": "other", "secret": "right"}, Reason.NO_LIVE_CREDENTIAL),
        ({"username": "retired", "secret": "right"}, Reason.DEVICE_DISABLED),
        ({"username": "root", "secret": "none"}, Reason.NO_CREDENTIAL_REQUIRED),
        ({"username": "nobody", "secret": "right"}, Reason.UNKNOWN_DEVICE),
    ],
)
def test_a_login_is_decided_without_a_secret(
    admin_client: Client, asked: dict[str, str], reason: Reason
) -> None:
    response = admin_client.get(url(action="connect", **asked))
    assert response.context["answer"].explained.decision.reason == reason


def test_a_credential_that_is_revoked_is_right_no_more(admin_client: Client) -> None:
    pump = Device.objects.get(username="pump-1")
    pump.credentials.update(enabled=False)
    response = admin_client.get(url(action="connect", username="pump-1", secret="right"))
    assert response.context["answer"].explained.decision.reason == Reason.NO_LIVE_CREDENTIAL
    assert "no live credentials" in text_of(response)


def test_long_lists_of_rules_are_cut_and_say_so(admin_client: Client) -> None:
    pump = Device.objects.get(username="pump-1")
    Rule.objects.bulk_create(
        [
            Rule(device=pump, effect="deny", action="all", topic_filter=f"other/{n}", priority=20)
            for n in range(SHOWN + 5)
        ]
        + [
            Rule(device=pump, effect="deny", action="all", topic_filter=f"late/{n}", priority=-20)
            for n in range(SHOWN)
        ]
    )
    response = admin_client.get(publish("site/secret/plan"))
    trace = response.context["trace"]
    assert (trace.tried_hidden, trace.unreached_hidden) == (6, 2)
    assert trace.tried[-1].decides
    assert trace.tried[-1].number == SHOWN + 7
    assert "6 more rules that do not match are not shown" in text_of(response)


def test_a_broken_policy_is_named(admin_client: Client) -> None:
    response = admin_client.get(publish("a", username="broken"))
    assert response.context["answer"].explained.decision.reason == Reason.POLICY_BROKEN
    assert "device broken" in text_of(response)


# --- an event: then and now ------------------------------------------------------------------------------

SECRET = "deny all site/secret/# (policy base)"


def denied() -> Event:
    return record(
        reason="rule_denies",
        action="publish",
        topic="site/secret/plan",
        rule=SECRET,
        rule_id=Rule.objects.get(topic_filter="site/secret/#").pk,
    )


def test_every_denial_in_the_log_links_to_its_explanation(admin_client: Client) -> None:
    told = [
        denied(),
        record(kind=Kind.AUTHENTICATE, reason="credential_wrong"),
        record(kind=Kind.CONNACK, detail="banned"),
    ]
    other = record(kind=Kind.CONNECTED, allowed=None)
    html = admin_client.get(reverse("admin:audit_event_changelist")).content.decode()
    for event in told:
        link = f"{PAGE}?event={event.pk}#answer"
        assert html.count(link) == 1
        assert link in admin_client.get(reverse("admin:audit_event_change", args=[event.pk])).content.decode()
        assert admin_client.get(link).status_code == 200
    assert str(other.pk) + "#answer" not in html


def test_an_event_that_would_be_decided_the_same_says_so(admin_client: Client) -> None:
    response = admin_client.get(url(event=str(denied().pk)))
    assert response.context["same"] is True
    assert "Then and now are the same" in text_of(response)
    assert response.context["form"]["topics"].value() == "site/secret/plan"


CHANGES = [
    (
        "the rule reads differently",
        lambda: Rule.objects.filter(topic_filter="site/secret/#").update(topic_filter="site/hidden/#"),
        "reads differently now: deny all site/hidden/# (policy base)",
    ),
    (
        "the rule is gone",
        lambda: Rule.objects.filter(topic_filter="site/secret/#").delete(),
        "has been deleted: deny all site/secret/#",
    ),
    (
        "the rule is off",
        lambda: Rule.objects.filter(topic_filter="site/secret/#").update(enabled=False),
        "is switched off now",
    ),
    (
        "the policy is off",
        lambda: Policy.objects.filter(name="base").update(enabled=False),
        "policy base, whose rule decided then, is switched off",
    ),
    (
        "the device was changed",
        lambda: accounts_services.save_device(Device.objects.get(username="pump-1")),
        "The device pump-1 was changed after that",
    ),
    (
        "the policy was saved",
        lambda: services.save_policy(Policy.objects.get(name="base")),
        "Saved after that: policy base",
    ),
    (
        "the device is gone",
        lambda: Device.objects.filter(username="pump-1").delete(),
        "The device pump-1 no longer exists",
    ),
    (
        "another device has the name",
        lambda: (
            Device.objects.filter(username="pump-1").update(username="old"),
            accounts_services.create_device("pump-1"),
        ),
        "Another device answers to this name now",
    ),
]


@pytest.mark.parametrize(
    ("change", "words"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES]
)
def test_what_has_changed_since_is_told(admin_client: Client, change: Any, words: str) -> None:
    event = denied()
    change()
    assert words in text_of(admin_client.get(url(event=str(event.pk))))


def test_a_login_refused_for_a_wrong_credential_is_asked_again_with_one(admin_client: Client) -> None:
    event = record(kind=Kind.AUTHENTICATE, reason="credential_wrong")
    response = admin_client.get(url(event=str(event.pk)))
    assert response.context["answer"].explained.decision.reason == Reason.CREDENTIAL_WRONG
    assert response.context["same"] is True


def test_what_only_the_endpoint_knows_is_named(admin_client: Client) -> None:
    event = record(kind=Kind.AUTHENTICATE, reason="throttled")
    assert "throttles is known to it alone" in text_of(admin_client.get(url(event=str(event.pk))))


def test_an_event_can_be_asked_about_with_other_words(admin_client: Client) -> None:
    response = admin_client.get(publish("site/1", event=str(denied().pk), client_id="pump-1"))
    assert response.context["answer"].topic == "site/1"
    assert response.context["event"] is not None


@pytest.mark.parametrize("number", ["x", "01a1f8df-361c-7d72-9660-6fac013785af"])
def test_an_event_that_does_not_exist_is_not_found(admin_client: Client, number: str) -> None:
    assert admin_client.get(url(event=number)).status_code == 404


# --- a draft: what if ------------------------------------------------------------------------------------


def with_draft(client: Client, rules: str, topic: str = "site/secret/plan", **posted: str) -> Any:
    address = publish(topic, policy=str(Policy.objects.get(name="base").pk))
    return client.post(address, {"rules": rules, **posted})


def test_a_copy_of_the_rules_is_offered_as_it_is_stored(admin_client: Client) -> None:
    response = admin_client.get(publish("site/1", policy=str(Policy.objects.get(name="base").pk)))
    assert response.context["draft_lines"] == "deny all site/secret/#\nallow all site/#"


def test_a_draft_decides_in_memory_and_nothing_is_written(admin_client: Client) -> None:
    stored = list(Rule.objects.order_by("pk").values())
    admin_client.get(PAGE)
    with CaptureQueriesContext(connection) as captured:
        response = with_draft(admin_client, "allow all site/#")
    assert [sql for sql in besides_the_login(captured) if WRITES.match(sql)] == []
    answer = response.context["answer"]
    assert answer.turned
    assert answer.explained.decision.reason == Reason.RULE_ALLOWS
    assert answer.stored.decision.reason == Reason.RULE_DENIES
    assert "With this change: allowed" in text_of(response)
    assert "Without this change it is denied" in text_of(response)
    assert list(Rule.objects.order_by("pk").values()) == stored
    again = admin_client.get(publish("site/secret/plan"))
    assert again.context["answer"].explained.decision.reason == Reason.RULE_DENIES


def test_a_draft_decides_as_it_would_once_it_is_stored(admin_client: Client) -> None:
    text = "allow publish site/secret/plan (priority 5)\ndeny all site/secret/#\nallow all site/#"
    topics = "site/secret/plan\nsite/secret/other\nsite/1\nelsewhere"
    drafted = [each.explained.decision for each in with_draft(admin_client, text, topics).context["answers"]]
    services.create_rule(Policy.objects.get(name="base"), "allow", "publish", "site/secret/plan", priority=5)
    client = MqttClient("pump-1", "pump-1")
    stored = [
        explain_access(client, AccessRequest(Action.PUBLISH, topic)).decision for topic in topics.split("\n")
    ]
    assert [(made.allow, made.reason, made.rule and made.rule.text) for made in drafted] == [
        (made.allow, made.reason, made.rule and made.rule.text) for made in stored
    ]


def test_a_policy_can_be_tried_as_if_it_were_attached(admin_client: Client) -> None:
    new = services.create_policy("for others")
    address = publish("nowhere/1", policy=str(new.pk))
    rules = {"rules": "allow publish nowhere/+"}
    assert not admin_client.post(address, rules).context["answer"].explained.decision.allow
    assert admin_client.post(address, {**rules, "attach": "on"}).context["answer"].explained.decision.allow


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ("allow all a/#/b", "Line 1: “a/#/b”: # is only allowed as the last level"),
        ("# fine\npermit", "Line 2: “permit” is not a rule"),
        ("allow all a" * 30_000, "longer than 200,000 characters"),
    ],
)
def test_a_draft_that_cannot_be_read_keeps_its_text_and_says_why(
    admin_client: Client, rules: str, words: str
) -> None:
    response = with_draft(admin_client, rules)
    assert words in response.context["draft_problem"]
    assert rules.startswith(response.context["draft_lines"])
    assert response.context["answer"].stored is None


def test_a_draft_without_its_token_is_refused(world: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("boss"))
    assert with_draft(client, "allow all #").status_code == 403


@pytest.mark.parametrize("policy", ["999999", "x", "9" * 30, "-1"])
def test_a_policy_that_does_not_exist_breaks_nothing(admin_client: Client, policy: str) -> None:
    assert admin_client.get(publish("site/1", policy=policy)).status_code in (200, 404)


# --- who, and at what cost -------------------------------------------------------------------------------


def staff(client: Client, *permissions: str) -> Client:
    user = User.objects.create_user("clerk", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return client


@pytest.mark.parametrize(
    ("permissions", "status"),
    [
        (("view_device", "view_policy"), 200),
        (("change_device", "change_policy"), 200),
        (("view_device",), 403),
        (("view_policy", "view_event"), 403),
        ((), 403),
    ],
    ids=str,
)
def test_it_is_for_those_who_may_see_devices_and_policies(
    client: Client, permissions: tuple[str, ...], status: int
) -> None:
    staff(client, *permissions)
    assert client.get(publish("a")).status_code == status
    assert client.get(reverse("console:device_names")).status_code == status


def test_an_event_is_for_those_who_may_see_the_log(client: Client) -> None:
    staff(client, "view_device", "view_policy")
    assert client.get(url(event=str(denied().pk))).status_code == 403


def test_who_may_not_see_the_explanation_gets_no_link_to_it(client: Client) -> None:
    staff(client, "view_event")
    event = denied()
    for page in (
        reverse("admin:audit_event_changelist"),
        reverse("admin:audit_event_change", args=[event.pk]),
    ):
        html = client.get(page).content.decode()
        assert "denied by a rule" in html
        assert "Why?" not in html


def test_strangers_are_sent_to_the_login(client: Client) -> None:
    response = client.get(publish("a"))
    assert response.status_code == 302
    assert response.headers["Location"].startswith(reverse("admin:login"))


def test_the_page_costs_a_fixed_number_of_queries(admin_client: Client) -> None:
    event = str(denied().pk)
    base = Policy.objects.get(name="base")
    admin_client.get(PAGE)
    few = len(queries_of(admin_client, url(event=event, policy=str(base.pk))))
    pump = Device.objects.get(username="pump-1")
    for number in range(8):
        policy = services.create_policy(f"more {number}", devices=[pump], groups=pump.groups.all())
        services.create_rule(policy, "deny", "all", f"more/{number}", note="n")
    assert len(queries_of(admin_client, url(event=event, policy=str(base.pk)))) == few
    many = "\n".join(f"site/{number}" for number in range(TOPICS))
    assert len(queries_of(admin_client, publish(many))) <= few
    assert few <= 40


def test_no_secret_is_in_the_page(admin_client: Client, world: str) -> None:
    encoded = list(Device.objects.get(username="pump-1").credentials.values_list("encoded", flat=True))
    html = admin_client.get(url(action="connect", username="pump-1", secret="right")).content.decode()
    for secret in (world, *encoded):
        assert secret not in html


def test_names_of_devices_are_offered_while_typing(admin_client: Client) -> None:
    names = reverse("console:device_names")
    assert 'value="pump-1"' in admin_client.get(names, {"username": "pu"}).content.decode()
    assert admin_client.get(names, {"username": ""}).content.decode().strip() == ""
    assert admin_client.get(names, {"username": "p\0"}).content.decode().strip() == ""


def test_times_are_told_exactly(admin_client: Client) -> None:
    event = record(reason="no_rule_matched", action="publish", topic="a", time=time.time())
    html = admin_client.get(url(event=str(event.pk))).content.decode()
    moment = event.time.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"
    assert f'datetime="{moment}"' in html
