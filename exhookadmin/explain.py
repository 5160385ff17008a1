"""Why a decision is what it is, gathered as plain data for people: for the command and for the page.

Nothing here decides. Device, checks and rules come from the functions that answer the broker,
asked about a connection as it would describe it. What only a running endpoint knows is not
seen: which logins it throttles, and the last good version of a policy that broke since.
"""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from django.conf import settings

from accounts.core.admission import CHECKS
from accounts.core.authenticate import Verifier, authenticate
from accounts.core.binding import Binding, prescribed_client_id
from accounts.core.client import Client
from accounts.core.decision import Decision, Reason
from accounts.core.identity import IdentitySource, claims
from accounts.core.principal import CredentialKind, Principal, PrincipalCredential
from accounts.passwords import password_matches
from acl.core.decide import AccessRequest, Consideration, explain
from acl.drafts import PolicyDraft, book_with
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


class Secret(StrEnum):
    """What a client is supposed to send as its password, where no secret is at hand."""

    RIGHT = "right"
    WRONG = "wrong"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class DeviceCheck:
    """One thing that must hold of the device, and whether it does; if not, ``reason`` is the denial’s.

    ``detail`` says what the device demands and what the client has, in words.
    """

    words: str
    reason: Reason
    passed: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Explained:
    """A decision and all that was looked at.

    ``checks`` are in the order in which the first failure denies, and all made, so that every
    failure shows. ``considered`` holds every rule that applies, in evaluation order; ``topic`` is
    what they were tried on, without a wrapper such as ``$share/…``; ``problem`` says in words what
    is wrong with the topic or with a policy. ``revision`` names the state of the shared policies, as
    recorded decisions do.
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
    revision: str = ""

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
    return _explain_connect(look_up(client), client, now, _verify)


def suppose_connect(client: Client, secret: Secret, now: float | None = None) -> Explained:
    """May this client connect, if it sent a right credential, a wrong one, or none?

    Decided by the function that decides, with stand-ins for the device’s credentials: each is as live as
    the one it stands for, and no secret is needed, hashed or guessed. Raises django.db.Error.
    """
    known = look_up(client)
    if known.principal is not None:
        stand_ins = (replace(stored, kind=CredentialKind.PASSWORD) for stored in known.principal.credentials)
        known = replace(known, principal=replace(known.principal, credentials=tuple(stand_ins)))
    client = client._replace(password="" if secret is Secret.NONE else secret)
    return _explain_connect(known, client, now, lambda credential, sent: sent == Secret.RIGHT)


def explain_access(client: Client, request: AccessRequest, now: float | None = None) -> Explained:
    """May this client publish to the topic, or subscribe to the filter? Raises django.db.Error."""
    return explain_known(look_up(client), client, request, now)


def explain_known(
    known: Known, client: Client, request: AccessRequest, now: float | None = None
) -> Explained:
    """The same about what ``look_up`` found, so that many questions cost its queries once."""
    now = time.time() if now is None else now
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
        revision=known.book.revision,
    )


def look_up(client: Client) -> Known:
    """The endpoint's own look-up, with an empty memory: what the database says now.

    Raises django.db.Error.
    """
    directory = Directory(_order(), capacity=1, max_age=0, fail_static_age=0)
    directory.load_policies()
    return directory.find(client)


def suppose(known: Known, draft: PolicyDraft) -> Known:
    """The same device, if the draft were in force. Raises PolicyError for a draft that does not compile."""
    book = book_with(known.book, draft)
    if known.principal is None:
        return replace(known, book=book)
    policy_ids = draft.policy_ids(known.principal.id, known.policy_ids)
    rule_sets = None
    if known.own is not None:
        try:
            rule_sets = book.rule_sets(known.principal, policy_ids, known.own)
        except PolicyBroken:
            rule_sets = None
    return replace(known, book=book, policy_ids=policy_ids, rule_sets=rule_sets)


def _explain_connect(known: Known, client: Client, now: float | None, verify: Verifier) -> Explained:
    now = time.time() if now is None else now
    principal = known.principal
    decision = authenticate(client, principal, now, verify)
    if decision is None:
        raise RuntimeError("a verifier that hashes leaves nothing undecided")
    checks = _checks(client, principal, now)
    live = sum(credential.live(now) for credential in principal.credentials) if principal else 0
    if all(check.passed for check in checks):
        proof = f"{live or 'no'} live credential{'' if live == 1 else 's'}"
        checks = (*checks, DeviceCheck(PROVES_ITSELF, decision.reason, decision.allow, proof))
    found_by = _found_by(client, principal)
    return Explained(client, decision, principal, found_by, checks, live, revision=known.book.revision)


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
    if principal is None:
        tried = ", then ".join(f"{_SOURCES[source]} {value}" for source, value in claims(client, _order()))
        return (DeviceCheck(EXISTS, Reason.UNKNOWN_DEVICE, False, f"looked for by {tried or 'nothing'}"),)
    found_by = _found_by(client, principal)
    exists = DeviceCheck(
        EXISTS, Reason.UNKNOWN_DEVICE, True, f"found by {_SOURCES[found_by]}" if found_by else ""
    )
    made = (
        DeviceCheck(
            CHECKED[reason], reason, check(client, principal, now), _detail(reason, client, principal)
        )
        for check, reason in CHECKS
    )
    return (exists, *made)


_SOURCES = {
    IdentitySource.USERNAME: "username",
    IdentitySource.CLIENT_ID: "client id",
    IdentitySource.CERTIFICATE_CN: "certificate CN",
}


def _detail(reason: Reason, client: Client, principal: Principal) -> str:
    match reason:
        case Reason.NOT_YET_VALID:
            return (
                f"valid from {_moment(principal.valid_from)}"
                if principal.valid_from is not None
                else "no beginning set"
            )
        case Reason.NO_LONGER_VALID:
            return (
                f"valid until {_moment(principal.valid_until)}"
                if principal.valid_until is not None
                else "no end set"
            )
        case Reason.CLIENT_ID_NOT_BOUND:
            return f"demands {_demanded(principal)}; the client has {client.client_id or 'none'}"
        case Reason.ADDRESS_NOT_ALLOWED:
            if not principal.networks:
                return "anywhere is allowed"
            return (
                f"{_listed([str(network) for network in principal.networks])}; "
                f"the client connects from {client.address or 'an unknown address'}"
            )
    return ""


def _demanded(principal: Principal) -> str:
    match principal.binding:
        case Binding.PREFIX:
            separator = principal.bound_client_id[-1:]
            return f"{principal.bound_client_id}… without a further {separator}"
        case Binding.ANY:
            return "any client id"
    return prescribed_client_id(principal.binding, principal.bound_client_id, principal.username)


def _listed(texts: list[str], shown: int = 5) -> str:
    more = len(texts) - shown
    return ", ".join(texts[:shown]) + (f" and {more} more" if more > 0 else "")


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


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
