"""What happened, and who is online. To be read only."""

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Model
from django.http import QueryDict
from django.utils import timezone
from drf_spectacular.helpers import forced_singular_serializer
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import exceptions, mixins, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from audit.models import Event, Session
from audit.paging import BadCursor, Listing, page, read_cursor
from audit.search import SearchProblem, parse_search
from audit.search_parameters import PARAMETERS
from exhookadmin.api.scopes import Scope
from exhookadmin.api.views import NUMBER, ResourceView

SIZE, LARGEST = 100, 1000
UUID_FORM = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

SCOPES = {"list": Scope.AUDIT_READ, "retrieve": Scope.AUDIT_READ}


class EventSerializer(serializers.ModelSerializer[Event]):
    """One fact."""

    class Meta:
        model = Event
        fields = "__all__"


class SessionSerializer(serializers.ModelSerializer[Session]):
    """The presence of one client."""

    online = serializers.SerializerMethodField(help_text="As far as is known: see unknown_since.")

    class Meta:
        model = Session
        fields = "__all__"

    def get_online(self, session: Session) -> bool:
        return session.disconnected_at is None


class PlaceSerializer(serializers.Serializer[Any]):
    """Which page of a list."""

    cursor = serializers.CharField(required=False, help_text="“newer” or “older” of another page.")
    page_size = serializers.IntegerField(required=False, default=SIZE, min_value=1, max_value=LARGEST)


class SessionQuery(PlaceSerializer):
    """Which sessions, newest first."""

    client_id = serializers.CharField(required=False)
    device = serializers.CharField(required=False)
    node = serializers.CharField(required=False)
    online = serializers.BooleanField(required=False, allow_null=True, default=None)


class _PageSerializer(serializers.Serializer[Any]):
    newer = serializers.CharField(allow_null=True, help_text="The cursor of the page with newer rows.")
    older = serializers.CharField(allow_null=True, help_text="The cursor of the page with older rows.")
    searched_to = serializers.DateTimeField(
        allow_null=True,
        help_text="Set when the page is not full although more may be found: what is newer was looked at.",
    )


class EventPageSerializer(_PageSerializer):
    """Events, newest first."""

    results = EventSerializer(many=True)


class SessionPageSerializer(_PageSerializer):
    """Sessions, newest first."""

    results = SessionSerializer(many=True)


# A page is one thing, which happens to hold a list.
EVENT_PAGE: Any = forced_singular_serializer(EventPageSerializer)  # type: ignore[no-untyped-call]
SESSION_PAGE: Any = forced_singular_serializer(SessionPageSerializer)  # type: ignore[no-untyped-call]

SEARCH = [
    OpenApiParameter(
        parameter.name,
        str,
        many=parameter.many,
        description="Several times for several." if parameter.many else "",
    )
    for parameter in PARAMETERS
]


class _PagedView(mixins.RetrieveModelMixin, ResourceView):
    scopes: ClassVar = SCOPES
    pagination_class = None

    def paged(self, listing: Listing[Any], place: dict[str, Any]) -> Response:
        """One page. Raises ValidationError for a cursor that is none."""
        try:
            cursor = read_cursor(place["cursor"]) if "cursor" in place else None
            found = page(listing, cursor, place["page_size"])
        except BadCursor as problem:
            raise exceptions.ValidationError({"cursor": [str(problem)]}) from None
        rows: list[Model] = found.rows
        return Response(
            {
                "results": self.get_serializer(rows, many=True).data,
                "newer": found.newer or None,
                "older": found.older or None,
                "searched_to": found.searched_to,
            }
        )


def _place(parameters: QueryDict, query: type[PlaceSerializer]) -> dict[str, Any]:
    asked = query(data=parameters)
    asked.is_valid(raise_exception=True)
    return dict(asked.validated_data)


@extend_schema_view(
    retrieve=extend_schema(summary="Read an event", parameters=[OpenApiParameter("id", UUID, "path")])
)
class EventView(_PagedView):
    """What was refused, denied, connected and disconnected, and why."""

    queryset = Event.objects.all()
    serializer_class = EventSerializer
    lookup_value_regex = UUID_FORM

    @extend_schema(
        summary="Search the audit log",
        parameters=[*SEARCH, PlaceSerializer],
        responses=EVENT_PAGE,
    )
    def list(self, request: Request) -> Response:
        place = _place(request.query_params, PlaceSerializer)
        names = [name for name in request.query_params if name not in PlaceSerializer().fields]
        try:
            search = parse_search(
                {name: request.query_params.getlist(name) for name in names}, timezone.now()
            )
        except SearchProblem as problem:
            raise exceptions.ValidationError(
                {name: [text] for name, text in problem.problems.items()}
            ) from None
        return self.paged(search.listing(), place)


@extend_schema_view(retrieve=extend_schema(summary="Read a session"))
class SessionView(_PagedView):
    """Who is online, and who was."""

    queryset = Session.objects.all()
    serializer_class = SessionSerializer
    lookup_value_regex = NUMBER

    @extend_schema(
        summary="List sessions",
        parameters=[SessionQuery],
        responses=SESSION_PAGE,
    )
    def list(self, request: Request) -> Response:
        place = _place(request.query_params, SessionQuery)
        rows = Session.objects.filter(
            **{name: place[name] for name in ("client_id", "device", "node") if name in place}
        )
        if place["online"] is not None:
            rows = rows.filter(disconnected_at__isnull=place["online"])
        return self.paged(Listing(rows, time_field="connected_at"), place)
