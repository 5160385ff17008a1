"""The change feed's triggers on SQLite: each change moves a number in the row of ``exhookadmin_revision``.

``exhookadmin/exhook/feed_sqlite.py`` polls that row.
"""

from collections.abc import Iterator, Mapping, Sequence

_OPERATIONS = {"insert": ("NEW",), "update": ("OLD", "NEW"), "delete": ("OLD",)}

# Which number a changed row moves, and when, if not always.
_MOVED = {
    "accounts_device": {"devices": ""},
    "accounts_credential": {"devices": ""},
    "accounts_device_groups": {"devices": ""},
    "acl_policy": {"policies": ""},
    "acl_policy_devices": {"devices": ""},
    "acl_policy_groups": {"policies": ""},
    "acl_rule": {"devices": "device_id IS NOT NULL", "policies": "policy_id IS NOT NULL"},
}

# The row comes to be with the first change, and anew after `manage.py flush`. It then starts
# at random: counting from 1 again it could come by a number that was seen before.
# No INSERT … ON CONFLICT: an INSERT OR IGNORE that fires the trigger would override it.
_MOVE = """
    UPDATE exhookadmin_revision SET {number} = {number} + 1 WHERE id = 1;
    INSERT INTO exhookadmin_revision (id, devices, policies)
        SELECT 1, random() / 2, random() / 2
        WHERE NOT EXISTS (SELECT 1 FROM exhookadmin_revision WHERE id = 1);"""


def creating(watched: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The statements that watch these columns of these tables."""
    for table, columns in watched.items():
        differs = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in columns)
        for number, condition in _MOVED[table].items():
            for operation, versions in _OPERATIONS.items():
                conditions = [f"({differs})"] if operation == "update" else []
                if condition:
                    concerned = " OR ".join(f"{version}.{condition}" for version in versions)
                    conditions.append(f"({concerned})")
                when = f" WHEN {' AND '.join(conditions)}" if conditions else ""
                yield (
                    f"CREATE TRIGGER {_name(table, number, operation)} "
                    f"AFTER {operation.upper()} ON {table}{when} BEGIN{_MOVE.format(number=number)}\nEND"
                )


def dropping(watched: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The statements that undo ``creating``."""
    for table in watched:
        for number in _MOVED[table]:
            for operation in _OPERATIONS:
                yield f"DROP TRIGGER {_name(table, number, operation)}"


def _name(table: str, number: str, operation: str) -> str:
    return f"exhook_{table}_{number}_{operation}"
