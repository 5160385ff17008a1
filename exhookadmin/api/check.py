"""What would be decided, and why: the endpoint's own function, asked over HTTP."""

from dataclasses import asdict
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.core.client import Client
from acl.core.decide import AccessRequest
from acl.core.rules import Action
from exhookadmin.api.scopes import Scope
from exhookadmin.api.views import ResourceView
from exhookadmin.explain import Explained, explain_access, explain_connect
from exhookadmin.words import REASONS

MOST_TOPICS = 100
CONNECT = "connect"


class AskedClientSerializer(serializers.Serializer[Any]):
    """A connection, as the broker would describe it."""

    client_id = serializers.CharField()
    username = serializers.CharField(required=False, default="", allow_blank=True)
    password = serializers.CharField(
        required=False, default="", allow_blank=True, write_only=True, trim_whitespace=False,
        help_text="Matters for “connect” only.",
    )  # fmt: skip
    address = serializers.IPAddressField(required=False, default="", allow_blank=True)
    cn = serializers.CharField(required=False, default="", allow_blank=True)


class CheckSerializer(serializers.Serializer[Any]):
    """A client and what it would do."""

    client = AskedClientSerializer()
    action = serializers.ChoiceField(choices=[CONNECT, Action.PUBLISH.value, Action.SUBSCRIBE.value])
    topics = serializers.ListField(
        child=serializers.CharField(allow_blank=True, trim_whitespace=False),
        required=False,
        default=[],
        max_length=MOST_TOPICS,
        help_text="Topics to publish to, or topic filters to subscribe to.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if (attrs["action"] == CONNECT) == bool(attrs["topics"]):
            fix = "leave it out" if attrs["topics"] else "name at least one"
            raise serializers.ValidationError({"topics": [f"For “{attrs['action']}”: {fix}."]})
        return attrs


class RuleTriedSerializer(serializers.Serializer[Any]):
    """One rule, and what came of trying it."""

    id = serializers.IntegerField()
    source = serializers.CharField(help_text="Whose rule it is.")
    text = serializers.CharField()
    matched = serializers.BooleanField()
    why = serializers.CharField()


class DeviceCheckSerializer(serializers.Serializer[Any]):
    """One thing that must hold of the device."""

    words = serializers.CharField()
    reason = serializers.CharField()
    passed = serializers.BooleanField()
    detail = serializers.CharField(allow_blank=True, help_text="What the device demands and the client has.")


class ExplanationSerializer(serializers.Serializer[Any]):
    """A decision with all that was looked at."""

    topic = serializers.CharField(allow_blank=True)
    allow = serializers.BooleanField()
    reason = serializers.CharField()
    meaning = serializers.CharField()
    device = serializers.CharField(allow_null=True)
    rule = RuleTriedSerializer(allow_null=True)
    problem = serializers.CharField(allow_blank=True)
    checks = DeviceCheckSerializer(many=True)
    considered = RuleTriedSerializer(many=True)


class ChecksSerializer(serializers.Serializer[Any]):
    """One explanation a topic, in the order of the question."""

    results = ExplanationSerializer(many=True)


class CheckView(ResourceView):
    """Decisions that nobody has asked for yet."""

    serializer_class = CheckSerializer
    scopes: ClassVar = {"create": Scope.CHECK}

    @extend_schema(
        summary="Ask what would be decided, and why",
        request=CheckSerializer,
        responses={200: ChecksSerializer},
    )
    def create(self, request: Request) -> Response:
        asked = self.get_serializer(data=request.data)
        asked.is_valid(raise_exception=True)
        given = asked.validated_data
        client = Client(**given["client"])
        if given["action"] == CONNECT:
            return Response({"results": [_shown("", explain_connect(client))]})
        action = Action(given["action"])
        return Response(
            {
                "results": [
                    _shown(topic, explain_access(client, AccessRequest(action, topic)))
                    for topic in given["topics"]
                ]
            }
        )


def _shown(topic: str, explained: Explained) -> dict[str, Any]:
    decision = explained.decision
    tried = [
        {**asdict(each.rule.ref), "matched": each.matched, "why": each.why} for each in explained.considered
    ]
    deciding = explained.deciding
    return {
        "topic": topic,
        "allow": decision.allow,
        "reason": decision.reason,
        "meaning": REASONS[decision.reason].meaning,
        "device": explained.principal.username if explained.principal else None,
        "rule": next(
            (shown for shown, each in zip(tried, explained.considered, strict=True) if each is deciding), None
        ),
        "problem": explained.problem,
        "checks": [asdict(check) for check in explained.checks],
        "considered": tried,
    }
