"""What explain says is what the endpoint answers, and it shows every check and rule on the way."""

import json
import re
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import grpc
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.core.admission import CHECKS
from accounts.core.binding import Binding
from accounts.core.client import Client
from accounts.core.decision import Reason
from accounts.core.identity import IdentitySource
from accounts.models import DeviceGroup
from accounts.services import add_password, create_device, create_token, save_group
from acl.core.decide import AccessRequest
from acl.core.rules import Action
from acl.models import Rule
from acl.rulesets import load_policy_book
from acl.services import create_policy, create_rule
from exhookadmin.api.keys import create_key
from exhookadmin.api.scopes import Scope
from exhookadmin.exhook.emqx import Node, Target, headers_of, open_channel
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.replies import ALLOW, DENY
from exhookadmin.exhook.versions import VERSIONS
from exhookadmin.explain import CHECKED, EXISTS, PROVES_ITSELF, Explained, explain_access, explain_connect
from tests.api.conftest import Caller
from tests.endpoint import StartEndpoint

PASSWORD = "a long way home"


def set_up() -> str:
    """A small fleet with one device for each thing that can be wrong. Answers pump-1's token."""
    fleet = save_group(DeviceGroup(name="fleet"))
    pump = create_device("pump-1", groups=[fleet])
    _, token = create_token(pump)
    add_password(pump, PASSWORD)
    create_rule(pump, "allow", "publish", "alarm/${clientid}", priority=10)
    create_rule(pump, "allow", "publish", "alarm/+", enabled=False)
    create_device("retired", enabled=False)
    create_device("early", valid_from=timezone.now() + timedelta(days=1))
    create_device("late", valid_until=timezone.now() - timedelta(days=1))
    create_device("at-home", networks="192.0.2.0/24", credential_required=False)
    create_device("open", client_id_binding=Binding.ANY, credential_required=False)
    create_device("with-cn", certificate_cn="meter.example")
    create_device("root", superuser=True, credential_required=False)
    base = create_policy("base", groups=[fleet])
    create_rule(base, "allow", "all", "site/#")
    create_rule(base, "deny", "all", "site/secret/#")
    create_rule(
        create_policy("office", everyone=True), "allow", "publish", "desk/#", networks="198.51.100.0/24"
    )
    broken = create_device("broken", credential_required=False)
    Rule.objects.bulk_create([Rule(device=broken, effect="deny", action="all", topic_filter="a/#/b")])
    return token


PUMP = Client("pump-1", "pump-1", address="192.0.2.7")

CONNECTS = [
    (PUMP, Reason.CREDENTIAL_MISSING),
    (PUMP._replace(password=PASSWORD), Reason.CREDENTIAL_VERIFIED),
    (PUMP._replace(password="a short cut"), Reason.CREDENTIAL_WRONG),
    (Client("pump-1", password=PASSWORD), Reason.CREDENTIAL_VERIFIED),
    (PUMP._replace(client_id="pump-2"), Reason.CLIENT_ID_NOT_BOUND),
    (Client("nobody"), Reason.UNKNOWN_DEVICE),
    (Client("pump-1", "nobody"), Reason.UNKNOWN_DEVICE),
    (Client("retired"), Reason.DEVICE_DISABLED),
    (Client("early"), Reason.NOT_YET_VALID),
    (Client("late"), Reason.NO_LONGER_VALID),
    (Client("at-home", address="192.0.2.1"), Reason.NO_CREDENTIAL_REQUIRED),
    (Client("at-home", address="203.0.113.1"), Reason.ADDRESS_NOT_ALLOWED),
    (Client("at-home"), Reason.ADDRESS_NOT_ALLOWED),
    (Client("open-17", "open"), Reason.NO_CREDENTIAL_REQUIRED),
    (Client("with-cn", cn="meter.example"), Reason.CERTIFICATE_VERIFIED),
    (Client("with-cn", cn="other.example"), Reason.CREDENTIAL_MISSING),
]

ACCESSES = [
    (PUMP, "publish", "site/1/temperature", Reason.RULE_ALLOWS),
    (PUMP, "publish", "site/secret/plan", Reason.RULE_DENIES),
    (PUMP, "publish", "alarm/pump-1", Reason.RULE_ALLOWS),
    (PUMP, "publish", "alarm/pump-2", Reason.NO_RULE_MATCHED),
    (PUMP, "publish", "desk/lamp", Reason.NO_RULE_MATCHED),
    (PUMP._replace(address="198.51.100.9"), "publish", "desk/lamp", Reason.RULE_ALLOWS),
    (PUMP, "publish", "site/+", Reason.INVALID_TOPIC),
    (PUMP, "subscribe", "site/1/+", Reason.RULE_ALLOWS),
    (PUMP, "subscribe", "site/#", Reason.RULE_DENIES),
    (PUMP, "subscribe", "$share/g/site/1/#", Reason.RULE_ALLOWS),
    (PUMP, "subscribe", "#", Reason.RULE_DENIES),
    (PUMP, "subscribe", "", Reason.INVALID_TOPIC),
    (Client("nobody"), "publish", "site/1", Reason.UNKNOWN_DEVICE),
    (Client("retired"), "publish", "site/1", Reason.DEVICE_DISABLED),
    (Client("pump-2", "pump-1"), "publish", "site/1", Reason.CLIENT_ID_NOT_BOUND),
    (Client("root"), "subscribe", "#", Reason.SUPERUSER),
    (Client("broken"), "publish", "site/1", Reason.POLICY_BROKEN),
]


def test_it_says_what_the_endpoint_answers(start_endpoint: StartEndpoint) -> None:
    set_up()
    node = Node(VERSIONS[2])

    def answered(hook: Hook, client: Client, **values: Any) -> bool:
        method, request = node.request(hook, client, **values)
        rpc: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method.path)
        reply = rpc(request, timeout=60, metadata=headers_of(method))
        assert reply in (ALLOW, DENY)
        return reply == ALLOW

    with start_endpoint() as endpoint, open_channel(Target(endpoint.address)) as channel:
        for client, reason in CONNECTS:
            explained = explain_connect(client)
            assert explained.decision.reason == reason, client
            assert answered(Hook.CLIENT_AUTHENTICATE, client) == explained.decision.allow, client
        for client, action, topic, reason in ACCESSES:
            explained = explain_access(client, AccessRequest(Action(action), topic))
            assert explained.decision.reason == reason, (client, action, topic)
            values = {"type": int(action == "subscribe"), "topic": topic}
            assert answered(Hook.CLIENT_AUTHORIZE, client, **values) == explained.decision.allow, (
                client,
                topic,
            )


@pytest.fixture
def token(db: None) -> str:
    return set_up()


def publish(client: Client, topic: str) -> Explained:
    return explain_access(client, AccessRequest(Action.PUBLISH, topic))


def test_every_check_of_the_endpoint_has_words() -> None:
    assert list(CHECKED) == [reason for _, reason in CHECKS]


def test_all_checks_are_made_even_after_one_failed(token: str) -> None:
    explained = publish(Client("other", "at-home", address="203.0.113.1"), "site/1")
    failed = [check.reason for check in explained.checks if not check.passed]
    assert failed == [Reason.CLIENT_ID_NOT_BOUND, Reason.ADDRESS_NOT_ALLOWED]
    assert [check.words for check in explained.checks] == [EXISTS, *CHECKED.values()]
    assert explained.decision.reason == failed[0]


def test_a_stranger_has_one_check(token: str) -> None:
    explained = publish(Client("nobody"), "site/1")
    assert [(check.words, check.passed) for check in explained.checks] == [(EXISTS, False)]
    assert explained.considered == ()


def test_rules_are_shown_in_evaluation_order_and_the_first_that_matches_decides(token: str) -> None:
    explained = publish(PUMP, "site/secret/plan")
    shown = [(str(tried.rule.ref), tried.matched) for tried in explained.considered]
    assert shown == [
        ("allow publish alarm/${clientid} (priority 10) (device pump-1)", False),
        ("deny all site/secret/# (policy base)", True),
        ("allow all site/# (policy base)", True),
        ("allow publish desk/# from 198.51.100.0/24 (policy office)", False),
    ]
    assert explained.deciding is explained.considered[1]
    assert explained.considered[3].why == "the address is not in its networks"


def test_no_rule_decided_where_none_matched(token: str) -> None:
    assert publish(PUMP, "elsewhere").deciding is None


def test_a_shared_subscription_is_judged_by_its_filter(token: str) -> None:
    explained = explain_access(PUMP, AccessRequest(Action.SUBSCRIBE, "$share/g/site/1/#"))
    assert explained.topic == "site/1/#"


def test_a_login_shows_how_the_device_proved_itself(token: str) -> None:
    explained = explain_connect(PUMP._replace(password=token))
    assert explained.decision.reason == Reason.CREDENTIAL_VERIFIED
    assert explained.live_credentials == 2
    assert (explained.checks[-1].words, explained.checks[-1].passed) == (PROVES_ITSELF, True)
    assert explain_connect(Client("retired")).checks[-1].words != PROVES_ITSELF


@pytest.mark.parametrize(
    ("client", "source"),
    [
        (Client("x", "pump-1"), IdentitySource.USERNAME),
        (Client("pump-1"), IdentitySource.CLIENT_ID),
        (Client("x", cn="meter.example"), IdentitySource.CERTIFICATE_CN),
        (Client("x"), None),
    ],
)
def test_it_tells_by_what_the_device_was_found(
    client: Client, source: IdentitySource | None, token: str
) -> None:
    assert publish(client, "a").found_by == source


def test_a_policy_that_does_not_compile_is_named(token: str) -> None:
    assert "device broken" in publish(Client("broken"), "a").problem
    Rule.objects.filter(policy__name="office").update(topic_filter="a/#/b")
    problem = publish(PUMP, "a").problem
    assert "policy office" in problem
    assert "a/#/b" in problem


def run_explain(*arguments: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    output = StringIO()
    try:
        call_command("explain", *arguments, stdout=output)
    except SystemExit as ended:
        return int(str(ended.code)), output.getvalue()
    except CommandError as error:
        return error.returncode, str(error)
    return 0, output.getvalue()


def test_the_command_prints_decision_checks_and_rules(token: str) -> None:
    code, output = run_explain("--client", "pump-1", "--publish", "site/secret/plan")
    assert code == 1
    assert "Device    pump-1, found by client id" in output
    assert "Decision  DENY: denied by a rule (rule_denies)" in output
    assert "Rule: deny all site/secret/# (policy base)" in output
    assert f"Policies  revision {load_policy_book().revision}\n" in output
    assert "✓ the device is enabled" in output
    assert re.search(r"2\. ✓ deny all site/secret/# \(policy base\)  ← decides\n +its filter matches", output)
    assert output.count("← decides") == 1


def test_the_command_s_exit_code_is_the_decision(token: str, tmp_path: Path) -> None:
    assert run_explain("--client", "pump-1", "--subscribe", "site/1/#")[0] == 0
    assert run_explain("--client", "pump-1", "--connect")[0] == 1
    (tmp_path / "token").write_text(token + "\n")
    code, output = run_explain("--client", "pump-1", "--connect", "--password-file", str(tmp_path / "token"))
    assert code == 0
    assert "Live credentials: 2." in output
    assert token not in output


def test_several_topics_are_answered_in_their_order_and_one_denial_is_a_denial(token: str) -> None:
    allowed = ("--client", "pump-1", "--publish", "alarm/pump-1", "--subscribe", "site/1/#")
    code, output = run_explain(*allowed)
    assert code == 0
    assert re.findall(r"^Asked +(.*)", output, re.MULTILINE) == [
        "publish alarm/pump-1",
        "subscribe to site/1/#",
    ]
    code, output = run_explain(*allowed, "--publish", "elsewhere", "--publish", "site/1")
    assert (code, output.count("Decision  ALLOW"), output.count("Decision  DENY")) == (1, 3, 1)


def test_programs_get_what_the_api_answers(token: str) -> None:
    call = Caller(create_key("program", [Scope.CHECK])[1])
    topics = ["site/1/temperature", "site/secret/plan", "site/+"]
    arguments = [part for topic in topics for part in ("--publish", topic)]
    code, output = run_explain("--client", "pump-1", *arguments, "--json")
    assert code == 1
    asked = {"client": {"client_id": "pump-1"}, "action": "publish", "topics": topics}
    assert [json.loads(line) for line in output.splitlines()] == call("post", "check/", asked).json()[
        "results"
    ]
    code, output = run_explain("--client", "pump-1", "--connect", "--json")
    asked = {"client": {"client_id": "pump-1"}, "action": "connect"}
    assert (code, [json.loads(output)]) == (1, call("post", "check/", asked).json()["results"])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--publish", "a"], "--client"),
        (["--client", "x"], "--connect --publish --subscribe"),
        (["--client", "x", "--publish", "a", "--connect"], "not allowed with"),
        (["--client", "x", "--publish", "a", "--password-file", "f"], "when connecting only"),
        (["--client", "x", "--connect", "--password-file", "no-such"], "no-such: No such file"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(arguments: list[str], problem: str) -> None:
    code, output = run_explain(*arguments)
    assert code != 0
    assert problem in output


def test_a_chaining_operator_is_told_what_emqx_hears(token: str, settings: Any) -> None:
    settings.EXHOOK_CHAIN_UNKNOWN = True
    code, output = run_explain("--client", "nobody", "--connect")
    assert code == 1
    assert "EMQX is told to ask its next authenticator" in output
