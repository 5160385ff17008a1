"""Very many events, made by the database itself: a second or two for each hundred thousand."""

from django.db import connection

NUMBERS = {
    "sqlite": "WITH RECURSIVE numbers(n) AS (SELECT %s UNION ALL SELECT n + 1 FROM numbers WHERE n < %s)",
    "postgresql": "WITH numbers(n) AS (SELECT generate_series(%s::bigint, %s::bigint))",
}
# A UUIDv7 each, unique by its number; and a moment each, a tenth of a second apart.
VALUES = {
    "sqlite": (
        "printf('%%012x7%%019x', 1790000000000 + n * 100, n)",
        # As Django spells it: a fraction of six digits, or none at all. It sorts as text.
        "datetime(1790000000 + n / 10, 'unixepoch') || iif(n %% 10, '.' || n %% 10 || '00000', '')",
    ),
    "postgresql": (
        "(lpad(to_hex(1790000000000 + n * 100), 12, '0') || '7' || lpad(to_hex(n), 19, '0'))::uuid",
        "to_timestamp(1790000000 + n / 10.0)",
    ),
}


def store_many(first: int, last: int) -> None:
    """Denials with these numbers, of a thousand devices."""
    event, moment = VALUES[connection.vendor]
    address = "'192.0.2.7'" + ("::inet" if connection.vendor == "postgresql" else "")
    with connection.cursor() as cursor:
        cursor.execute(
            f"{NUMBERS[connection.vendor]} INSERT INTO audit_event (id, time, kind, allowed, reason, device, "
            "client_id, username, address, port, listener_port, protocol, cn, node, cluster, action, topic, "
            f"rule, detail, revision, repeats) SELECT {event}, {moment}, 'client.authorize', false, "
            "'no_rule_matched', 'device-' || n %% 1000, 'client-' || n %% 1000, 'device-' || n %% 1000, "
            f"{address}, n %% 60000, 1883, 'mqtt', '', 'emqx@one', '', 'publish', 'dev/' || n || '/state', "
            "'', '', '', 0 FROM numbers",
            [first, last],
        )
