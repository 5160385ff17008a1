"""A batch of devices of a file, compared with the database and stored: upsert by username."""

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import cpu_count

from django.core.exceptions import ValidationError
from django.utils.crypto import salted_hmac

from accounts import services
from accounts.models import Credential, Device
from accounts.passwords import encode_password
from acl import services as acl_services
from exhookadmin.fleet.outcomes import Outcome, Told
from exhookadmin.fleet.records import CredentialRecord, DeviceRecord
from exhookadmin.fleet.refusals import reason_of_field
from exhookadmin.fleet.rule_batches import policies_named

TAG_CHARACTERS = 12


@dataclass(slots=True)
class PlannedDevice:
    """What storing a record would do."""

    record: DeviceRecord
    device: Device
    is_new: bool
    changed: set[str] = field(default_factory=set)
    groups_change: bool = False
    policies_change: bool = False
    rules_change: bool = False
    new_credentials: list[tuple[Credential, str]] = field(default_factory=list)
    """With the password to hash, where there is no stored form yet."""
    changed_credentials: list[tuple[Credential, str]] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)

    def told(self) -> Told:
        outcome = Outcome.UNCHANGED
        if self.problems:
            outcome = Outcome.REFUSED
        elif self.is_new:
            outcome = Outcome.CREATED
        elif (
            self.changed
            or self.groups_change
            or self.policies_change
            or self.rules_change
            or self.new_credentials
            or self.changed_credentials
        ):
            outcome = Outcome.UPDATED
        wrong, texts = next(iter(self.problems.items()), ("", []))
        return Told(self.record.line, self.record.username, outcome, wrong, reason_of_field(wrong, texts))


def plan_devices(records: Sequence[DeviceRecord], to_come: Collection[str] = ()) -> list[PlannedDevice]:
    """Compares with what is stored; changes nothing. Costs a fixed number of queries.

    ``to_come`` are policies that will be there although they are not yet, as in a dry run.
    """
    usernames = [record.username for record in records]
    stored = {
        device.username: device
        for device in Device.objects.filter(username__in=usernames).prefetch_related(
            "credentials", "groups", "policies"
        )
    }
    known = set(policies_named({name for one in records for name in one.policies or ()})) | set(to_come)
    planned, before = [], []
    for record in records:
        device = stored.get(record.username)
        plan = PlannedDevice(record, device or Device(username=record.username), is_new=device is None)
        before.append({name: getattr(plan.device, name) for name in record.values})
        for name, value in record.values.items():
            setattr(plan.device, name, value)
        planned.append(plan)
    given = [(plan.device, _given(plan)) for plan in planned]
    for plan, old, problems in zip(planned, before, services.device_problems(given), strict=True):
        plan.problems = problems
        if plan.is_new and plan.record.must_exist:
            plan.problems = {"username": ["There is no such device."]}
        if not plan.problems:
            plan.changed = {name for name, value in old.items() if getattr(plan.device, name) != value}
            _plan_groups(plan)
            _plan_policies(plan, known)
            _plan_credentials(plan)
    return planned


def _given(plan: PlannedDevice) -> set[str]:
    return {*plan.record.values, "username"} if plan.is_new else set(plan.record.values)


def _plan_groups(plan: PlannedDevice) -> None:
    if plan.record.groups is None:
        return
    present = set() if plan.is_new else {group.name for group in plan.device.groups.all()}
    plan.groups_change = present != set(plan.record.groups)


def _plan_policies(plan: PlannedDevice, known: Collection[str]) -> None:
    if plan.record.policies is None:
        return
    missing = [number for number, name in enumerate(plan.record.policies) if name not in known]
    if missing:
        # Without a policy that denies, the device could do more than the file says.
        plan.problems = {f"policies[{missing[0]}]": ["There is no such policy: put it before its devices."]}
    present = set() if plan.is_new else {policy.name for policy in plan.device.policies.all()}
    plan.policies_change = present != set(plan.record.policies)


def _plan_credentials(plan: PlannedDevice) -> None:
    present = [] if plan.is_new else list(plan.device.credentials.all())
    for given in plan.record.credentials:
        try:
            _plan_credential(plan, given, present)
        except ValidationError as error:
            plan.problems = getattr(error, "message_dict", None) or {"credential": error.messages}
            return


def _plan_credential(plan: PlannedDevice, given: CredentialRecord, present: list[Credential]) -> None:
    if given.plain:
        services.check_password(given.plain)
    label = given.label
    if given.plain or given.origin:
        # Imported again, it is known by its label even after a login has replaced its hash.
        stem = f"{given.label or given.origin or 'imported'} #"
        label = stem + _tag(plan.record.username, given)
        same = next((one for one in present if one.label == label), None)
        if same is not None:
            return
        former = next((one for one in present if one.label.startswith(stem)), None)
    else:
        alike = [one for one in present if one.encoded == given.encoded]
        former = next((one for one in alike if one.label == label), alike[0] if alike else None)
    if former is not None:
        # Each stands for one of the file: the same hash may be there twice.
        present.remove(former)
    values = {"label": label, "enabled": given.enabled, "expires_at": given.expires_at}
    credential = former or Credential(device=plan.device, kind=given.kind.value)
    before = {name: getattr(credential, name) for name in ("encoded", *values)}
    for name, value in values.items():
        setattr(credential, name, value)
    # A password in clear is hashed when it is stored, which takes its time.
    credential.encoded = given.encoded or "!"
    credential.clean_fields({"device", "encoded"})
    if former is None:
        plan.new_credentials.append((credential, given.plain))
    elif any(getattr(credential, name) != value for name, value in before.items()):
        plan.changed_credentials.append((credential, given.plain))


def _tag(username: str, given: CredentialRecord) -> str:
    """Recognises a secret without helping anybody to guess it: it is keyed."""
    secret = f"{username}\0{given.encoded}\0{given.plain}"
    return salted_hmac("exhookadmin.fleet", secret, algorithm="sha256").hexdigest()[:TAG_CHARACTERS]


def store_devices(planned: Iterable[PlannedDevice]) -> None:
    """Stores what was planned, without what was refused. To be called in a transaction."""
    usable = [plan for plan in planned if not plan.problems]
    new = [plan.device for plan in usable if plan.is_new]
    changed = [plan for plan in usable if not plan.is_new and plan.changed]
    _hash_passwords(usable)
    services.store_devices(
        new,
        [plan.device for plan in changed],
        sorted({name for plan in changed for name in plan.changed}),
        [credential for plan in usable if plan.is_new for credential, _ in plan.new_credentials],
    )
    services.store_credentials(
        [credential for plan in usable if not plan.is_new for credential, _ in plan.new_credentials],
        [credential for plan in usable for credential, _ in plan.changed_credentials],
    )
    regrouped = [plan for plan in usable if plan.groups_change]
    if regrouped:
        groups = services.groups_named({name for plan in regrouped for name in plan.record.groups or ()})
        services.set_memberships(
            [(plan.device, [groups[name] for name in plan.record.groups or ()]) for plan in regrouped]
        )
    attached = [plan for plan in usable if plan.policies_change]
    if attached:
        policies = policies_named({name for plan in attached for name in plan.record.policies or ()})
        acl_services.set_attachments(
            [(plan.device, [policies[name] for name in plan.record.policies or ()]) for plan in attached]
        )


def _hash_passwords(planned: Iterable[PlannedDevice]) -> None:
    plain = [
        (credential, password)
        for plan in planned
        for credential, password in (*plan.new_credentials, *plan.changed_credentials)
        if password
    ]
    if plain:
        # bcrypt lets go of the interpreter while it works.
        with ThreadPoolExecutor(cpu_count()) as pool:
            encoded = pool.map(encode_password, [password for _, password in plain])
        for (credential, _), one in zip(plain, encoded, strict=True):
            credential.encoded = one
