"""Sessions in the database, moved by the facts of a batch."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from django.db import connection
from django.db.models import Q
from msgspec.structs import replace
from psycopg2.extras import execute_values

from audit.fact import TEXT_CHARACTERS, Fact, Kind, bounded
from audit.models import Event, Session
from audit.nodes import move_nodes, told_since
from audit.presence import (
    MOVING_KINDS,
    NODE_KINDS,
    REMEMBERED_SECONDS,
    SIGNS_OF_LIFE,
    Key,
    Presence,
    Rebuild,
    key_of,
    moves_presence,
    shows_life,
)
from audit.rows import stored_address

# Any number that no other program locks in the same database.
SESSIONS_LOCK = 7_305_811_734
UPDATED_AT_ONCE = 1000


def lock_sessions() -> None:
    """One writer at a time, until it commits: two that did not see each other's sessions would
    both put the same client online. SQLite has one writer at a time anyway."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SESSIONS_LOCK])


def move_sessions(facts: Sequence[Fact]) -> None:
    """Opens, ends and doubts sessions as the facts tell; to be called with ``lock_sessions`` held where
    a fact ``moves_presence``, in a transaction. Facts may come again, and in any order.
    """
    nodes = [_comparable(fact) for fact in facts if fact.kind in NODE_KINDS and moves_presence(fact)]
    moving = [_comparable(fact) for fact in facts if fact.kind in MOVING_KINDS and moves_presence(fact)]
    moving += _signs_that_matter([fact for fact in facts if shows_life(fact)])
    move_nodes(nodes)
    if moving:
        _rebuild(_by_client(moving))


def _comparable(fact: Fact) -> Fact:
    """As its row spells it, so that it is the same whether it comes from a spool or from a table."""
    return replace(
        fact,
        time=_microseconds(fact.time),
        address=stored_address(fact.address) or "",
        node_started=None if fact.node_started is None else _microseconds(fact.node_started),
        node_heard=None if fact.node_heard is None else _microseconds(fact.node_heard),
    )


def _microseconds(seconds: float) -> float:
    return _utc(seconds).timestamp()


def _signs_that_matter(facts: Sequence[Fact]) -> list[Fact]:
    """Those of clients of whom it is unknown whether they are online: nearly always none."""
    if not facts or not Session.objects.unknown().exists():
        return []
    clients = {fact.client_id for fact in facts}
    unknown = set(Session.objects.unknown().filter(client_id__in=clients).values_list("cluster", "client_id"))
    if not unknown:
        return []
    lock_sessions()
    return [_comparable(fact) for fact in facts if key_of(fact) in unknown]


def _by_client(facts: Iterable[Fact]) -> dict[Key, list[Fact]]:
    clients: dict[Key, list[Fact]] = {}
    for fact in facts:
        clients.setdefault(key_of(fact), []).append(fact)
    return clients


def _rebuild(clients: Mapping[Key, Sequence[Fact]]) -> None:
    stored = _stored(clients)
    rebuilds = {key: Rebuild(stored.get(key, []), facts) for key, facts in clients.items()}
    events = _events(rebuilds)
    nodes = told_since(
        (cluster for cluster, _ in rebuilds), _utc(min(rebuild.since for rebuild in rebuilds.values()))
    )
    gone: list[Presence] = []
    changed: list[Presence] = []
    for key, rebuild in rebuilds.items():
        of_cluster = [node for node in nodes if node.cluster == key[0]]
        sessions = rebuild.sessions(events.get(key, ()), of_cluster)
        before = {session.row_id: session for session in rebuild.stored}
        after = {session.row_id for session in sessions}
        gone += [session for session in rebuild.stored if session.row_id not in after]
        changed += [s for s in sessions if s.row_id is None or s != before[s.row_id]]
    _store(gone, changed)


def _store(gone: Iterable[Presence], changed: Sequence[Presence]) -> None:
    Session.objects.filter(pk__in=[session.row_id for session in gone]).delete()
    # Ended sessions first: only one may be online per client id at any moment.
    for online in (False, True):
        rows = [_row_of(session) for session in changed if session.online is online]
        _update([row for row in rows if row.pk])
        Session.objects.bulk_create([row for row in rows if not row.pk])


def _update(rows: Sequence[Session]) -> None:
    """In one statement: Django's ``bulk_update`` takes time with the square of the rows."""
    if not rows:
        return
    moment = connection.ops.adapt_datetimefield_value
    values = [
        (
            moment(row.disconnected_at),
            row.end_reason,
            moment(row.unknown_since),
            row.unknown_reason,
            moment(row.doubted_at),
            row.pk,
        )
        for row in rows
    ]
    table = Session._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            execute_values(
                cursor,
                f"UPDATE {table} SET disconnected_at = new.ended::timestamptz, end_reason = new.reason,"
                " unknown_since = new.since::timestamptz, unknown_reason = new.doubt,"
                " doubted_at = new.told::timestamptz"
                f" FROM (VALUES %s) AS new (ended, reason, since, doubt, told, id) WHERE {table}.id = new.id",
                values,
                page_size=UPDATED_AT_ONCE,
            )
        else:
            cursor.executemany(
                f"UPDATE {table} SET disconnected_at = %s, end_reason = %s,"
                " unknown_since = %s, unknown_reason = %s, doubted_at = %s WHERE id = %s",
                values,
            )


def _stored(clients: Mapping[Key, Sequence[Fact]]) -> dict[Key, list[Presence]]:
    """What is stored of the clients: who is online, and who was until shortly before the first fact."""
    sessions: dict[Key, list[Presence]] = {}
    begins = min(fact.time for facts in clients.values() for fact in facts)
    since = _utc(begins - REMEMBERED_SECONDS)
    for cluster, client_ids in _by_cluster(clients).items():
        rows = Session.objects.filter(
            Q(disconnected_at=None) | Q(disconnected_at__gte=since), cluster=cluster, client_id__in=client_ids
        )
        for row in rows.order_by("connected_at", "pk"):
            sessions.setdefault((row.cluster, row.client_id), []).append(_presence_of(row))
    return sessions


def _events(rebuilds: Mapping[Key, Rebuild]) -> dict[Key, list[Fact]]:
    """What is stored of each client since its facts reach back: nothing, where they come in order."""
    late = {key: rebuild for key, rebuild in rebuilds.items() if rebuild.since < rebuild.begins}
    in_time = {key: rebuild for key, rebuild in rebuilds.items() if key not in late}
    facts: dict[Key, list[Fact]] = {}
    # Apart, so that one session of last week does not have a week of everybody's events read.
    for some in (late, in_time):
        if not some:
            continue
        since = _utc(min(rebuild.since for rebuild in some.values()))
        for cluster, client_ids in _by_cluster(some).items():
            doubted = [
                client_id
                for client_id in client_ids
                if any(session.unknown_since is not None for session in some[cluster, client_id].stored)
            ]
            kinds = Q(kind__in=[str(kind) for kind in MOVING_KINDS])
            if doubted:
                kinds |= Q(kind__in=[str(kind) for kind in SIGNS_OF_LIFE], client_id__in=doubted)
            own = [fact.id for client_id in client_ids for fact in some[cluster, client_id].new]
            rows = Event.objects.filter(kinds, cluster=cluster, client_id__in=client_ids, time__gte=since)
            for row in rows.exclude(pk__in=own):
                facts.setdefault((cluster, row.client_id), []).append(_fact_of(row))
    return facts


def _by_cluster(keys: Iterable[Key]) -> dict[str, list[str]]:
    clusters: dict[str, list[str]] = {}
    for cluster, client_id in keys:
        clusters.setdefault(cluster, []).append(client_id)
    return clusters


def _fact_of(row: Event) -> Fact:
    return Fact(
        Kind(row.kind),
        time=row.time.timestamp(),
        device_id=row.device_id,
        device=row.device,
        client_id=row.client_id,
        username=row.username,
        address=row.address or "",
        port=row.port,
        protocol=row.protocol,
        node=row.node,
        cluster=row.cluster,
        detail=row.detail,
        id=row.id,
    )


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
        unknown_since=row.unknown_since.timestamp() if row.unknown_since else None,
        unknown_reason=row.unknown_reason,
        doubted_at=row.doubted_at.timestamp() if row.doubted_at else None,
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
        unknown_since=None if session.unknown_since is None else _utc(session.unknown_since),
        unknown_reason=session.unknown_reason,
        doubted_at=None if session.doubted_at is None else _utc(session.doubted_at),
    )


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
