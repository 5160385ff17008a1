"""Files into the database: upsert by username, lists as a whole, nothing at all where something is wrong."""

import csv
import hashlib
import io
import json
from typing import Any

import pytest
from django.db import connection

from accounts import services
from accounts.core.binding import Binding
from accounts.core.client import Client
from accounts.core.tokens import encode_token, generate_token, token_matches
from accounts.models import Credential, Device, DeviceGroup
from accounts.passwords import encode_password, is_ours, password_matches
from acl.core.decide import AccessRequest
from acl.core.rules import Action
from acl.models import Policy, Rule
from acl.services import create_policy, create_rule
from exhookadmin.explain import explain_access
from exhookadmin.fleet import importing
from exhookadmin.fleet.applying import Applying
from exhookadmin.fleet.formats.options import Options
from exhookadmin.fleet.importing import Choices, ImportRefused, import_fleet
from exhookadmin.fleet.models import ImportRun
from exhookadmin.fleet.records import Kind
from exhookadmin.fleet.report import Report
from exhookadmin.staff.models import RecordedChange
from tests.fleet.formats.test_acl_conf import EXAMPLE
from tests.fleet.formats.test_dynamic_security import EXAMPLE as DYNAMIC_SECURITY
from tests.fleet.formats.test_malformed import GOOD
from tests.fleet.formats.test_malformed import OPTIONS as FORMAT_OPTIONS

pytestmark = pytest.mark.django_db
TOKEN = generate_token()


def run(format_name: str, content: str, *, choices: dict[str, bool] | None = None, **options: Any) -> Report:
    """Imports; the report, also where the import was refused."""
    report = Report(io.StringIO())
    chosen = choices or {}
    given = Options(**{"name": "test", "widen_denies": chosen.get("widen_denies", False), **options})
    try:
        import_fleet(format_name, io.BytesIO(content.encode()), given, Choices(**chosen), report)
    except ImportRefused:
        report.outcomes["nothing"] = 1
    return report


def written(report: Report) -> str:
    """The file of the report."""
    assert isinstance(report.file, io.StringIO)
    return report.file.getvalue()


def outcomes(report: Report) -> dict[str, int]:
    return dict(report.outcomes)


def everything() -> list[str]:
    """Every row of every table but the imports' own, as text."""
    with connection.cursor() as cursor:
        rows = []
        for table in sorted(connection.introspection.table_names(cursor)):
            if table not in ("exhookadmin_importrun", "exhookadmin_revision", "django_migrations"):
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                rows += sorted(f"{table}: {row}" for row in cursor.fetchall())
    return rows


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def users(*pairs: tuple[str, str]) -> str:
    """EMQX's CSV: usernames and passwords, with the salt “s”."""
    rows = [f"{name},{digest('s' + password)},s,false\n" for name, password in pairs]
    return "user_id,password_hash,salt,is_superuser\n" + "".join(rows)


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(importing, "BATCH", 2)


# Devices


def test_devices_are_created_then_unchanged_then_updated(small_batches):
    first = "username,description,groups,attr.site\n" + "".join(f"p{n},d,pumps,berlin\n" for n in range(5))
    assert outcomes(run("devices-csv", first)) == {"created": 5}
    assert outcomes(run("devices-csv", first)) == {"unchanged": 5}
    changed = first.replace("p3,d,", "p3,other,").replace("p4,d,pumps", "p4,d,pumps;more") + "p9,d,,berlin\n"
    assert outcomes(run("devices-csv", changed)) == {"created": 1, "unchanged": 3, "updated": 2}
    assert Device.objects.get(username="p3").description == "other"
    assert {group.name for group in Device.objects.get(username="p4").groups.all()} == {"pumps", "more"}
    assert Device.objects.get(username="p0").attributes == {"site": "berlin"}


def test_a_column_that_is_missing_leaves_the_field_alone():
    services.create_device("p1", description="mine", enabled=False, attributes={"a": "b"})
    run("devices-csv", "username,superuser\np1,true\n")
    device = Device.objects.get()
    assert (device.description, device.enabled, device.attributes, device.superuser) == (
        "mine",
        False,
        {"a": "b"},
        True,
    )


def test_a_wrong_row_is_refused_with_line_field_and_reason_and_the_others_are_stored():
    content = "username,networks\np1,10.0.0.0/8\np2,10.0.0.7/8\n" + "x" * 600 + ",\np3,\n"
    report = run("devices-csv", content)
    assert outcomes(report) == {"created": 2, "refused": 2}
    assert [(one.line, one.field) for one in report.findings] == [(3, "networks"), (4, "username")]
    assert "host bits" in report.findings[0].reason
    rows = list(csv.reader(io.StringIO(written(report))))
    assert rows[0] == ["line", "name", "outcome", "field", "reason"]
    assert [(row[0], row[2]) for row in rows[1:]] == [
        ("2", "created"),
        ("3", "refused"),
        ("4", "refused"),
        ("5", "created"),
    ]


def test_a_common_name_belongs_to_one_device_only():
    services.create_device("taken", certificate_cn="cn-1")
    report = run("devices-csv", "username,certificate_cn\np1,cn-1\np2,cn-2\n")
    assert outcomes(report) == {"created": 1, "refused": 1}
    assert outcomes(run("devices-csv", "username,certificate_cn\np3,cn-9\np4,cn-9\n")) == {"nothing": 1}


def test_a_name_that_is_there_twice_stops_the_import_wherever_it_is(small_batches):
    content = "username\n" + "".join(f"p{n}\n" for n in range(7)) + "p1\n"
    report = run("devices-csv", content)
    assert outcomes(report) == {"nothing": 1}
    assert [(one.line, one.reason) for one in report.findings] == [(9, "device p1 was on line 3 already")]
    assert not Device.objects.exists()


def test_tokens_are_stored_as_they_are_and_only_once():
    content = f"username,credential,credential_kind,credential_label\np1,{encode_token(TOKEN)},token,new\n"
    assert outcomes(run("devices-csv", content)) == {"created": 1}
    assert outcomes(run("devices-csv", content)) == {"unchanged": 1}
    credential = Credential.objects.get()
    assert (credential.kind, credential.label) == ("token", "new")
    assert token_matches(credential.encoded, TOKEN)


def test_a_password_in_clear_is_hashed_and_nowhere_else():
    content = "user_id,password,is_superuser\nu1,the-secret-itself,true\n"
    for outcome in ("created", "unchanged"):
        report = run("emqx-users-csv", content, plain=True)
        assert outcomes(report) == {outcome: 1}
        assert "the-secret-itself" not in written(report)
    credential = Credential.objects.get()
    assert is_ours(credential.encoded)
    assert password_matches(credential.encoded, "the-secret-itself")
    assert "the-secret-itself" not in "".join(everything())


def test_a_password_that_no_device_could_send_is_refused():
    report = run(
        "emqx-users-json", json.dumps([{"user_id": "u1", "password": "exh_" + "a" * 32}]), plain=True
    )
    assert outcomes(report) == {"refused": 1}
    assert not Credential.objects.exists()


def test_an_imported_hash_that_a_login_upgraded_is_not_put_back():
    content = users(("u1", "one"), ("u2", "two"))
    assert outcomes(run("emqx-users-csv", content, algorithm="sha256")) == {"created": 2}
    credential = Credential.objects.get(device__username="u1")
    assert password_matches(credential.encoded, "one")
    services.replace_encoded(credential.pk, credential.encoded, encode_password("one"))
    assert outcomes(run("emqx-users-csv", content, algorithm="sha256")) == {"unchanged": 2}
    credential.refresh_from_db()
    assert is_ours(credential.encoded)


def test_another_password_in_the_file_replaces_the_one_that_was_imported_and_no_other():
    run("emqx-users-csv", users(("u1", "old")), algorithm="sha256")
    services.add_password(Device.objects.get(), "set by hand")
    assert outcomes(run("emqx-users-csv", users(("u1", "new")), algorithm="sha256")) == {"updated": 1}
    matching = {
        password
        for password in ("old", "new", "set by hand")
        if any(password_matches(one.encoded, password) for one in Credential.objects.all())
    }
    assert matching == {"new", "set by hand"}


def test_the_label_of_an_imported_hash_helps_nobody_to_guess_it(settings):
    run("emqx-users-csv", users(("u1", "one")), algorithm="sha256")
    [label] = Credential.objects.values_list("label", flat=True)
    Device.objects.all().delete()
    settings.SECRET_KEY = "another-key-" + "1" * 40
    run("emqx-users-csv", users(("u1", "one")), algorithm="sha256")
    assert Credential.objects.get().label != label


def test_the_binding_of_imported_devices_is_the_safe_one_unless_the_operator_says_otherwise():
    run("emqx-users-csv", users(("u1", "one")), algorithm="sha256")
    run("emqx-users-csv", users(("u2", "two")), algorithm="sha256", binding=Binding.ANY)
    bindings = Device.objects.order_by("username").values_list("client_id_binding", flat=True)
    assert list(bindings) == ["equals_username", "any"]


def test_a_ban_disables_a_device_and_makes_none():
    services.create_device("u1")
    bans = "as,who,reason,at,until,by\nusername,u1,,,infinity,\nusername,u2,,,infinity,\n"
    report = run("emqx-banned-csv", bans)
    assert outcomes(report) == {"updated": 1, "refused": 1}
    assert [device.enabled for device in Device.objects.all()] == [False]


# Lists of rules


@pytest.fixture
def named():
    """The devices that the example of acl.conf names."""
    return {name: services.create_device(name) for name in ("dashboard", "svc", "gateway", "u")}


ACCEPTED = {"drop_allows": True, "widen_denies": True}


def allowed(username: str, action: Action, topic: str, address: str = "203.0.113.9") -> bool:
    client = Client(client_id=username, username=username, address=address)
    return explain_access(client, AccessRequest(action, topic)).decision.allow


def test_acl_conf_becomes_a_policy_for_everyone_and_rules_of_devices(named):
    report = run("emqx-acl-conf", EXAMPLE, choices=ACCEPTED, name="acl.conf")
    assert outcomes(report) == {"created": 10}
    policy = Policy.objects.get()
    assert (policy.name, policy.everyone, policy.rules.count()) == ("acl.conf", True, 8)
    assert Rule.objects.filter(device=named["dashboard"]).get().note == "acl.conf, line 1"
    assert allowed("dashboard", Action.SUBSCRIBE, "$SYS/#")
    assert not allowed("u", Action.SUBSCRIBE, "$SYS/#")
    assert allowed("u", Action.SUBSCRIBE, "$SYS/#", "127.0.0.1")
    assert allowed("u", Action.PUBLISH, "up/u/x")
    assert not allowed("u", Action.PUBLISH, "up/dashboard/x")
    assert allowed("svc", Action.PUBLISH, "cmd/x", "10.1.2.3")
    assert not allowed("svc", Action.PUBLISH, "cmd/x")


@pytest.mark.parametrize("chosen", [{}, {"drop_allows": True}, {"widen_denies": True}], ids=str)
def test_nothing_is_changed_until_everything_that_is_lost_was_accepted(named, chosen):
    before = everything()
    report = run("emqx-acl-conf", EXAMPLE, choices=chosen)
    assert outcomes(report) == {"nothing": 1}
    assert {Kind.ALLOW_LOST, Kind.DENY_WIDER} <= report.kinds.keys()
    assert everything() == before


def test_a_list_that_is_imported_again_replaces_itself_and_nothing_else(named, small_batches):
    mine = create_rule(named["u"], "deny", "all", "mine/#")
    content = '{deny, {user, "u"}, all, ["a"]}.\n{allow, all, all, ["b"]}.\n{deny, all, all, ["c"]}.\n'
    assert outcomes(run("emqx-acl-conf", content)) == {"created": 3}
    assert outcomes(run("emqx-acl-conf", content)) == {"unchanged": 3}
    shorter = '{deny, {user, "u"}, all, ["a"]}.\n{deny, all, all, ["d"]}.\n'
    assert outcomes(run("emqx-acl-conf", shorter)) == {"created": 1, "removed": 2, "unchanged": 1}
    assert set(Rule.objects.values_list("topic_filter", flat=True)) == {"mine/#", "a", "d"}
    assert Rule.objects.filter(pk=mine.pk).exists()
    assert outcomes(run("emqx-acl-conf", shorter, name="other")) == {"created": 2}


def test_the_same_rule_twice_in_a_list_is_one(small_batches):
    content = "user a\ntopic read x\ntopic write y\ntopic read x\ntopic read x\n"
    services.create_device("a")
    assert outcomes(run("mosquitto-acl", content)) == {"created": 2, "unchanged": 2}


def test_a_rule_of_a_device_that_is_not_there_is_not_lost_silently():
    denies = '{deny, {user, "nobody"}, all, ["a"]}.'
    report = run("emqx-acl-conf", denies, choices=ACCEPTED)
    assert outcomes(report) == {"nothing": 1}
    assert "import the users first" in report.findings[0].reason
    allows = denies.replace("deny", "allow")
    assert outcomes(run("emqx-acl-conf", allows)) == {"nothing": 1}
    assert outcomes(run("emqx-acl-conf", allows, choices=ACCEPTED)) == {}


CLIENT_DEVICES: dict[str, dict[str, Any]] = {
    "equal": {"username": "c1"},
    "exact": {"username": "d1", "client_id_binding": "exact", "client_id": "c1"},
    "any": {"username": "d2", "client_id_binding": "any"},
    "prefix": {"username": "d3", "client_id_binding": "prefix", "client_id": "c-"},
}


@pytest.mark.parametrize(
    ("devices", "client_id", "effect", "kind", "owners"),
    [
        (["equal"], "c1", "allow", None, ["c1"]),
        (["equal"], "c1", "deny", None, ["c1"]),
        (["exact"], "c1", "deny", None, ["d1"]),
        (["exact", "equal"], "c1", "deny", None, ["c1", "d1"]),
        (["exact", "any"], "c1", "allow", None, ["d1"]),
        (["exact", "any"], "c1", "deny", Kind.DENY_WIDER, None),
        (["prefix"], "c-1", "deny", Kind.DENY_WIDER, None),
        (["prefix"], "c-1", "allow", Kind.ALLOW_LOST, None),
        (["equal", "prefix"], "c1", "deny", None, ["c1"]),
        ([], "c1", "deny", Kind.DENY_WIDER, None),
        ([], "c1", "allow", Kind.ALLOW_LOST, None),
    ],
)  # fmt: skip
def test_a_rule_of_a_client_id_belongs_to_the_devices_that_are_bound_to_it(
    devices, client_id, effect, kind, owners
):
    for name in devices:
        services.create_device(**CLIENT_DEVICES[name])
    content = f'{{{effect}, {{clientid, "{client_id}"}}, all, ["a"]}}.'
    report = run("emqx-acl-conf", content)
    assert list(report.kinds) == ([kind] if kind else [])
    if owners is not None:
        assert sorted(Rule.objects.values_list("device__username", flat=True)) == owners
        return
    assert not Rule.objects.exists()
    run("emqx-acl-conf", content, choices=ACCEPTED)
    everyones = Rule.objects.filter(policy__everyone=True, effect="deny").count()
    assert (everyones, Rule.objects.count()) == ((1, 1) if effect == "deny" else (0, 0))


def test_a_user_and_a_client_id_together():
    services.create_device("u", client_id_binding="exact", client_id="c1")
    services.create_device("v", client_id_binding="any")
    rule = '{deny, {\'and\', [{user, "%s"}, {clientid, "c1"}]}, all, ["a"]}.'
    assert outcomes(run("emqx-acl-conf", rule % "u")) == {"created": 1}
    assert outcomes(run("emqx-acl-conf", rule % "v", name="two")) == {"nothing": 1}
    assert outcomes(run("emqx-acl-conf", rule % "v", name="two", choices=ACCEPTED)) == {"created": 1}
    assert sorted(Rule.objects.values_list("device__username", flat=True)) == ["u", "v"]


def test_a_policy_of_this_name_that_is_not_for_everyone_is_left_alone():
    create_policy("acl.conf")
    report = run("emqx-acl-conf", "{deny, all}.", name="acl.conf")
    assert outcomes(report) == {"nothing": 1}
    assert "choose another name" in report.findings[0].reason


def test_a_priority_beyond_the_limit_stops_the_import():
    content = '{deny, all, all, ["a"]}.\n{deny, all, all, ["b"]}.\n'
    report = run("emqx-acl-conf", content, priority=-1_000_000)
    assert outcomes(report) == {"nothing": 1}
    assert [(one.line, one.field) for one in report.findings] == [(2, "priority")]


def test_emqx_rules_are_a_list_for_each_subject_and_are_replaced_one_by_one(small_batches):
    for name in ("u1", "u2", "u3"):
        services.create_device(name)
    rule = {"permission": "allow", "action": "publish", "topic": "a"}
    document = [{"username": f"u{n}", "rules": [rule, rule | {"topic": "b"}]} for n in (1, 2, 3)]
    document.append({"clientid": "u1", "rules": [rule | {"topic": "c"}]})
    assert outcomes(run("emqx-rules-json", json.dumps(document))) == {"updated": 4}
    assert outcomes(run("emqx-rules-json", json.dumps(document))) == {"unchanged": 4}
    assert Rule.objects.count() == 7
    document[1]["rules"] = []
    assert outcomes(run("emqx-rules-json", json.dumps(document[:2]))) == {"unchanged": 1, "updated": 1}
    left = Rule.objects.order_by("device__username", "topic_filter").values_list(
        "device__username", "topic_filter"
    )
    assert list(left) == [("u1", "a"), ("u1", "b"), ("u1", "c"), ("u3", "a"), ("u3", "b")]


def test_the_rules_of_everyone_in_emqx():
    rules = {"rules": [{"permission": "deny", "action": "all", "topic": "a", "qos": 1}]}
    assert outcomes(run("emqx-rules-json", json.dumps(rules))) == {"nothing": 1}
    run("emqx-rules-json", json.dumps(rules), choices=ACCEPTED)
    policy = Policy.objects.get()
    assert (policy.everyone, [str(rule) for rule in policy.rules.all()]) == (True, ["deny all a"])


def test_dynamic_security_becomes_policies_groups_and_devices():
    content = json.dumps(DYNAMIC_SECURITY)
    first = run("mosquitto-dynamic-security", content)
    assert outcomes(first) == {"created": 10}
    assert set(outcomes(run("mosquitto-dynamic-security", content))) == {"unchanged"}
    common = Policy.objects.get(name="test: common")
    assert [group.name for group in common.groups.all()] == ["staff"]
    assert [device.username for device in Policy.objects.get(name="test: special").devices.all()] == ["alice"]
    alice = Client(client_id="a-1", username="alice", address="192.0.2.7")
    for action, topic, answer in [
        (Action.PUBLISH, "up/alice/x", True),
        (Action.PUBLISH, "up/alice/secret", False),
        (Action.PUBLISH, "x", True),
        (Action.SUBSCRIBE, "down/#", True),
        (Action.SUBSCRIBE, "down/a-1/#", True),
        (Action.SUBSCRIBE, "down/other/#", False),
    ]:
        assert explain_access(alice, AccessRequest(action, topic)).decision.allow is answer, topic


def test_vernemq_replaces_its_own_rules_of_a_device_and_no_others():
    device = services.create_device("u1", client_id_binding="any")
    create_rule(device, "deny", "all", "mine/#")
    row = {"client_id": "c1", "username": "u1", "publish_acl": [{"pattern": "a"}, {"pattern": "b"}]}
    assert outcomes(run("vernemq-json", json.dumps([row]))) == {"updated": 1}
    assert outcomes(run("vernemq-json", json.dumps([row]))) == {"unchanged": 1}
    row["publish_acl"] = []
    assert outcomes(run("vernemq-json", json.dumps([row]))) == {"updated": 1}
    assert [rule.topic_filter for rule in Rule.objects.all()] == ["mine/#"]


def test_our_own_lines_hold_a_whole_fleet():
    rule = {"effect": "allow", "action": "all", "topic_filter": "a/#"}
    lines = [
        {"type": "group", "name": "pumps", "description": "wet"},
        {"type": "policy", "name": "base", "groups": ["pumps"], "rules": [rule]},
        {"type": "device", "username": "p1", "groups": ["pumps"], "rules": [rule, rule | {"priority": 5}]},
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines)
    assert outcomes(run("fleet-jsonl", content)) == {"created": 3, "updated": 1}
    assert outcomes(run("fleet-jsonl", content)) == {"unchanged": 4}
    assert DeviceGroup.objects.get().description == "wet"
    assert Policy.objects.get().rules.count() == 1
    assert Device.objects.get().rules.count() == 2
    assert allowed("p1", Action.PUBLISH, "a/b")


# The import as a whole


@pytest.mark.parametrize("name", GOOD)
def test_a_dry_run_says_what_an_import_does_and_changes_nothing(name):
    for username in ("u1", "u2"):
        if "users" not in name and "passwords" not in name and name not in ("devices-csv", "fleet-jsonl"):
            services.create_device(username)
    before = everything()
    said = run(name, GOOD[name], choices={"dry_run": True}, **FORMAT_OPTIONS)
    assert everything() == before
    assert not ImportRun.objects.exists()
    done = run(name, GOOD[name], **FORMAT_OPTIONS)
    assert "nothing" not in done.outcomes
    assert outcomes(said) == outcomes(done)
    assert everything() != before


@pytest.mark.parametrize("name", GOOD)
def test_a_file_that_is_wrong_at_its_end_changes_nothing(name, small_batches):
    for username in ("u1", "u2"):
        services.create_device(username)
    before = everything()
    report = run(name, GOOD[name] + "\x00", **FORMAT_OPTIONS)
    assert outcomes(report) == {"nothing": 1}
    assert report.kinds[Kind.ERROR] == 1
    assert everything() == before
    assert not ImportRun.objects.exists()


def test_an_import_that_was_interrupted_goes_on_where_it_was(small_batches, monkeypatch):
    content = "username\n" + "".join(f"p{n}\n" for n in range(9))
    stored: list[object] = []
    real = Applying.batch

    def interrupted(self, records):
        if len(stored) == 2:
            raise KeyboardInterrupt
        stored.append(records)
        return real(self, records)

    monkeypatch.setattr(Applying, "batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("devices-csv", content)
    assert (Device.objects.count(), ImportRun.objects.get().records) == (4, 4)
    monkeypatch.setattr(Applying, "batch", real)
    Device.objects.filter(username="p0").update(description="changed meanwhile")
    assert outcomes(run("devices-csv", content)) == {"created": 9}
    assert Device.objects.count() == 9
    assert ImportRun.objects.get().finished_at is not None
    assert outcomes(run("devices-csv", content)) == {"unchanged": 9}


def test_a_list_takes_effect_as_a_whole_or_not_at_all(small_batches, monkeypatch):
    content = "".join(f'{{allow, all, all, ["t{n}"]}}.\n' for n in range(9))
    stored: list[object] = []
    real = Applying.batch

    def interrupted(self, records):
        if len(stored) == 2:
            raise KeyboardInterrupt
        stored.append(records)
        return real(self, records)

    monkeypatch.setattr(Applying, "batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("emqx-acl-conf", content)
    assert not Rule.objects.exists()
    assert not Policy.objects.exists()
    monkeypatch.setattr(Applying, "batch", real)
    assert outcomes(run("emqx-acl-conf", content)) == {"created": 9}


@pytest.mark.parametrize("stage", ["new", "again"])
def test_a_batch_costs_a_fixed_number_of_queries(stage, django_assert_max_num_queries):
    def content(count: int, start: int) -> str:
        rows = [f"p{n},pumps,{encode_token(TOKEN)},token\n" for n in range(start, start + count)]
        return "username,groups,credential,credential_kind\n" + "".join(rows)

    run("devices-csv", content(1, 0))
    large = content(400, 1000)
    if stage == "again":
        run("devices-csv", large)
    # SQLite takes the rows of one statement in pieces.
    with django_assert_max_num_queries(30 if connection.vendor == "postgresql" else 80):
        run("devices-csv", large)
    assert Credential.objects.count() == 401


def test_what_an_import_changes_is_in_the_history_as_such_and_without_secrets():
    run("emqx-users-csv", users(("u1", "one")), algorithm="sha256")
    run("emqx-users-csv", users(("u1", "two")), algorithm="sha256")
    run("devices-csv", "username,groups,description\nu1,pumps,new\n")
    run("emqx-acl-conf", '{deny, {user, "u1"}, all, ["a"]}.')
    run("emqx-acl-conf", '{deny, {user, "u1"}, all, ["b"]}.')
    recorded = [(one.verb, one.kind) for one in RecordedChange.objects.order_by("pk")]
    assert recorded == [
        ("add", "accounts.device"),  # with its credentials
        ("add", "accounts.credential"),  # another secret is as good as another credential
        ("change", "accounts.device"),
        ("add", "accounts.devicegroup"),
        ("change", "accounts.device"),  # its groups
        ("add", "acl.rule"),
        ("add", "acl.rule"),
        ("delete", "acl.rule"),
    ]
    [label] = Credential.objects.values_list("label", flat=True)
    assert RecordedChange.objects.order_by("pk")[0].after["credentials"][0].startswith("password “imported")
    assert label.startswith("imported from EMQX #")
    assert {one.channel for one in RecordedChange.objects.all()} == {"import"}
    assert digest("sone") not in str(list(RecordedChange.objects.values()))


def test_a_report_is_safe_to_open_in_a_spreadsheet():
    document = json.dumps([{"user_id": "=cmd|' /C calc'!A0", "password": "x"}])
    report = run("emqx-users-json", document, plain=True)
    assert "'=cmd" in written(report)
    assert "\n=cmd" not in written(report)
    assert ",=cmd" not in written(report)
