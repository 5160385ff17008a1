"""Refuses wrong topic filters where they are typed."""

from django.core.exceptions import ValidationError

from acl.core.rules import rule_filter_problem


def validate_topic_filter(value: str) -> None:
    """A topic filter that a rule can hold: MQTT 5, 4.7, with our placeholders."""
    problem = rule_filter_problem(value)
    if problem:
        raise ValidationError(problem, code="topic_filter")
