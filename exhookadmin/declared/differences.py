"""What must change so that the database is as declared. Pure: two states in, changes out."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from exhookadmin.declared.document import Declared, DeclaredGroup, DeclaredPolicy, DeclaredRule


@dataclass(frozen=True, slots=True)
class GroupChange:
    """A group as it is and as it shall be; None for “not at all”."""

    before: DeclaredGroup | None
    after: DeclaredGroup | None


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A policy as it is and as it shall be, and which rules go and come; what stays keeps its row."""

    before: DeclaredPolicy | None
    after: DeclaredPolicy | None
    gone: tuple[DeclaredRule, ...] = ()
    new: tuple[DeclaredRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Changes:
    """All that must change."""

    groups: tuple[GroupChange, ...]
    policies: tuple[PolicyChange, ...]

    def __bool__(self) -> bool:
        return bool(self.groups or self.policies)


def differences(now: Declared, declared: Declared, prune: bool = False) -> Changes:
    """What differs. What the file does not name stays as it is, unless ``prune``."""
    groups = [
        GroupChange(now.groups.get(name), declared.groups.get(name))
        for name in _concerned(now.groups, declared.groups, prune)
    ]
    policies = [
        _policy_change(now.policies.get(name), declared.policies.get(name))
        for name in _concerned(now.policies, declared.policies, prune)
    ]
    return Changes(
        tuple(change for change in groups if change.before != change.after),
        tuple(change for change in policies if _differs(change)),
    )


def lines(changes: Changes) -> Iterator[str]:
    """The changes for people: “+” comes, “-” goes, “~” becomes different."""
    for group in changes.groups:
        yield from _thing("group", group.before, group.after)
    for policy in changes.policies:
        yield from _thing("policy", policy.before, policy.after)
        yield from (f"    - {rule}" for rule in policy.gone)
        yield from (f"    + {rule}" for rule in policy.new)


def _concerned(now: object, declared: object, prune: bool) -> list[str]:
    names = set(declared) | (set(now) if prune else set())  # type: ignore[call-overload]
    return sorted(names)


def _policy_change(before: DeclaredPolicy | None, after: DeclaredPolicy | None) -> PolicyChange:
    had = Counter(before.rules if before else ())
    shall = Counter(after.rules if after else ())
    gone, new = had - shall, shall - had
    return PolicyChange(before, after, tuple(gone.elements()), tuple(new.elements()))


def _differs(change: PolicyChange) -> bool:
    if change.before is None or change.after is None:
        return True
    # In what order rules are written says nothing: their priorities do.
    same = replace(change.before, rules=()) == replace(change.after, rules=())
    return not same or bool(change.gone or change.new)


def _thing(
    kind: str, before: DeclaredGroup | DeclaredPolicy | None, after: DeclaredGroup | DeclaredPolicy | None
) -> Iterator[str]:
    if after is None:
        assert before is not None
        yield f"- {kind} {before.name}"
        return
    yield f"{'+' if before is None else '~'} {kind} {after.name}"
    for field in fields(after):
        if field.name in ("name", "rules"):
            continue
        shall = getattr(after, field.name)
        was = getattr(before, field.name) if before else _plain(type(after), field.name)
        if was != shall:
            yield f"    {field.name}: {_shown(was)} → {_shown(shall)}"


def _plain(kind: type, name: str) -> object:
    return getattr(kind(""), name)


def _shown(value: object) -> str:
    if isinstance(value, frozenset):
        return ", ".join(sorted(value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"“{value}”" if value else "nothing"
