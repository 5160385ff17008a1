"""Maintenance of the audit log, as a process of its own: done once, and told in a line of JSON.

``python -m exhookadmin.exhook.maintenance`` is what the supervisor spawns, so that a database that
hangs hangs nothing else.
"""

import json
import logging
import os
import sys

import django
from django.db import Error

from exhookadmin.exhook.lifetime import EXIT_DATABASE_AWAY, end_with_parent
from exhookadmin.logs import log_the_uncaught

logger = logging.getLogger("exhookadmin.exhook.maintenance")

# It may take what the devices leave over.
NICENESS = 10


def main() -> int:
    """Answers the exit status. The line tells what is known afterwards, whoever has found it out."""
    os.nice(NICENESS)
    django.setup()
    log_the_uncaught()
    # Imported only now: the models need the set-up.
    from audit.maintenance import Busy, maintain
    from audit.models import Maintenance

    try:
        try:
            outcome = maintain(lambda text: logger.info("audit log maintained", extra={"did": text}))
            result = "incomplete" if outcome.problems else "done"
        except Busy:
            result = "busy"
        known = Maintenance.objects.first()
    except Error as error:
        logger.error("the audit log cannot be maintained", extra={"error": str(error).strip()})
        return EXIT_DATABASE_AWAY
    report = {
        "result": result,
        "done_at": known.done_at.timestamp() if known and known.done_at else None,
        "warnings": known.warnings if known else [],
        "outside": known.outside if known else {},
    }
    print(json.dumps(report), flush=True)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exhookadmin.settings")
    end_with_parent()
    sys.exit(main())
