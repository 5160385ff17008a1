#!/usr/bin/env python
"""Django's command line for ExHook Admin."""

import os
import sys

from django.core.management import execute_from_command_line

INTERRUPTED = 130


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exhookadmin.settings")
    try:
        execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        # Imported only now: a command that goes well has no use for it.
        from exhookadmin.plain_errors import in_plain_words

        told = in_plain_words(error)
        if told is None or "--traceback" in sys.argv:
            raise
        print(told[0], file=sys.stderr)
        sys.exit(told[1])


if __name__ == "__main__":
    main()
