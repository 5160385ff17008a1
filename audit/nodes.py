"""The broker's nodes: what they told of themselves, when they were heard, and what follows for sessions."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, Value

from audit.fact import Fact, Kind, bounded
from audit.models import BrokerNode, Event, NodeChange, Session, SessionQuerySet
from audit.presence import (
    GAP_SECONDS,
    INFERRED,
    NODE_DETACHED,
    NODE_KINDS,
    NODE_RESTARTED,
    SIGNS_OF_LIFE,
    START_TOLERANCE_SECONDS,
    SUPERSEDED,
    doubt_of,
    in_order,
    restart_before,
)

Node = tuple[str, str]
"""Cluster and name."""

# What a worker hears is stored when it is this much newer than what is stored, whoever stored it.
HEARD_SECONDS = 5.0
SETTLED: dict[str, Any] = {"unknown_since": None, "unknown_reason": "", "doubted_at": None}
# Facts of clients that come later than this find no trace of what was told of their node.
REMEMBERED_DAYS = 90


def move_nodes(facts: Iterable[Fact]) -> None:
    """Keeps the nodes, and their sessions, as the facts tell; to be called with ``lock_sessions`` held,
    in a transaction. Facts may come again, and in any order."""
    told = [fact for fact in in_order(facts) if fact.kind in NODE_KINDS and fact.node]
    known = set(
        NodeChange.objects.filter(pk__in=[fact.id for fact in told]).values_list("event_id", flat=True)
    )
    told = [fact for fact in told if fact.id not in known]
    if not told:
        return
    NodeChange.objects.filter(time__lt=told[0].at - timedelta(days=REMEMBERED_DAYS)).delete()
    NodeChange.objects.bulk_create([_row_of(fact) for fact in told])
    for fact in told:
        _introduce(fact)
        _end_what_it_survived(fact)
        _doubt(fact)
    for cluster, name in {(fact.cluster, fact.node) for fact in told}:
        _settle(cluster, name)


def told_since(clusters: Iterable[str], since: datetime) -> list[Fact]:
    """What was told of the clusters' nodes from then on, as facts."""
    rows = NodeChange.objects.filter(time__gte=since, cluster__in=set(clusters))
    return [
        Fact(
            Kind(row.kind),
            time=row.time.timestamp(),
            cluster=row.cluster,
            node=row.node,
            node_started=row.node_started.timestamp() if row.node_started else None,
            node_heard=row.node_heard.timestamp() if row.node_heard else None,
            id=row.event_id,
        )
        for row in rows
    ]


def store_heard(heard: Mapping[Node, float], now: float) -> dict[Node, float]:
    """Stores when nodes were heard, and that an endpoint is up that would have; only ever forward.

    Answers when each node was heard last by anybody, in seconds. One short statement for each row
    that changes, so that workers which do it at the same time never wait for each other in a ring.
    """
    heard = {(bounded(cluster), bounded(name)): at for (cluster, name), at in heard.items() if name}
    rows = {(row.cluster, row.name): row for row in BrokerNode.objects.all()}
    strangers = heard.keys() - rows.keys()
    if strangers:
        BrokerNode.objects.bulk_create(
            [BrokerNode(cluster=cluster, name=name) for cluster, name in sorted(strangers)],
            ignore_conflicts=True,
        )
        rows = {(row.cluster, row.name): row for row in BrokerNode.objects.all()}
    latest: dict[Node, float] = {}
    for node, row in rows.items():
        stored = row.heard_at.timestamp() if row.heard_at else None
        own = heard.get(node)
        latest_heard = max((at for at in (stored, own) if at is not None), default=None)
        if latest_heard is not None:
            latest[node] = latest_heard
        if own is not None and (stored is None or own - stored >= HEARD_SECONDS):
            _forward(row.pk, "heard_at", own)
        if row.attended_at is None or now - row.attended_at.timestamp() >= HEARD_SECONDS:
            _forward(row.pk, "attended_at", now)
    return latest


def claim_unattended(now: float) -> list[Fact]:
    """A fact for each node with sessions that nobody has listened to for longer than a moment.

    For an endpoint that is about to listen: EMQX up to 5.8 does not tell that it was away, and what
    ended meanwhile was told to nobody. Of several that begin at once one gets the fact. Raises
    django.db.Error.
    """
    open_there = Session.objects.online().filter(node=OuterRef("name"), cluster=OuterRef("cluster"))
    nodes = BrokerNode.objects.filter(Exists(open_there), attended_at__lt=_utc(now - GAP_SECONDS))
    return [
        Fact(
            Kind.ENDPOINT_BACK,
            time=now,
            cluster=row.cluster,
            node=row.name,
            node_heard=row.attended_at.timestamp(),
            detail=f"nobody had listened since {row.attended_at:%Y-%m-%d %H:%M:%S} UTC",
        )
        for row in nodes
        if row.attended_at and _claimed(row, now)
    ]


def _claimed(row: BrokerNode, now: float) -> bool:
    mine = BrokerNode.objects.filter(pk=row.pk, attended_at=row.attended_at)
    return mine.update(attended_at=_utc(now)) == 1


def _forward(pk: int, column: str, at: float) -> None:
    moment = _utc(at)
    earlier = Q(**{column: None}) | Q(**{f"{column}__lt": moment})
    BrokerNode.objects.filter(earlier, pk=pk).update(**{column: moment})


def _introduce(fact: Fact) -> None:
    row, _ = BrokerNode.objects.get_or_create(cluster=bounded(fact.cluster), name=bounded(fact.node))
    if fact.kind is Kind.ENDPOINT_BACK:
        return
    _forward(row.pk, "heard_at", fact.time)
    if fact.kind is Kind.PROVIDER_UNLOADED:
        _forward(row.pk, "detached_at", fact.time)
        return
    BrokerNode.objects.filter(Q(attached_at=None) | Q(attached_at__lt=fact.at), pk=row.pk).update(
        attached_at=fact.at,
        version=bounded(fact.node_version, 100),
        protocol=bounded(fact.node_protocol, 10),
        started_at=None if fact.node_started is None else _utc(fact.node_started),
    )


def _end_what_it_survived(fact: Fact) -> None:
    """``audit.presence.told_of_node`` for all of the node's rows: a restart."""
    ended_by = restart_before(fact)
    if ended_by is None:
        return
    start = _utc(ended_by)
    before = Session.objects.filter(
        cluster=bounded(fact.cluster),
        node=bounded(fact.node),
        connected_at__lt=_utc(ended_by - START_TOLERANCE_SECONDS),
    )
    guessed = Q(disconnected_at__gt=start, end_reason__in=INFERRED)
    before.filter(Q(disconnected_at=None) | guessed).update(disconnected_at=start, end_reason=NODE_RESTARTED)
    # What was told later doubts nothing that had ended by then.
    no_doubt = Q(unknown_since__gte=start) | Q(doubted_at__gt=fact.at)
    before.filter(no_doubt, disconnected_at=start, end_reason=NODE_RESTARTED).update(**SETTLED)


def _doubt(fact: Fact) -> None:
    """``audit.presence.told_of_node`` for all of the node's rows: ends that may have been missed."""
    doubt = doubt_of(fact)
    if doubt is None:
        return
    since, reason = _utc(doubt[0]), doubt[1]
    begins = Q(connected_at__lt=fact.at)
    ended_by = restart_before(fact)
    if ended_by is not None:
        begins &= Q(connected_at__gte=_utc(ended_by - START_TOLERANCE_SECONDS))
    node = {"cluster": bounded(fact.cluster), "node": bounded(fact.node)}
    # Not those of whose restart was told before: they were known to have ended.
    known = NodeChange.objects.filter(
        **node, kind=Kind.PROVIDER_LOADED, time__lt=fact.at, node_started__isnull=False
    )
    restarted_later = Q(disconnected_at__gt=since, end_reason=NODE_RESTARTED) & ~Q(
        disconnected_at__in=known.values("node_started")
    )
    there = Session.objects.filter(begins, **node).filter(
        Q(disconnected_at=None) | Q(disconnected_at__gt=fact.at, end_reason=SUPERSEDED) | restarted_later
    )
    _doubt_from(there.filter(connected_at__lte=since), Value(since), fact.at, reason)
    if reason != NODE_DETACHED:
        until = _utc(fact.time - GAP_SECONDS)
        later = there.filter(connected_at__gt=since, connected_at__lt=until)
        _doubt_from(later, F("connected_at"), fact.at, reason)


def _doubt_from(sessions: SessionQuerySet, since: F | Value, told_at: datetime, reason: str) -> None:
    """The doubt that reaches back furthest counts; of two that reach as far, what was told first."""
    less = Q(unknown_since=None) | Q(unknown_since__gt=since) | Q(unknown_since=since, doubted_at__gt=told_at)
    sessions.filter(less).update(unknown_since=since, unknown_reason=reason, doubted_at=told_at)


def _settle(cluster: str, name: str) -> None:
    """Of those that are doubted, frees the ones that have been heard since: this fact came late."""
    alive = Event.objects.filter(
        client_id=OuterRef("client_id"),
        cluster=OuterRef("cluster"),
        node=OuterRef("node"),
        address=OuterRef("address"),
        port=OuterRef("port"),
        kind__in=[str(kind) for kind in SIGNS_OF_LIFE],
        time__gt=OuterRef("doubted_at"),
    )
    doubted = Session.objects.unknown().filter(cluster=bounded(cluster), node=bounded(name))
    doubted.filter(Exists(alive)).update(**SETTLED)


def _row_of(fact: Fact) -> NodeChange:
    return NodeChange(
        event_id=fact.id,
        cluster=bounded(fact.cluster),
        node=bounded(fact.node),
        kind=fact.kind,
        time=fact.at,
        node_started=None if fact.node_started is None else _utc(fact.node_started),
        node_heard=None if fact.node_heard is None else _utc(fact.node_heard),
    )


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
