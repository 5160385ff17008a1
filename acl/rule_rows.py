"""A table of rules as a browser sends it, before anything is stored: for remarks, and for a look ahead."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from django.http import QueryDict

from acl.core.rule_lines import UNSAVED
from acl.core.rules import Rule as CoreRule
from acl.drafts import NEW_POLICY, PolicyDraft, source_of
from acl.forms import DEVICES_IN_A_FORM, UnstoredRuleForm
from acl.models import Policy, Rule
from acl.rulesets import core_rules

PREFIX = "rules"
ROWS = 1_000
"""Django refuses forms with more fields than that."""


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One row. `rule` is None where the row is wrong, switched off or about to be removed."""

    prefix: str
    rule_id: int | None
    rule: CoreRule | None
    problems: tuple[str, ...] = ()


def read_rows(data: Mapping[str, str], source: str) -> list[RuleRow]:
    """The rows that are filled in. New rules are younger than all that are stored."""
    return list(_rows(data, source))


def all_rules(rows: Iterable[RuleRow], stored: Iterable[Rule], source: str) -> tuple[CoreRule, ...]:
    """The rules as they would be: those of the rows, and the stored ones that the form did not hold.

    Raises ValueError for stored networks that cannot be read.
    """
    rows = tuple(rows)
    held = {row.rule_id for row in rows}
    elsewhere = core_rules((rule for rule in stored if rule.pk not in held), source)
    return (*(row.rule for row in rows if row.rule is not None), *elsewhere)


def policy_draft(data: QueryDict, policy: Policy | None) -> tuple[PolicyDraft, list[RuleRow]]:
    """The policy as a submitted form says it, `policy` being what is stored, with the rows it was read from.

    Rows that are wrong are left out. Raises ValueError for stored networks that cannot be read.
    """
    name = data.get("name", "") or (policy.name if policy else "new policy")
    source = source_of(name)
    rows = read_rows(data, source)
    draft = PolicyDraft(
        policy.pk if policy else NEW_POLICY,
        name,
        all_rules(rows, policy.rules.all() if policy else (), source),
        enabled="enabled" in data,
        everyone="everyone" in data,
        group_ids=_numbers(data, "groups"),
        # A policy with very many devices shows none of them in its form, and keeps them.
        device_ids=_numbers(data, "devices") if policy is None or "devices" in data or _few(policy) else None,
    )
    return draft, rows


def _few(policy: Policy) -> bool:
    return policy.devices.all()[: DEVICES_IN_A_FORM + 1].count() <= DEVICES_IN_A_FORM


def _numbers(data: QueryDict, name: str) -> frozenset[int]:
    return frozenset(number for text in data.getlist(name) if (number := number_in(text)) is not None)


def _rows(data: Mapping[str, str], source: str) -> Iterator[RuleRow]:
    for number in range(min(number_in(data.get(f"{PREFIX}-TOTAL_FORMS")) or 0, ROWS)):
        prefix = f"{PREFIX}-{number}"
        rule_id = number_in(data.get(f"{prefix}-id"))
        if f"{prefix}-topic_filter" not in data or (rule_id is None and not data[f"{prefix}-topic_filter"]):
            continue
        if data.get(f"{prefix}-DELETE"):
            yield RuleRow(prefix, rule_id, None)
            continue
        form = UnstoredRuleForm(data, prefix=prefix, instance=Rule(pk=rule_id or UNSAVED + number))
        if form.is_valid():
            rules = core_rules([form.instance], source)
            yield RuleRow(prefix, rule_id, rules[0] if rules else None)
        else:
            problems = (str(text) for texts in form.errors.values() for text in texts)
            yield RuleRow(prefix, rule_id, None, tuple(problems))


def number_in(text: str | None) -> int | None:
    """The number that a form or an address holds; None for anything that no row can have as its number."""
    return int(text) if text and text.isdecimal() and len(text) < 19 else None
