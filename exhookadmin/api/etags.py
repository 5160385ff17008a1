"""Entity tags (RFC 9110, 8.8.3): the digest of what is shown, so that nothing is overwritten unseen."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest
from rest_framework.utils.encoders import JSONEncoder

from exhookadmin.api.problems import PreconditionFailed

# They change without anybody changing the thing.
PASSING = frozenset({"last_seen_at", "last_used_at", "updated_at"})


def etag_of(shown: Mapping[str, Any]) -> str:
    """The tag of a representation."""
    lasting = {name: value for name, value in shown.items() if name not in PASSING}
    text = json.dumps(lasting, cls=JSONEncoder, sort_keys=True)
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def check_match(request: HttpRequest, shown: Mapping[str, Any]) -> None:
    """Raises PreconditionFailed when ``If-Match`` is there and names another state than the one shown."""
    wanted = request.headers.get("If-Match", "").strip()
    if not wanted or wanted == "*":
        return
    tags = {tag.strip().removeprefix("W/") for tag in wanted.split(",")}
    if etag_of(shown) not in tags:
        raise PreconditionFailed
