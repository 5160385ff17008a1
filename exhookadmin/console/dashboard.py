"""The home of the admin: how devices, brokers and the endpoint are, and what somebody should look at.

Everybody sees of it what they may see elsewhere. Nothing here counts more rows than it says.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from audit.fact import Kind
from audit.models import BrokerNode
from exhookadmin.console.activity import activity
from exhookadmin.console.endpoint_health import cautions, figures_of
from exhookadmin.console.endpoint_reading import read_endpoint
from exhookadmin.console.fleet_size import FleetSize, fleet_size
from exhookadmin.console.refusals import SEARCHED, newest_refusals
from exhookadmin.console.strangers import Stranger, gather
from exhookadmin.words import reason_words

MOST_REFUSALS = 2_000
LINES = 8
MOST_NODES = 20
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a list of what is most: what, how often, and the events behind it."""

    title: str
    count: str
    url: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Number:
    """One number of devices; ``tone`` is “good”, “careful” or nothing."""

    title: str
    text: str
    url: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A broker's node as the page shows it."""

    node: BrokerNode
    state: str
    colour: str


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the admin's home shows, for unfold's DASHBOARD_CALLBACK."""
    now = timezone.now()
    context["title"] = "Home"
    if _may(request, "accounts.view_device", "accounts.change_device"):
        context |= _fleet(fleet_size())
    if _may(request, "audit.view_event"):
        context |= _what_happened(now)
    if _may(request, "audit.view_brokernode"):
        context |= _endpoint()
    return context


def _may(request: HttpRequest, *permissions: str) -> bool:
    return any(request.user.has_perm(permission) for permission in permissions)


def _fleet(size: FleetSize) -> dict[str, Any]:
    devices = reverse("admin:accounts_device_changelist")
    numbers = [
        ("Devices", size.devices, devices, ""),
        ("Online", size.online, "", "good"),
        ("Offline", size.offline, "", ""),
        ("Never seen", size.never_seen, "", ""),
        ("Disabled", size.disabled, f"{devices}?enabled__exact=0", ""),
        ("Clients whose end may have been missed", size.unknown or None, "", "careful"),
    ]
    return {
        "fleet": [
            Number(title, f"{number:,}{'' if size.complete else '+'}", url, tone)
            for title, number, url, tone in numbers
            if number is not None
        ],
        "fleet_complete": size.complete,
    }


def _what_happened(now: datetime) -> dict[str, Any]:
    refusals = newest_refusals(now - DAY, MOST_REFUSALS)
    reasons: Counter[str] = Counter()
    for refusal in refusals.found:
        if refusal.kind == Kind.AUTHENTICATE:
            reasons[refusal.because] += 1 + refusal.repeats
    strangers = sorted(gather(refusals.found), key=lambda stranger: stranger.count, reverse=True)
    return {
        "series": activity(now),
        "now": now,
        "reasons": [
            Line(
                reason_words(reason).title,
                f"{count:,}",
                _search(kind=Kind.AUTHENTICATE.value, reason=reason, since="24h"),
            )
            for reason, count in reasons.most_common(LINES)
        ],
        "refused": [_line(stranger) for stranger in strangers[:LINES]],
        "refusals_complete": refusals.complete,
        "most_refusals": f"{MOST_REFUSALS:,}",
    }


def _line(stranger: Stranger) -> Line:
    url = _search(**{SEARCHED[stranger.source]: stranger.identity, "allowed": "no", "since": "24h"})
    return Line(stranger.identity, f"{stranger.count:,}", url, reason_words(stranger.reason).title)


def _search(**parameters: str) -> str:
    return f"{reverse('console:explorer')}?{urlencode(parameters)}"


def _endpoint() -> dict[str, Any]:
    reading = read_endpoint(settings.EXHOOK_METRICS)
    nodes = [
        _node(node) for node in BrokerNode.objects.order_by("detached_at", "cluster", "name")[:MOST_NODES]
    ]
    return {
        "endpoint": reading,
        "figures": figures_of(reading),
        "cautions": cautions(reading, settings.EXHOOK_SPOOL_MEGABYTES),
        "nodes": nodes,
    }


def _node(node: BrokerNode) -> Node:
    if node.detached_at is not None and (node.attached_at is None or node.attached_at < node.detached_at):
        return Node(node, "detached", "warning")
    return Node(node, "attached", "success") if node.attached_at else Node(node, "not introduced", "info")
