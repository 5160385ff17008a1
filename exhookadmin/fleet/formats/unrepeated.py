"""Reasons that do not repeat what stands in the file.

Anybody may send a file of passwords as any format, or have a column in the wrong place, and reports are kept
and passed on. So what is wrong is said by its place and by what is expected there.
"""

from collections.abc import Sequence

from acl.core.placeholders import KNOWN, placeholder_problem
from acl.core.rules import rule_filter_problem
from acl.core.wrappers import WRAPPERS

MOMENT = "2027-03-01T08:00:00+01:00"
NETWORKS = "write addresses or networks such as 192.0.2.0/24 or 2001:db8::/32, with no host bits set"


def filter_reason(text: str) -> str | None:
    """Why no rule can have this topic filter; None where one can."""
    if text.startswith(WRAPPERS):
        return "write the inner filter: the wrapper is removed before rules are tried"
    if placeholder_problem(text) is not None:
        return (
            f"a placeholder in it is never closed, or is none of {KNOWN}; a first level that begins with $, "
            "such as $SYS, holds none"
        )
    return rule_filter_problem(text)


def repeated_name(names: Sequence[str]) -> str:
    """Where in an object the same name stands twice."""
    second = next(place for place, name in enumerate(names) if name in names[:place])
    return f"members {names.index(names[second]) + 1} and {second + 1} of one object have the same name"
