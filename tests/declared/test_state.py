"""plan and apply: only what differs is changed, all of it or nothing."""

from pathlib import Path
from typing import Any

import pytest

from accounts import services as accounts_services
from accounts.models import DeviceGroup
from acl import services
from acl.models import Policy, Rule
from exhookadmin.declared.differences import lines
from exhookadmin.declared.document import NotUnderstood, read_document, write_document
from exhookadmin.declared.state import ChangedMeanwhile, apply, current_state, plan
from tests.cli.conftest import run
from tests.declared.test_document import FLEET

__all__ = ["run"]

pytestmark = pytest.mark.django_db


def make(text: str, prune: bool = False) -> list[str]:
    declared = read_document(text)
    changes = plan(declared, prune)
    apply(declared, changes, prune)
    return list(lines(changes))


def test_from_nothing_to_the_file_and_then_nothing_more():
    assert make(FLEET) == [
        "+ group pumps",
        "    description: nothing → “all pumps”",
        "+ policy empty",
        "+ policy fleet",
        "    everyone: no → yes",
        "    groups: none → pumps",
        "    + deny all dev/+/secret (priority 10; “never”)",
        "    + allow publish dev/${clientid}/# (from 192.0.2.0/24, 2001:db8::/32)",
    ]
    assert not plan(read_document(FLEET))
    assert make(FLEET) == []
    assert read_document(write_document(current_state())) == current_state()


def test_what_stays_keeps_its_row():
    make(FLEET)
    kept = Rule.objects.get(effect="deny").pk
    changed = FLEET.replace("action: publish", "action: subscribe")
    assert make(changed) == [
        "~ policy fleet",
        "    - allow publish dev/${clientid}/# (from 192.0.2.0/24, 2001:db8::/32)",
        "    + allow subscribe dev/${clientid}/# (from 192.0.2.0/24, 2001:db8::/32)",
    ]
    assert Rule.objects.get(effect="deny").pk == kept


def test_what_is_not_named_stays_unless_pruned():
    make(FLEET)
    services.create_rule(services.create_policy("by hand"), "allow", "all", "a")
    device = accounts_services.create_device("pump-17", groups=DeviceGroup.objects.all())
    assert make(FLEET) == []
    assert make("policies: {fleet: {}}", prune=True)[:1] == ["- group pumps"]
    assert list(Policy.objects.values_list("name", flat=True)) == ["fleet"]
    assert not device.groups.exists()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("policies: {a: {groups: [nobody]}}", "policies.a.groups"),
        ("policies: {a: {rules: [{effect: allow, action: all, topic_filter: a/#/b}]}}", "policies.a.rules"),
        (
            "policies: {a: {rules: [{effect: allow, action: all, topic_filter: a, networks: [x]}]}}",
            "networks",
        ),
        (f"policies: {{{'a' * 151}: {{}}}}", "name"),
        (f"groups: {{{'a' * 151}: {{}}}}", "name"),
    ],
)
def test_what_the_database_would_refuse_is_told_by_the_plan(text: str, place: str):
    with pytest.raises(NotUnderstood) as error:
        plan(read_document(text))
    assert place in str(error.value)


def test_what_was_not_planned_is_not_done():
    declared = read_document(FLEET)
    changes = plan(declared)
    services.create_policy("fleet", enabled=False)
    with pytest.raises(ChangedMeanwhile):
        apply(declared, changes)
    assert list(Policy.objects.values_list("name", "enabled")) == [("fleet", False)]


def test_two_equal_rules_are_two():
    twice = "policies: {a: {rules: [" + "{effect: allow, action: all, topic_filter: a}, " * 2 + "]}}"
    assert len(make(twice)) == 3
    assert make(twice.replace(", {", ", {", 1)) == []
    assert make(twice.rpartition("{effect")[0] + "]}}") == ["~ policy a", "    - allow all a"]


def test_the_commands_and_their_exit_codes(run: Any, tmp_path: Path):
    file = tmp_path / "policies.yaml"
    file.write_text(FLEET)
    assert run("plan", str(file)) == 1
    assert not Policy.objects.exists()
    assert run("apply", str(file)) == 2
    assert run("apply", str(file), "--yes").endswith("Done.\n")
    assert "Nothing" in run("plan", str(file))
    assert "Nothing" in run("apply", str(file), "--yes")
    file.write_text(run("plan", "--current"))
    assert "Nothing" in run("plan", str(file), "--prune")
    file.write_text("policies: {a: {rules: 7}}")
    assert run("plan", str(file)) == 2
    assert run("plan", str(tmp_path / "nowhere")) == 2
