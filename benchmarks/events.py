"""An audit log of any size on PostgreSQL, made by the server itself.

Each device has a hundred events, which lie scattered: a fleet that grows has a log that grows.
"""

from datetime import datetime, timedelta

from django.db import connection

from audit.models import Event
from audit.partitions import Length, span_for
from audit.partitions_postgresql import attach, partitions
from audit.retention import KindGroup

EVENTS_A_DEVICE = 100
DAYS = 90
ROWS = """
INSERT INTO audit_event (id, time, kind, allowed, reason, device, client_id, username, address, port,
    listener_port, protocol, cn, node, cluster, action, topic, rule, detail, revision, repeats)
SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || '7' ||
        substr(md5(n::text), 1, 19))::uuid,
    moment, CASE WHEN denied THEN 'client.authorize' WHEN n %% 2 = 0 THEN 'client.connected'
        ELSE 'client.disconnected' END,
    CASE WHEN denied THEN false END, CASE WHEN denied THEN 'no_rule_matched' ELSE '' END,
    'device-' || device, 'client-' || device, 'device-' || device, '10.0.0.0'::inet + device,
    n %% 60000, 1883, 'mqtt', '', 'emqx@10.0.0.' || n %% 3, 'emqx',
    CASE WHEN denied THEN 'publish' ELSE '' END,
    CASE WHEN denied THEN 'site/' || device || '/state' ELSE '' END,
    '', CASE WHEN denied THEN '' ELSE 'normal' END, '', 0
FROM (
    SELECT n, n %% 5 < 3 AS denied, n * 7919 %% devices AS device,
        until - (many - n) * (interval '1 day' * days / many) AS moment
    FROM (SELECT %(many)s::bigint AS many, %(devices)s::bigint AS devices, %(until)s::timestamptz AS until,
        %(days)s AS days) AS plan, generate_series(1, many) AS n
) AS numbered
"""


def fill(many: int, now: datetime) -> int:
    """Stores so many events of the last DAYS; answers of how many devices they are."""
    until, devices = now - timedelta(seconds=1), max(1, many // EVENTS_A_DEVICE)
    with connection.schema_editor() as editor:
        # An index is made faster than it is kept.
        for index in Event._meta.indexes:
            editor.remove_index(Event, index)
    for group in KindGroup:
        _attach_partitions(group, until)
    with connection.cursor() as cursor:
        cursor.execute(ROWS, {"many": many, "devices": devices, "until": until, "days": DAYS})
    with connection.schema_editor() as editor:
        for index in Event._meta.indexes:
            editor.add_index(Event, index)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE audit_event")
    return devices


def _attach_partitions(group: KindGroup, until: datetime) -> None:
    for days in range(DAYS + 7, -1, -7):
        moment = until - timedelta(days=days)
        existing = [one.span for one in partitions(group)]
        if not any(moment in span for span in existing):
            attach(group, span_for(moment, existing, Length.WEEK), lambda text: None)
