"""Records of a file, a batch at a time, compared with the database and stored.

With ``store`` off everything is compared and nothing is changed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from django.core.exceptions import ValidationError
from django.db.models import Q

from accounts import services as accounts_services
from accounts.models import Device, DeviceGroup
from acl import services as acl_services
from acl.models import Policy, Rule
from exhookadmin.fleet.device_batches import plan_devices, store_devices
from exhookadmin.fleet.outcomes import Outcome, Told
from exhookadmin.fleet.owners import Owned, Owner, owned
from exhookadmin.fleet.records import (
    DeviceRecord,
    Finding,
    GroupRecord,
    PolicyRecord,
    Record,
    RuleRecord,
    SubjectRules,
)
from exhookadmin.fleet.refusals import reason_of_field
from exhookadmin.fleet.rule_batches import complete_lists, merge_rules, noted_by, remove_others
from exhookadmin.fleet.scratch import Scratch

NAMES_AT_ONCE = 500


@dataclass
class Applying:
    """The state of one import while it goes through its file."""

    scratch: Scratch
    list_name: str
    store: bool
    described: list[str] = field(default_factory=list)
    """The policies that the file describes as a whole, of those whose rules come one by one."""

    def batch(self, records: Sequence[Record]) -> Iterator[Told]:
        """Compares and stores some records, in their order. To be called in a transaction."""
        for kind, run in groupby(records, type):
            same = list(run)
            if kind is DeviceRecord:
                yield from self._devices([one for one in same if isinstance(one, DeviceRecord)])
            elif kind is RuleRecord:
                yield from self._rules([one for one in same if isinstance(one, RuleRecord)])
            elif kind is SubjectRules:
                yield from self._lists([one for one in same if isinstance(one, SubjectRules)])
            else:
                for one in same:
                    if isinstance(one, GroupRecord):
                        yield self._group(one)
                    elif isinstance(one, PolicyRecord):
                        yield self._policy(one)

    def end(self) -> Iterator[Told]:
        """Removes what an earlier import of this list put there and the file no longer has."""
        removed = remove_others(Rule.objects.filter(self._mine()), self.scratch, store=self.store)
        for _ in range(removed):
            yield Told(0, f"a rule of {self.list_name}", Outcome.REMOVED)

    def _mine(self) -> Q:
        return noted_by(self.list_name) | Q(policy__name__in=self.described)

    def _devices(self, records: Sequence[DeviceRecord]) -> Iterator[Told]:
        planned = plan_devices(records, () if self.store else self.described)
        if self.store:
            store_devices(planned)
        lists: dict[str, dict[Owner, Sequence[RuleRecord]]] = {}
        for plan in planned:
            if plan.record.rules is not None and not plan.problems and plan.device.pk is not None:
                owner = Owner(device_id=plan.device.pk)
                lists.setdefault(plan.record.list_name, {})[owner] = plan.record.rules
        for name, by_owner in lists.items():
            outcomes = complete_lists(by_owner.items(), _of_list(name), exact=not name, store=self.store)
            for plan in planned:
                plan.rules_change |= outcomes.get(Owner(device_id=plan.device.pk)) == Outcome.UPDATED
        for plan in planned:
            yield plan.told()

    def _rules(self, records: Sequence[RuleRecord]) -> Iterator[Told]:
        found = owned(records, self.list_name)
        wanted = [one for one in found if isinstance(one, Owned)]
        extra = [rule for one in found if isinstance(one, Finding) for rule in one.instead]
        self._make_everyones(wanted)
        for rule, outcome in merge_rules(wanted, self._mine(), self.scratch, store=self.store):
            yield Told(rule.line, str(rule.subject), outcome)
        if extra:
            yield from self._rules(extra)

    def _lists(self, records: Sequence[SubjectRules]) -> Iterator[Told]:
        lists: dict[str, dict[Owner, list[RuleRecord]]] = {}
        lines: dict[Owner, SubjectRules] = {}
        for record in records:
            found = owned(record.rules, self.list_name)
            owners = [one.owner for one in found if isinstance(one, Owned)] or self._owners_of(record)
            for owner in owners:
                lines.setdefault(owner, record)
                lists.setdefault(record.list_name, {}).setdefault(owner, [])
            for one in found:
                if isinstance(one, Owned):
                    lists[record.list_name][one.owner].append(one.rule)
                elif one.instead:
                    yield from self._rules(one.instead)
        for name, by_owner in lists.items():
            self._make_everyones([Owned(rule, owner) for owner, rules in by_owner.items() for rule in rules])
            for owner, outcome in complete_lists(
                by_owner.items(), _of_list(name), exact=not name, store=self.store
            ).items():
                yield Told(lines[owner].line, f"rules of {lines[owner].subject}", outcome)

    def _owners_of(self, record: SubjectRules) -> list[Owner]:
        """Whose an empty list is."""
        if record.subject.policy is not None:
            return [Owner(policy=record.subject.policy)]
        devices = Device.objects.filter(username=record.subject.username) if record.subject.username else ()
        return [Owner(device_id=device.pk) for device in devices]

    def _make_everyones(self, wanted: Sequence[Owned]) -> None:
        """The policy for everyone, once there is a rule for it."""
        if self.store and any(one.owner.policy == self.list_name for one in wanted):
            policy = Policy.objects.filter(name=self.list_name).first()
            if policy is None:
                acl_services.create_policy(self.list_name, everyone=True, description="Imported.")

    def _group(self, record: GroupRecord) -> Told:
        group = DeviceGroup.objects.filter(name=record.name).first()
        outcome = Outcome.UNCHANGED
        if group is None or (record.description is not None and group.description != record.description):
            outcome = Outcome.CREATED if group is None else Outcome.UPDATED
            group = group or DeviceGroup(name=record.name)
            group.description = record.description or ""
            try:
                accounts_services.save_group(group) if self.store else group.clean_fields()
            except ValidationError as error:
                return _refused(record.line, record.name, error)
        return Told(record.line, record.name, outcome)

    def _policy(self, record: PolicyRecord) -> Told:
        policy = Policy.objects.filter(name=record.name).first()
        outcome = Outcome.UNCHANGED if policy else Outcome.CREATED
        policy = policy or Policy(name=record.name)
        self.described.append(record.name)
        for name in ("description", "enabled", "everyone"):
            value = getattr(record, name)
            if value is not None and getattr(policy, name) != value:
                setattr(policy, name, value)
                outcome = Outcome.CREATED if policy.pk is None else Outcome.UPDATED
        try:
            policy.clean_fields()
            if self.store:
                self._attach(policy, record)
        except ValidationError as error:
            return _refused(record.line, record.name, error)
        return Told(record.line, record.name, outcome)

    def _attach(self, policy: Policy, record: PolicyRecord) -> None:
        groups = None
        if record.groups is not None:
            named = accounts_services.groups_named(record.groups)
            groups = [named[name] for name in record.groups]
        devices = None
        if record.devices is not None:
            devices = [
                device
                for at in range(0, len(record.devices), NAMES_AT_ONCE)
                for device in Device.objects.filter(username__in=record.devices[at : at + NAMES_AT_ONCE])
            ]
        acl_services.save_policy(policy, devices, groups)


def _of_list(name: str) -> Q:
    """The rules of a list; without a name, all."""
    return noted_by(name) if name else Q()


def _refused(line: int, name: str, error: ValidationError) -> Told:
    field_, texts = next(iter(error.message_dict.items()), ("", []))
    return Told(line, name, Outcome.REFUSED, field_, reason_of_field(field_, texts))
