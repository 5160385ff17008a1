"""A short name for what rules say, which changes with them and with nothing else."""

import hashlib
import json
from collections.abc import Iterable

from acl.core.rules import Rule

REVISION_CHARACTERS = 16
"""64 bits: among a million states of the policies, two alike by chance are one in 37 million."""


def fingerprint(rules: Iterable[Rule]) -> str:
    """The same for rules that say the same, whatever the order and the numbers of their rows."""
    said = sorted(
        [
            rule.priority,
            rule.effect,
            rule.action,
            rule.topic_filter,
            rule.literal,
            sorted(map(str, rule.networks)),
        ]
        for rule in rules
    )
    return _digest(said)


def revision(
    policies: Iterable[tuple[str, bool, Iterable[int], str]],
) -> str:
    """The state of all policies together, each as its name, whether it is everyone's, its groups' ids and
    its rules' fingerprint."""
    said = sorted([name, everyone, sorted(groups), rules] for name, everyone, groups, rules in policies)
    return _digest(said)[:REVISION_CHARACTERS]


def _digest(said: object) -> str:
    return hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).hexdigest()
