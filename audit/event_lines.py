"""Events as lines of COPY, a batch at once: what the writer spends most of its time on.

The same as ``copy_line`` makes of ``values_of``, in a third of the time where no text needs an escape,
as nearly always.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from audit.copy_text import copy_line
from audit.folding import Row
from audit.rows import COLUMNS, stored_address, stored_protocol, values_of

NULL = "\0"
"""No text of a row can hold it: it stands for NULL until it is certain that nothing needs an escape."""
TABS = len(COLUMNS) - 1
ALLOWED = {None: NULL, True: "t", False: "f"}


def event_lines(rows: Sequence[Row]) -> str:
    """A line for each row, its values in the order of ``COLUMNS``."""
    lines = []
    nulls = 0
    second, second_text = -1, ""
    for row in rows:
        fact = row.fact
        # As ``fact.at.isoformat()``, in a third of the time: facts of a batch share their seconds.
        if (whole := int(fact.time)) != second:
            second, second_text = whole, datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        microseconds = round((fact.time - whole) * 1_000_000)
        if 0 < microseconds < 1_000_000:
            moment = f"{second_text}.{microseconds:06}+00:00"
        else:
            moment = fact.at.isoformat()
        allowed, device, rule, credential = fact.allowed, fact.device_id, fact.rule_id, fact.credential_id
        address = stored_address(fact.address)
        last = NULL if row.last_time is None else datetime.fromtimestamp(row.last_time, UTC).isoformat()
        nulls += (allowed, device, rule, credential, address).count(None) + (last is NULL)
        lines.append(
            f"{fact.id.hex}\t{moment}\t{fact.kind}\t{ALLOWED[allowed]}\t"
            f"{fact.reason}\t{NULL if device is None else device}\t{fact.device}\t{fact.client_id}\t"
            f"{fact.username}\t{NULL if address is None else address}\t{fact.port}\t{fact.listener_port}\t"
            f"{stored_protocol(fact.protocol)}\t{fact.cn}\t{fact.node}\t{fact.cluster}\t{fact.action}\t"
            f"{fact.topic}\t{NULL if rule is None else rule}\t{fact.rule}\t"
            f"{NULL if credential is None else credential}\t{fact.detail}\t{fact.revision}\t"
            f"{row.repeats}\t{last}\n"
        )
    text = "".join(lines)
    if (
        "\\" in text
        or "\r" in text
        or text.count("\n") != len(rows)
        or text.count("\t") != len(rows) * TABS
        or text.count(NULL) != nulls
    ):
        return "".join([copy_line(values_of(row)) for row in rows])
    return text.replace(NULL, r"\N")
