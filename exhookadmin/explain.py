"""Why a decision is what it is, gathered as plain data for people: the command shows it, and so can a page.

Nothing here decides. Device, checks and rules come from the functions that answer the broker,
asked about a connection as it would describe it. What only a running endpoint knows is not
seen: which logins it throttles, and the last good version of a policy that broke since.
"""

import time
from dataclasses import dataclass

from django.conf import settings

from accounts.core.admission import CHECKS
from accounts.core.authenticate import authenticate
from accounts.core.client import Client
from accounts.core.decision import Decision, Reason
from accounts.core.identity import IdentitySource, claims
from accounts.core.principal import Principal, PrincipalCredential
from accounts.passwords import password_matches
from acl.core.decide import AccessRequest, Consideration, explain
from acl.rulesets import PolicyBroken
from exhookadmin.exhook.directory import Directory
from exhookadmin.exhook.memory import Known

EXISTS = "the device exists"
PROVES_ITSELF = "it proves itself, by certificate or credential, as far as it must"
CHECKED = {
    Reason.DEVICE_DISABLED: "the device is enabled",
    Reason.NOT_YET_VALID: "its validity has begun",
    Reason.NO_LONGER_VALID: "its validity has not ended",
    Reason.CLIENT_ID_NOT_BOUND: "its client id binding allows this client id",
    Reason.ADDRESS_NOT_ALLOWED: "the address is in its networks",
}
"""What each device check makes sure of, by the reason of the denial when it fails."""


@dataclass(frozen=True, slots=True)
class DeviceCheck:
    """One thing that must hold of the device, and whether it does; if not, ``reason`` is the denial’s."""

    words: str
    reason: Reason
    passed: bool


@dataclass(frozen=True, slots=True)
class Explained:
    """A decision and all that was looked at.

    ``checks`` are in the order in which the first failure denies, and all made, so that every
    failure shows. ``considered`` holds every rule that applies, in evaluation order; ``topic`` is
    what they were tried on, without a wrapper such as ``$share/…``; ``problem`` says in words what
    is wrong with the topic or with a policy.
    """

    client: Client
    decision: Decision
    principal: Principal | None
    found_by: IdentitySource | None
    checks: tuple[DeviceCheck, ...]
    live_credentials: int = 0
    topic: str = ""
    considered: tuple[Consideration, ...] = ()
    problem: str = ""

    @property
    def deciding(self) -> Consideration | None:
        """The rule that decided, if one did."""
        if self.decision.rule is None:
            return None
        return next((tried for tried in self.considered if tried.matched), None)


def explain_connect(client: Client, now: float | None = None) -> Explained:
    """May this client connect? Its password counts; one that must be hashed is.

    ``now`` is seconds since the epoch, the present unless given. Raises django.db.Error.
    """
    now = time.time() if now is None else now
    principal = _look_up(client).principal
    decision = authenticate(client, principal, now, _verify)
    if decision is None:
        raise RuntimeError("a verifier that hashes leaves nothing undecided")
    checks = _checks(client, principal, now)
    if all(check.passed for check in checks):
        checks = (*checks, DeviceCheck(PROVES_ITSELF, decision.reason, decision.allow))
    live = sum(credential.live(now) for credential in principal.credentials) if principal else 0
    return Explained(client, decision, principal, _found_by(client, principal), checks, live)


def explain_access(client: Client, request: AccessRequest, now: float | None = None) -> Explained:
    """May this client publish to the topic, or subscribe to the filter? Raises django.db.Error."""
    now = time.time() if now is None else now
    known = _look_up(client)
    principal = known.principal
    explanation = explain(client, principal, request, known.rule_sets, now)
    broken = explanation.decision.reason == Reason.POLICY_BROKEN
    return Explained(
        client,
        explanation.decision,
        principal,
        _found_by(client, principal),
        _checks(client, principal, now),
        topic=explanation.topic,
        considered=explanation.considered,
        problem=explanation.topic_problem or (_broken(known) if broken else ""),
    )


def _look_up(client: Client) -> Known:
    """The endpoint's own look-up, with an empty memory: what the database says now."""
    directory = Directory(_order(), capacity=1, max_age=0, fail_static_age=0)
    directory.load_policies()
    return directory.find(client)


def _order() -> list[IdentitySource]:
    return [IdentitySource(name) for name in settings.EXHOOK_IDENTITY_ORDER]


def _found_by(client: Client, principal: Principal | None) -> IdentitySource | None:
    if principal is None:
        return None
    for source, value in claims(client, _order()):
        by_certificate = source == IdentitySource.CERTIFICATE_CN
        if value == (principal.certificate_cn if by_certificate else principal.username):
            return source
    return None


def _checks(client: Client, principal: Principal | None, now: float) -> tuple[DeviceCheck, ...]:
    exists = DeviceCheck(EXISTS, Reason.UNKNOWN_DEVICE, principal is not None)
    if principal is None:
        return (exists,)
    made = (DeviceCheck(CHECKED[reason], reason, check(client, principal, now)) for check, reason in CHECKS)
    return (exists, *made)


def _broken(known: Known) -> str:
    """What does not compile, in the compiler's words."""
    assert known.principal is not None
    if known.own is None:
        return f"a rule of the device {known.principal.username} itself does not compile"
    try:
        known.book.rule_sets(known.principal, known.policy_ids, known.own)
    except PolicyBroken as problem:
        return str(problem)
    return ""


def _verify(credential: PrincipalCredential, password: str) -> bool:
    return password_matches(credential.encoded, password)
