"""What all resources share: keys and scopes, entity tags, idempotent POSTs, pages by key."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, ClassVar

from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework import exceptions, mixins, status
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from accounts.changes import acting
from exhookadmin.api.actors import key_actor
from exhookadmin.api.etags import check_match, etag_of
from exhookadmin.api.idempotency import HEADER, Answer, Once, once
from exhookadmin.api.models import ApiKey
from exhookadmin.api.scopes import Scope

NUMBER = r"\d{1,18}"
"""A row's number in a path; what is longer is none, and no database is asked for it."""


class Pages(CursorPagination):
    """Pages from one key to the next: page one million costs what page one costs."""

    ordering = "pk"
    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 1000

    def decode_cursor(self, request: Request) -> Any:
        try:
            return super().decode_cursor(request)
        except exceptions.NotFound:
            raise exceptions.ValidationError(
                {"cursor": ["This is no cursor: take it from “next” or “previous” of a page."]}
            ) from None


class _Answered(Exception):
    """The call was made before."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class ResourceView(GenericViewSet[Any]):
    """The base of every view: ``scopes`` maps its actions to what they need."""

    scopes: ClassVar[Mapping[str, Scope]] = {}
    pagination_class: type[Pages] | None = Pages
    _once: Once | None = None
    _acting: ExitStack

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with ExitStack() as self._acting:
            return self._dispatch(request, *args, **kwargs)

    def _dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method != "POST" or not request.headers.get(HEADER):
            answer: HttpResponseBase = super().dispatch(request, *args, **kwargs)
            return answer
        with transaction.atomic():
            response: HttpResponseBase = super().dispatch(request, *args, **kwargs)
            if response.status_code >= status.HTTP_400_BAD_REQUEST:
                transaction.set_rollback(True)
            return response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # Before the body is read by a parser: afterwards it is gone.
        body = request._request.body if request.headers.get(HEADER) else b""
        super().initial(request, *args, **kwargs)
        self._acting.enter_context(acting(key_actor(self.key, request._request)))
        if request.method == "POST" and (name := request.headers.get(HEADER)):
            assert isinstance(request.user, ApiKey)
            call = once(request.user, str(request.auth), name, "POST", request.get_full_path(), body)
            earlier = call.earlier_answer()
            if earlier is not None:
                raise _Answered(earlier)
            self._once = call

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, _Answered):
            return Response(exc.answer.body, status=exc.answer.status)
        return super().handle_exception(exc)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        if self._once is not None and response.status_code < status.HTTP_400_BAD_REQUEST:
            self._once.remember(Answer(response.status_code, response.data))
        finished: Response = super().finalize_response(request, response, *args, **kwargs)
        # Answers may hold secrets, and all of them are for this caller alone.
        finished["Cache-Control"] = "no-store"
        return finished

    @property
    def key(self) -> ApiKey:
        """Who calls."""
        assert isinstance(self.request.user, ApiKey)
        return self.request.user

    def tagged(self, shown: Any, code: int = status.HTTP_200_OK) -> Response:
        """The answer with a single thing and its entity tag."""
        return Response(shown, status=code, headers={"ETag": etag_of(shown)})


class StoredView(mixins.ListModelMixin, ResourceView):
    """Rows that can be listed, read, made, changed and deleted, each through a service.

    A subclass says how: ``create_row``, ``change_row`` and ``delete_row`` take what the serializer
    has validated and call the services.
    """

    lookup_value_regex = NUMBER

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.tagged(self.get_serializer(self.get_object()).data)

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        with transaction.atomic():
            row = self.create_row(serializer.validated_data)
        return self.tagged(self.shown(row), status.HTTP_201_CREATED)

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._change(request, partial=False)

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self._change(request, partial=True)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with transaction.atomic():
            row = self.locked_object()
            check_match(request, self.shown(row))
            self.delete_row(row)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def _change(self, request: Request, partial: bool) -> Response:
        with transaction.atomic():
            row = self.locked_object()
            check_match(request, self.shown(row))
            serializer: BaseSerializer[Any] = self.get_serializer(row, data=request.data, partial=partial)
            serializer.is_valid(raise_exception=True)
            self.change_row(row, serializer.validated_data)
        return self.tagged(self.shown(self.get_object()))

    def locked_object(self) -> Any:
        """The row, held until the transaction ends, so that of two changes one sees the other."""
        row = self.get_object()
        type(row)._default_manager.select_for_update().get(pk=row.pk)
        row.refresh_from_db()
        return row

    def shown(self, row: Any) -> Any:
        """The row as it is answered."""
        return self.get_serializer(row).data

    def create_row(self, given: dict[str, Any]) -> Model:
        raise NotImplementedError

    def change_row(self, row: Any, given: dict[str, Any]) -> None:
        raise NotImplementedError

    def delete_row(self, row: Any) -> None:
        raise NotImplementedError


def assign(row: Model, given: Mapping[str, Any]) -> None:
    """Puts plain values on a row, which a service then checks and stores."""
    for name, value in given.items():
        setattr(row, name, value)


class Nothing(APIView):
    """Where there is nothing: told in the form of every other problem."""

    permission_classes = ()
    schema = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise exceptions.NotFound("There is nothing at this address; /api/docs/ lists what there is.")
