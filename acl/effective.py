"""What a device may do: every rule that applies to it, in evaluation order, filled in for it."""

from dataclasses import dataclass, replace

from django.db.models import Q

from accounts.core.binding import Binding, prescribed_client_id
from accounts.core.client import Client
from accounts.core.principal import Principal
from accounts.models import Device
from accounts.principals import principal_of
from acl.core.lint import Flaw, lint
from acl.core.placeholders import Placeholder, parse_template
from acl.core.rules import Rule as CoreRule
from acl.core.rules import rule_filter_problem
from acl.drafts import source_of
from acl.models import Rule
from acl.rulesets import core_rules
from acl.sources import Source, sources_of

# A client id or CN that is not fixed differs from connection to connection.
_OF_CONNECTION = {"clientid": "client_id", "cn": "cn"}
_IDLE = (Flaw.UNREACHABLE, Flaw.NEVER_MATCHES)


@dataclass(frozen=True, slots=True)
class EffectiveRule:
    """One rule as it works for the device.

    `topic_filter` is filled in as far as that is the same for every connection. `flaw` says why it cannot be
    filled in at all; `idle` why the rule never decides, and `idle_because` which rules, by number, stand
    before it.
    """

    number: int
    rule: CoreRule
    topic_filter: str
    source: Source | None
    note: str
    flaw: str = ""
    idle: str = ""
    idle_because: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Permissions:
    """All of a device's rules. `problem` says what is wrong where they cannot be read: then all is denied."""

    principal: Principal | None
    client: Client
    rules: tuple[EffectiveRule, ...]
    problem: str = ""


def permissions_of(device: Device) -> Permissions:
    """The rules that apply to the device. Costs five queries, however many rules there are."""
    client_id = prescribed_client_id(Binding(device.client_id_binding), device.client_id, device.username)
    client = Client(client_id=client_id, username=device.username, cn=device.certificate_cn)
    try:
        principal = principal_of(device)
    except ValueError as problem:
        return Permissions(None, client, (), f"The device’s networks cannot be read: {problem}")
    sources = sources_of(principal)
    policies = [source.policy_id for source in sources.values() if source.policy_id is not None]
    rows = (
        Rule.objects.filter(enabled=True)
        .filter(Q(device=device) | Q(policy__in=policies, policy__enabled=True))
        .select_related("policy")
    )
    rules: list[CoreRule] = []
    notes: dict[int, str] = {}
    for row in rows:
        source = source_of(row.policy.name) if row.policy else f"device {device.username}"
        notes[row.pk] = row.note
        try:
            rules += core_rules([row], source)
        except ValueError as problem:
            return Permissions(principal, client, (), f"A rule of the {source} cannot be read: {problem}")
    rules.sort(key=lambda rule: rule.order)
    for rule in rules:
        wrong = rule_filter_problem(rule.topic_filter)
        if wrong is not None:
            return Permissions(principal, client, (), f"A rule of the {rule.source} is invalid: {wrong}")
    filled = [_filled(rule, client, principal) for rule in rules]
    idle = _idle(rules, filled)
    effective = (
        EffectiveRule(
            number,
            rule,
            each.text,
            sources.get(rule.source),
            notes[rule.id],
            each.flaw,
            *idle.get(rule.id, ("", ())),
        )
        for number, (rule, each) in enumerate(zip(rules, filled, strict=True), start=1)
    )
    return Permissions(principal, client, tuple(effective))


@dataclass(frozen=True, slots=True)
class _Filled:
    """A filter with what is known put in; `flaw` where something cannot be.

    Not `plain` is one whose values look like placeholders.
    """

    text: str
    flaw: str = ""
    plain: bool = True


def _filled(rule: CoreRule, client: Client, principal: Principal) -> _Filled:
    template = parse_template(rule.topic_filter)
    if template is None:
        return _Filled(rule.topic_filter)
    values, plain = [], True
    for placeholder in template.placeholders:
        if _chosen_by_connection(placeholder, client):
            values.append(placeholder.text())
            continue
        value = placeholder.value(client, principal)
        if value is None:
            return _Filled(rule.topic_filter, placeholder.flaw(client, principal) or "")
        values.append(value)
        plain = plain and "${" not in value
    return _Filled(template.pattern % tuple(values), plain=plain)


def _chosen_by_connection(placeholder: Placeholder, client: Client) -> bool:
    name = _OF_CONNECTION.get(placeholder.name)
    return name is not None and not getattr(client, name)


def _idle(rules: list[CoreRule], filled: list[_Filled]) -> dict[int, tuple[str, tuple[int, ...]]]:
    """By the rule’s id: why it never decides for this device, and because of which numbers."""
    numbers = {rule.id: number for number, rule in enumerate(rules, start=1)}
    asked = [
        replace(rule, topic_filter=each.text)
        for rule, each in zip(rules, filled, strict=True)
        if each.plain and not each.flaw
    ]
    return {
        found.rule.id: (found.words, tuple(numbers[higher.id] for higher in found.because))
        for found in lint(asked)
        if found.flaw in _IDLE
    }
