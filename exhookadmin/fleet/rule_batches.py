"""Rules of a file, compared with those that the same list put there before, and stored.

A rule of a list is known by its note, “<list>, line <n>”, or by being in a policy that the file describes as
a whole. So a file that is imported again replaces its own rules and no others.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from django.db.models import Q, QuerySet

from accounts.models import Device
from acl import services
from acl.models import Policy, Rule
from exhookadmin.fleet.outcomes import Outcome
from exhookadmin.fleet.owners import Owned, Owner
from exhookadmin.fleet.records import RuleRecord
from exhookadmin.fleet.scratch import Scratch

Key = tuple[Owner, str, str, str, bool, str, int, bool]
PAGE = 1_000


def noted_by(name: str) -> Q:
    """The rules that the list of this name put there."""
    return Q(note__startswith=f"{name}, line ")


def key_of(record: RuleRecord, owner: Owner) -> Key:
    """What makes a rule this one and no other."""
    return (
        owner,
        record.effect.value,
        record.action.value,
        record.topic_filter,
        record.literal,
        "\n".join(record.networks),
        record.priority,
        record.enabled,
    )


def stored_key(row: Rule, policy_names: dict[int, str]) -> Key:
    """The same of a stored rule."""
    owner = Owner(device_id=row.device_id, policy=policy_names.get(row.policy_id or 0))
    return (
        owner,
        row.effect,
        row.action,
        row.topic_filter,
        row.literal,
        row.networks,
        row.priority,
        row.enabled,
    )


def policies_named(names: Collection[str]) -> dict[str, Policy]:
    return {policy.name: policy for policy in Policy.objects.filter(name__in=names)}


def merge_rules(
    wanted: Sequence[Owned], mine: Q, scratch: Scratch, *, store: bool
) -> Iterator[tuple[RuleRecord, Outcome]]:
    """Stores those that are not there yet, and marks in ``scratch`` those that are wanted.

    ``mine`` says which stored rules can be taken for those of the file.
    """
    policies = policies_named({one.owner.policy for one in wanted if one.owner.policy is not None})
    names = {policy.pk: name for name, policy in policies.items()}
    rows = Rule.objects.filter(mine).filter(
        Q(policy__in=names) | Q(device__in={one.owner.device_id for one in wanted} - {None}),
        topic_filter__in={one.rule.topic_filter for one in wanted},
    )
    present: dict[Key, list[int]] = {}
    for row in rows:
        present.setdefault(stored_key(row, names), []).append(row.pk)
    new: list[Owned] = []
    seen = Counter[Key]()
    for one in wanted:
        key = key_of(one.rule, one.owner)
        seen[key] += 1
        if key in present:
            scratch.keep(present[key])
            yield one.rule, Outcome.UNCHANGED
        elif seen[key] > 1:
            yield one.rule, Outcome.UNCHANGED
        else:
            new.append(one)
            yield one.rule, Outcome.CREATED
    if store and new:
        made = _rows(new, policies)
        services.create_rules(made)
        scratch.keep(row.pk for row in made)


def remove_others(mine: QuerySet[Rule], scratch: Scratch, *, store: bool) -> int:
    """Deletes the rules of the list that the file no longer has. Answers how many."""
    removed, last = 0, 0
    while page := list(mine.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:PAGE]):
        last = page[-1]
        others = scratch.not_kept(page)
        removed += len(others)
        if store and others:
            services.delete_rules(Rule.objects.filter(pk__in=others))
    return removed


def _told_apart(rule: RuleRecord, owner: Owner, exact: bool) -> tuple[Key, str]:
    return key_of(rule, owner), rule.note if exact else ""


def _rows(wanted: Sequence[Owned], policies: dict[str, Policy]) -> list[Rule]:
    devices = Device.objects.in_bulk({one.owner.device_id for one in wanted} - {None}) if wanted else {}
    return [_row(one, policies, devices) for one in wanted]


def _row(one: Owned, policies: dict[str, Policy], devices: dict[int, Device]) -> Rule:
    record = one.rule
    return Rule(
        policy=policies[one.owner.policy] if one.owner.policy is not None else None,
        device=devices[one.owner.device_id] if one.owner.device_id is not None else None,
        effect=record.effect.value,
        action=record.action.value,
        topic_filter=record.topic_filter,
        literal=record.literal,
        networks="\n".join(record.networks),
        priority=record.priority,
        enabled=record.enabled,
        note=record.note,
    )


def complete_lists(
    lists: Iterable[tuple[Owner, Sequence[RuleRecord]]], mine: Q, *, exact: bool, store: bool
) -> dict[Owner, Outcome]:
    """Makes each owner's rules, as far as they are ``mine``, exactly these. To be called in a transaction.

    ``exact`` also tells apart rules that differ in their notes only, and keeps repeated ones, as a
    backup must.
    """
    wanted = {owner: [(_told_apart(rule, owner, exact), rule) for rule in rules] for owner, rules in lists}
    policies = policies_named({owner.policy for owner in wanted if owner.policy is not None})
    names = {policy.pk: name for name, policy in policies.items()}
    devices = {owner.device_id for owner in wanted} - {None}
    present: dict[Owner, dict[tuple[Key, str], list[int]]] = {owner: {} for owner in wanted}
    for row in Rule.objects.filter(mine).filter(Q(policy__in=names) | Q(device__in=devices)).order_by("pk"):
        key = stored_key(row, names)
        present[key[0]].setdefault((key, row.note if exact else ""), []).append(row.pk)
    new, gone, outcomes = list[Owned](), list[int](), {}
    for owner, rules in wanted.items():
        asked = Counter(key for key, _ in rules) if exact else Counter(dict.fromkeys(dict(rules), 1))
        missing = []
        for apart, rule in rules if exact else dict(rules).items():
            if asked[apart] > len(present[owner].get(apart, ())):
                asked[apart] -= 1
                missing.append(Owned(rule, owner))
        surplus = [pk for apart, pks in present[owner].items() for pk in pks[asked[apart] :]]
        outcomes[owner] = Outcome.UPDATED if missing or surplus else Outcome.UNCHANGED
        new += missing
        gone += surplus
    if store:
        if gone:
            services.delete_rules(Rule.objects.filter(pk__in=gone))
        services.create_rules(_rows(new, policies))
    return outcomes
