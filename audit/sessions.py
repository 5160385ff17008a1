"""Sessions in the database, moved by the facts of a batch."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from django.db import connection
from django.db.models import Q

from audit.fact import TEXT_CHARACTERS, Fact, bounded
from audit.models import Session
from audit.presence import ClientHistory, Key, Presence, apply_facts, key_of, moves_presence
from audit.rows import stored_address

# How long after a session's end the broker may still tell why it ended.
REMEMBERED_SECONDS = 60
# Any number that no other program locks in the same database.
SESSIONS_LOCK = 7_305_811_734


def lock_sessions() -> None:
    """One writer at a time, until it commits: two that did not see each other's sessions would
    both put the same client online. SQLite has one writer at a time anyway."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SESSIONS_LOCK])


def _comparable(fact: Fact) -> Fact:
    """With its address as a session's row spells it, so that a later end is known to be its own."""
    return replace(fact, address=stored_address(fact.address) or "")


def move_sessions(facts: Sequence[Fact]) -> None:
    """Opens and ends sessions as the facts tell; to be called with ``lock_sessions`` held, in a transaction.

    Each fact once only: a connect that came again would be taken for a new one.
    """
    facts = [_comparable(fact) for fact in facts if moves_presence(fact)]
    if not facts:
        return
    histories = _histories(facts)
    apply_facts(histories, facts)
    changed = [session for history in histories.values() for session in history.changed]
    # Ended sessions first: only one may be online per client id at any moment.
    for online in (False, True):
        rows = [_row_of(session) for session in changed if session.online is online]
        Session.objects.bulk_update([row for row in rows if row.pk], ["disconnected_at", "end_reason"])
        Session.objects.bulk_create([row for row in rows if not row.pk])


def _histories(facts: Sequence[Fact]) -> dict[Key, ClientHistory]:
    """What is stored of the clients in the batch: who is online, and who was until just now."""
    histories: dict[Key, ClientHistory] = {}
    wanted = {(bounded(fact.cluster), bounded(fact.client_id)): key_of(fact) for fact in facts}
    since = _utc(min(fact.time for fact in facts) - REMEMBERED_SECONDS)
    for cluster in {cluster for cluster, _ in wanted}:
        rows = Session.objects.filter(
            Q(disconnected_at=None) | Q(disconnected_at__gte=since),
            cluster=cluster,
            client_id__in=[client_id for of_cluster, client_id in wanted if of_cluster == cluster],
        )
        for row in rows.order_by("connected_at", "pk"):
            history = histories.setdefault(wanted[row.cluster, row.client_id], ClientHistory())
            history.sessions.append(_presence_of(row))
    return histories


def _presence_of(row: Session) -> Presence:
    return Presence(
        client_id=row.client_id,
        cluster=row.cluster,
        node=row.node,
        device_id=row.device_id,
        device=row.device,
        username=row.username,
        address=row.address or "",
        port=row.port,
        protocol=row.protocol,
        connected_at=row.connected_at.timestamp(),
        disconnected_at=row.disconnected_at.timestamp() if row.disconnected_at else None,
        end_reason=row.end_reason,
        row_id=row.pk,
    )


def _row_of(session: Presence) -> Session:
    return Session(
        pk=session.row_id,
        client_id=bounded(session.client_id),
        cluster=bounded(session.cluster),
        node=bounded(session.node),
        device_id=session.device_id,
        device=bounded(session.device),
        username=bounded(session.username),
        address=stored_address(session.address),
        port=session.port,
        protocol=bounded(session.protocol, 40),
        connected_at=_utc(session.connected_at),
        disconnected_at=None if session.disconnected_at is None else _utc(session.disconnected_at),
        end_reason=bounded(session.end_reason, TEXT_CHARACTERS),
    )


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
