"""Whether somebody is online: one answer, with since when and why, for every page that shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import connection

from audit.models import Session
from audit.presence import GAP_SECONDS


class Standing(StrEnum):
    """The four things that can be said of a device's or a client's presence."""

    ONLINE = "online"
    OFFLINE = "offline"
    UNKNOWN = "unknown"
    """Online unless its end was missed: the node restarted, or nobody listened."""
    NEVER_SEEN = "never seen"


@dataclass(frozen=True)
class State:
    """``since`` is when it came to be so, None where that is not known; ``why`` is empty for online."""

    standing: Standing
    since: datetime | None = None
    why: str = ""
    session: Session | None = None


NEVER_SEEN = State(Standing.NEVER_SEEN)


def state_of(session: Session, last_seen: datetime | None = None) -> State:
    """What the session says. ``last_seen`` is when its device was seen last by whatever it did: after
    the doubt began, that settles it."""
    if session.disconnected_at is not None:
        return State(Standing.OFFLINE, session.disconnected_at, session.end_reason, session)
    doubt = session.unknown_since
    if doubt is None or (last_seen is not None and last_seen > doubt + timedelta(seconds=GAP_SECONDS)):
        return State(Standing.ONLINE, session.connected_at, session=session)
    return State(Standing.UNKNOWN, doubt, session.unknown_reason, session)


def presence_of_client(client_id: str, cluster: str | None = None) -> State:
    """A client id's state, in this cluster or whichever it was in last."""
    sessions = Session.objects.filter(client_id=client_id)
    if cluster is not None:
        sessions = sessions.filter(cluster=cluster)
    newest = sessions.order_by("-connected_at", "-pk").first()
    return state_of(newest) if newest else NEVER_SEEN


def presence_of_device(device_id: int, last_seen: datetime | None = None) -> State:
    """As ``presence_of_devices``, of one."""
    return presence_of_devices({device_id: last_seen})[device_id]


def presence_of_devices(last_seen: Mapping[int, datetime | None]) -> dict[int, State]:
    """The states of devices, by id, with two queries however many they are.

    ``last_seen`` has each device's id and when it was seen last by whatever it did. One with several
    clients is online as long as one of them is; otherwise it is so since the last of them was.
    """
    sessions = Session.objects.in_bulk(_deciding_sessions(list(last_seen)))
    by_device = {session.device_id: session for session in sessions.values()}
    states = {}
    for device_id, seen in last_seen.items():
        session = by_device.get(device_id)
        if session is not None:
            states[device_id] = state_of(session, seen)
        else:
            states[device_id] = State(Standing.OFFLINE, seen) if seen else NEVER_SEEN
    return states


def _deciding_sessions(device_ids: list[int]) -> list[int]:
    """For each device the newest session that is certainly open, else is open, else ended last."""
    if not device_ids:
        return []
    rows = ", ".join(["(%s)"] * len(device_ids))
    devices = f"(SELECT column1 AS id FROM (VALUES {rows}) AS given) AS device"
    table = Session._meta.db_table
    query = f"""
        SELECT coalesce(
            (SELECT id FROM {table} WHERE device_id = device.id AND disconnected_at IS NULL
             ORDER BY unknown_since IS NOT NULL, connected_at DESC, id DESC LIMIT 1),
            (SELECT id FROM {table} WHERE device_id = device.id AND disconnected_at IS NOT NULL
             ORDER BY disconnected_at DESC LIMIT 1)
        ) FROM {devices}
    """
    with connection.cursor() as cursor:
        cursor.execute(query, device_ids)
        return [row[0] for row in cursor.fetchall() if row[0] is not None]
