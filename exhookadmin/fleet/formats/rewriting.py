"""From one rule of another broker to our rules: what is kept, and what it takes to keep the rest."""

from collections.abc import Iterable, Iterator, Sequence

from acl.core.rules import Action, Effect
from exhookadmin.fleet.formats.conditions import Alternatives, Who
from exhookadmin.fleet.formats.topics import Filter
from exhookadmin.fleet.records import Finding, Kind, RuleRecord, Subject


def subject_of(who: Who) -> Subject:
    return Subject(username=who.username, client_id=who.client_id)


def rewritten(
    line: int,
    effect: Effect,
    action: Action,
    alternatives: Alternatives,
    filters: Iterable[Filter],
    *,
    lost: Sequence[str] = (),
    priority: int = 0,
    note: str = "",
    field: str = "",
    subject: Subject | None = None,
) -> Iterator[RuleRecord | Finding]:
    """Our rules for it, one for each alternative and filter, and findings for those that lose a condition.

    ``lost`` are conditions of the rule as a whole, such as QoS. ``subject`` overrides the alternatives'.
    """
    for who in alternatives:
        for filter_ in filters:
            rule = RuleRecord(
                line,
                subject or subject_of(who),
                effect,
                action,
                filter_.text,
                filter_.literal,
                who.network_texts(),
                priority,
                note=note,
            )
            missing = [*lost, *who.lost, *([filter_.lost] if filter_.lost else [])]
            yield rule if not missing else without(rule, missing, field)


def without(rule: RuleRecord, missing: Sequence[str], field: str = "") -> Finding:
    """What to tell of a rule that lost these conditions. ``rule`` is what is left of it."""
    what = (
        f"{rule.effect} {rule.action} {'eq ' if rule.literal else ''}{rule.topic_filter} for {rule.subject}"
    )
    lost = " and ".join(missing)
    if rule.effect is Effect.ALLOW:
        return Finding(
            Kind.ALLOW_LOST,
            rule.line,
            field,
            f"{lost} cannot be kept here; without it, “{what}” would allow more, so it would be left out",
        )
    return Finding(
        Kind.DENY_WIDER,
        rule.line,
        field,
        f"{lost} cannot be kept here; left out, the rule would not protect, so it would become “{what}”",
        instead=(rule,),
    )
