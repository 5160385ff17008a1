"""The change feed's triggers on PostgreSQL: one notification a statement, which names what changed.

A notification is JSON: ``{"devices": ids, "new_names": bool, "policies": bool}``, where ids is a
list, null for none, or "all" where there are too many to name; ``exhookadmin/exhook/feed_postgresql.py``
reads it. Nothing is written to a table, so that writers never wait for a row.
"""

from collections.abc import Iterator, Mapping, Sequence

CHANNEL = "exhook_changes"

# More than this is not worth naming. The whole must stay below 8,000 bytes: a longer one
# would fail the statement that changed something.
MOST_DEVICES = 500
MOST_BYTES = 7_500

_OF_A_DEVICE = "array_agg(DISTINCT device_id), false, false"
_POLICIES = "NULL, false, true"

# What is said of the changed rows: device ids, whether a name is new, whether policies changed.
# Nobody holds a device that was just inserted, so its id is of no use. A changed row counts
# as it was and as it is: a device with a new name is there under two.
_SAID = {
    "accounts_device": """
            array_agg(DISTINCT id) FILTER (WHERE TG_OP <> 'INSERT'),
            TG_OP = 'INSERT' OR count(DISTINCT (id, username, certificate_cn)) > count(DISTINCT id),
            false""",
    "accounts_credential": _OF_A_DEVICE,
    "accounts_device_groups": _OF_A_DEVICE,
    "acl_policy": _POLICIES,
    "acl_policy_devices": _OF_A_DEVICE,
    "acl_policy_groups": _POLICIES,
    "acl_rule": """
            array_agg(DISTINCT device_id) FILTER (WHERE device_id IS NOT NULL),
            false,
            bool_or(policy_id IS NOT NULL)""",
}

# The search path is kept because pg_dump's data-only scripts, among others, run with an empty one.
_NOTIFY = f"""
CREATE FUNCTION exhook_notify(devices bigint[], new_names boolean, policies boolean) RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    ids json := to_json(devices);
BEGIN
    IF cardinality(devices) > {MOST_DEVICES} OR octet_length(ids::text) > {MOST_BYTES} THEN
        ids := '"all"';
    END IF;
    PERFORM pg_notify(
        '{CHANNEL}', json_build_object('devices', ids, 'new_names', new_names, 'policies', policies)::text
    );
END $$"""

_FUNCTION = """
CREATE FUNCTION exhook_{table}_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify('{channel}', '{{"devices": "all", "new_names": true, "policies": true}}');
    ELSIF TG_OP = 'INSERT' THEN
        PERFORM exhook_notify({said})
        FROM new_rows HAVING count(*) > 0;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM exhook_notify({said})
        FROM old_rows HAVING count(*) > 0;
    ELSE
        PERFORM exhook_notify({said})
        FROM (
            (SELECT {columns} FROM old_rows EXCEPT SELECT {columns} FROM new_rows)
            UNION ALL
            (SELECT {columns} FROM new_rows EXCEPT SELECT {columns} FROM old_rows)
        ) AS changed HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END $$"""

_ROWS = {
    "insert": "REFERENCING NEW TABLE AS new_rows",
    "update": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "delete": "REFERENCING OLD TABLE AS old_rows",
    "truncate": "",
}


def creating(watched: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The statements that watch these columns of these tables."""
    yield _NOTIFY
    for table, columns in watched.items():
        yield _FUNCTION.format(table=table, channel=CHANNEL, said=_SAID[table], columns=", ".join(columns))
        for operation, rows in _ROWS.items():
            name = f"exhook_{operation}"
            yield (
                f"CREATE TRIGGER {name} AFTER {operation.upper()} ON {table} {rows} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION exhook_{table}_changed()"
            )
            # Also in sessions that load data as a replica would.
            yield f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"


def dropping(watched: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The statements that undo ``creating``."""
    for table in watched:
        yield f"DROP FUNCTION exhook_{table}_changed() CASCADE"
    yield "DROP FUNCTION exhook_notify(bigint[], boolean, boolean)"
