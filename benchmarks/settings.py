"""The product's settings, without the `.env` and the EXHOOK_* variables of whoever runs the benchmarks.

What starts a process decides its DATABASE_URL, VAR_DIR and whatever differs from the defaults.
"""

import environ

environ.Env.read_env = lambda *arguments, **options: None

from exhookadmin.settings import *  # noqa: E402, F403
