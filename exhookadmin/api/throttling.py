"""How often a key may call: enough for people and scripts, too little to stall the others."""

from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import SimpleRateThrottle

from exhookadmin.api.models import ApiKey


class KeyThrottle(SimpleRateThrottle):
    """Counts by key, in each process for itself; who has none is counted by address."""

    scope = "key"

    def get_cache_key(self, request: Request, view: Any) -> str:
        who = request.user.identifier if isinstance(request.user, ApiKey) else self.get_ident(request)
        return str(self.cache_format % {"scope": self.scope, "ident": who})
