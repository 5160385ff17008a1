"""What the database holds, as the records that files are read into. Memory is bounded by a page."""

import heapq
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import islice

from django.db.models import Q, QuerySet

from accounts.core.principal import CredentialKind
from accounts.models import Credential, Device, DeviceGroup
from acl.core.rules import Action, Effect
from acl.models import Policy, Rule
from exhookadmin.fleet.records import (
    CredentialRecord,
    DeviceRecord,
    GroupRecord,
    PolicyRecord,
    Record,
    RuleRecord,
    Subject,
    SubjectRules,
)
from exhookadmin.fleet.writing.fleet import Effective, Fleet, Listed

PAGE = 500
_TEXTS = ("description", "client_id_binding", "client_id", "certificate_cn", "networks")
_BOOLEANS = ("enabled", "superuser", "credential_required")
_MOMENTS = ("valid_from", "valid_until")


def stored_fleet(devices: QuerySet[Device] | None = None) -> Fleet:
    """Everything, or these devices with all that is shared."""
    rows = Device.objects.all() if devices is None else devices
    return Fleet(
        shared=_shared,
        devices=partial(stored_devices, rows),
        effective=partial(_effective, rows),
        listed=partial(_listed, rows),
    )


def stored_devices(rows: QuerySet[Device]) -> Iterator[DeviceRecord]:
    """Devices with all that is theirs, by their numbers, which is the order in which they were made."""
    for device in _device_rows(rows):
        yield _device(device)


def _device_rows(rows: QuerySet[Device]) -> Iterator[Device]:
    related = rows.prefetch_related("credentials", "groups", "policies", "rules").order_by("pk")
    last = 0
    while page := list(related.filter(pk__gt=last)[:PAGE]):
        last = page[-1].pk
        yield from page


def _shared() -> Iterator[Record]:
    for group in DeviceGroup.objects.order_by("pk").iterator(chunk_size=PAGE):
        yield GroupRecord(0, group.name, group.description)
    last = 0
    # One at a time: each may have very many rules.
    while policy := Policy.objects.filter(pk__gt=last).order_by("pk").first():
        last = policy.pk
        yield PolicyRecord(
            0,
            policy.name,
            policy.description,
            policy.enabled,
            policy.everyone,
            tuple(sorted(policy.groups.values_list("name", flat=True))),
        )
        subject = Subject(policy=policy.name)
        yield SubjectRules(0, subject, in_order(_rule(row, subject) for row in policy.rules.all()))


def in_order(rules: Iterable[RuleRecord]) -> tuple[RuleRecord, ...]:
    """As they are tried; those that are tried together in an order that depends on nothing but them."""
    return tuple(sorted(rules, key=_place))


def _place(rule: RuleRecord) -> tuple[object, ...]:
    return (
        -rule.priority,
        rule.effect is not Effect.DENY,
        rule.action.value,
        rule.topic_filter,
        rule.literal,
        rule.networks,
        rule.enabled,
        rule.note,
    )


def _device(device: Device) -> DeviceRecord:
    subject = Subject(username=device.username)
    values = {name: getattr(device, name) for name in (*_TEXTS, *_BOOLEANS, "attributes")}
    values |= {name: _moment(getattr(device, name)) for name in _MOMENTS}
    return DeviceRecord(
        0,
        device.username,
        values,
        tuple(sorted(group.name for group in device.groups.all())),
        tuple(map(_credential, sorted(device.credentials.all(), key=lambda one: one.pk))),
        in_order(_rule(row, subject) for row in device.rules.all()),
        policies=tuple(sorted(policy.name for policy in device.policies.all())),
    )


def _credential(row: Credential) -> CredentialRecord:
    return CredentialRecord(
        CredentialKind(row.kind),
        encoded=row.encoded,
        label=row.label,
        enabled=row.enabled,
        expires_at=_moment(row.expires_at),
    )


def _rule(row: Rule, subject: Subject) -> RuleRecord:
    return RuleRecord(
        0,
        subject,
        Effect(row.effect),
        Action(row.action),
        row.topic_filter,
        row.literal,
        tuple(row.networks.splitlines()),
        row.priority,
        row.enabled,
        row.note,
    )


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


class _Book:
    """The rules of shared policies, which are few, and to whom they apply."""

    def __init__(self) -> None:
        policies = Policy.objects.filter(enabled=True).prefetch_related("rules", "groups")
        self.rules: dict[int, tuple[RuleRecord, ...]] = {}
        self.everyone: set[int] = set()
        self.by_group: dict[int, set[int]] = {}
        for policy in policies:
            subject = Subject(policy=policy.name)
            self.rules[policy.pk] = tuple(_rule(row, subject) for row in policy.rules.all() if row.enabled)
            if policy.everyone:
                self.everyone.add(policy.pk)
            for group in policy.groups.all():
                self.by_group.setdefault(group.pk, set()).add(policy.pk)

    def of(self, device: Device) -> Iterator[RuleRecord]:
        """The rules that the device has from policies."""
        mine = set(self.everyone)
        for group in device.groups.all():
            mine |= self.by_group.get(group.pk, set())
        mine |= {policy.pk for policy in device.policies.all()}
        for pk in mine:
            yield from self.rules.get(pk, ())


def _effective(rows: QuerySet[Device]) -> Iterator[Effective]:
    book = _Book()
    for device in _device_rows(rows):
        record = _device(device)
        own = [rule for rule in record.rules or () if rule.enabled]
        yield Effective(record, in_order([*own, *book.of(device)]))


def _listed(rows: QuerySet[Device]) -> Iterator[Listed]:
    own = Rule.objects.filter(enabled=True, device__in=rows.order_by()).select_related("device")
    # Of the two words, “deny” is the greater one.
    own = own.order_by("-priority", "-effect", "pk")
    shared = _listed_of_policies(rows)
    yield from heapq.merge(
        shared,
        (
            Listed(_rule(row, Subject(username=row.device.username)), (row.device.username,))
            for row in own.iterator(chunk_size=PAGE)
            if row.device is not None
        ),
        key=lambda listed: _place(listed.rule)[:2],
    )


def _listed_of_policies(rows: QuerySet[Device]) -> Iterator[Listed]:
    book = _Book()
    all_rules = [(rule, pk) for pk, rules in book.rules.items() for rule in rules]
    for rule, pk in sorted(all_rules, key=lambda pair: _place(pair[0])):
        if pk in book.everyone:
            yield Listed(rule, None)
            continue
        members = rows.filter(
            Q(pk__in=Policy.devices.through.objects.filter(policy=pk).values("device"))
            | Q(groups__in=[group for group, policies in book.by_group.items() if pk in policies])
        )
        names = members.order_by("pk").distinct().values_list("pk", "username").iterator(chunk_size=PAGE)
        while some := tuple(name for _, name in islice(names, PAGE)):
            yield Listed(rule, some)
