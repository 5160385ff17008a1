"""A worker that records nothing: it decides, answers and makes its facts, and lets go of them.

``python -m benchmarks.unrecorded HOST PORT``, as ``exhookadmin.exhook.worker``.
"""

import sys

from audit.fact import Fact
from exhookadmin.exhook import worker
from exhookadmin.exhook.lifetime import end_with_parent


def main(host: str, port: int) -> int:
    """Answers the exit status."""
    import django

    django.setup()
    from audit.recorder import Recorder

    def forget(self: Recorder, fact: Fact) -> None:
        pass

    Recorder.record = forget  # type: ignore[method-assign]
    return worker.main(host, port)


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
