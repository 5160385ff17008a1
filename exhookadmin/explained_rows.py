"""An explanation as one JSON object: what ``check/`` answers, and ``manage.py explain --json`` prints."""

from dataclasses import asdict
from typing import Any

from acl.core.decide import Consideration
from acl.core.rule_lines import UNSAVED
from exhookadmin.explain import Explained
from exhookadmin.words import REASONS


def explained_row(topic: str, explained: Explained) -> dict[str, Any]:
    """The decision with all that was looked at; ``topic`` as it was asked, empty for a connect."""
    decision = explained.decision
    deciding = explained.deciding
    return {
        "topic": topic,
        "allow": decision.allow,
        "reason": decision.reason,
        "meaning": REASONS[decision.reason].meaning,
        "device": explained.principal.username if explained.principal else None,
        "rule": None if deciding is None else _tried_row(deciding),
        "problem": explained.problem,
        "checks": [asdict(check) for check in explained.checks],
        "considered": [_tried_row(tried) for tried in explained.considered],
    }


def _tried_row(tried: Consideration) -> dict[str, Any]:
    row = {**asdict(tried.rule.ref), "matched": tried.matched, "why": tried.why}
    # Numbers of rules that are only supposed say nothing, and are too great for JavaScript.
    return row | {"id": None} if tried.rule.id >= UNSAVED else row
