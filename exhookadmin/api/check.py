"""What would be decided, and why: the endpoint's own function, asked over HTTP."""

import time
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.core.client import Client
from acl.core.decide import AccessRequest
from acl.core.rules import Action
from exhookadmin.api.hypothetical import HypotheticalSerializer, drafts_of
from exhookadmin.api.scopes import Scope
from exhookadmin.api.views import ResourceView
from exhookadmin.explain import explain_connect, explain_known, look_up, suppose
from exhookadmin.explained_rows import explained_row

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
    hypothetical = HypotheticalSerializer(
        required=False, help_text="Decide as if the policies were these. Nothing is stored."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if (attrs["action"] == CONNECT) == bool(attrs["topics"]):
            fix = "leave it out" if attrs["topics"] else "name at least one"
            raise serializers.ValidationError({"topics": [f"For “{attrs['action']}”: {fix}."]})
        if attrs["action"] == CONNECT and "hypothetical" in attrs:
            fix = "leave it out: policies do not decide who connects"
            raise serializers.ValidationError({"hypothetical": [f"For “{CONNECT}”: {fix}."]})
        return attrs


class RuleTriedSerializer(serializers.Serializer[Any]):
    """One rule, and what came of trying it."""

    id = serializers.IntegerField(
        allow_null=True, help_text="Null: a hypothetical rule, which is not stored."
    )
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


class StoredDecisionSerializer(serializers.Serializer[Any]):
    """What is decided without the hypothetical policies."""

    allow = serializers.BooleanField()
    reason = serializers.CharField()


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
    stored = StoredDecisionSerializer(
        required=False, help_text="Beside a hypothetical answer: the decision of what is stored."
    )


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
            return Response({"results": [explained_row("", explain_connect(client))]})
        return Response({"results": _answers(client, given)})


def _answers(client: Client, given: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a topic, all of them about one look-up and one moment."""
    now = time.time()
    known = look_up(client)
    requests = [AccessRequest(Action(given["action"]), topic) for topic in given["topics"]]
    stored = [explain_known(known, client, asked, now) for asked in requests]
    if "hypothetical" not in given:
        return [explained_row(asked.topic, each) for asked, each in zip(requests, stored, strict=True)]
    supposed = known
    for draft in drafts_of(given["hypothetical"], known.principal):
        supposed = suppose(supposed, draft)
    return [
        {
            **explained_row(asked.topic, explain_known(supposed, client, asked, now)),
            "stored": {"allow": each.decision.allow, "reason": each.decision.reason},
        }
        for asked, each in zip(requests, stored, strict=True)
    ]
