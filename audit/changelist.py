"""Long lists in the admin: paged by place, and looked through slice by slice where no index helps."""

from typing import Any

from django.contrib.admin.utils import build_q_object_from_lookup_parameters
from django.contrib.admin.views.main import PAGE_VAR
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.paginator import InfinitePaginator
from unfold.views import ChangeList

from audit.paging import BadCursor, Cursor, Listing, Page, page, read_cursor


class PlacePaginator(InfinitePaginator):
    """Names the template; the pages themselves are the list's."""

    template_name = "audit/pagination.html"


class LongChangeList(ChangeList):
    """The parameter that has a page's number elsewhere holds a cursor here.

    The list's admin has ``time_field``, and in ``indexed_filters`` the parameters of filters that an index
    answers in the order of the list, the most selective first.
    """

    page: Page[Any]
    lookups: dict[str, Any]
    """Conditions in the address that are no filter's: those of the way in by date."""

    def get_filters(self, request: HttpRequest) -> Any:
        found = super().get_filters(request)
        self.lookups = found[2]
        return found

    def get_results(self, request: HttpRequest) -> None:
        listing = Listing(self.queryset, self._scanned(request), self.model_admin.time_field)
        size = self.list_per_page
        cursor = _cursor_in(request)
        try:
            found = page(listing, cursor, size)
        except BadCursor:
            cursor, found = None, page(listing, None, size)
        if cursor is not None and not cursor.older and not found.newer and len(found.rows) < size:
            cursor, found = None, page(listing, None, size)  # The newest page is always a full one.
        self.page, self.result_list = found, found.rows
        self.page_num = 1 if cursor is None else 2
        self.paginator = self.model_admin.get_paginator(request, self.queryset, size)
        self.result_count = self.full_result_count = len(found.rows)
        self.show_full_result_count = self.show_admin_actions = False
        self.can_show_all = self.multi_page = False

    @property
    def ways(self) -> list[tuple[str, str]]:
        """To other pages: a title, and the address where there is a way."""
        newest = "" if self.page_num == 1 else self.get_query_string()
        return [("Newest", newest), ("Newer", self._url(self.page.newer)), ("Older", self.older_url)]

    @property
    def older_url(self) -> str:
        return self._url(self.page.older)

    def _url(self, cursor: str) -> str:
        return self.get_query_string({PAGE_VAR: cursor}) if cursor else ""

    def _scanned(self, request: HttpRequest) -> QuerySet[Any] | None:
        """What the filters leave that an index answers, where there are others besides."""
        time_field = self.model_admin.time_field
        active = [spec for spec in self.filter_specs if any(spec.used_parameters.values())]
        period = [spec for spec in active if _parameter(spec) == time_field]
        dates = {name: value for name, value in self.lookups.items() if name.startswith(f"{time_field}__")}
        indexed = [
            spec for name in self.model_admin.indexed_filters for spec in active if _parameter(spec) == name
        ][:1]
        if not self.query and len(period) + len(indexed) == len(active) and len(dates) == len(self.lookups):
            return None
        scanned: QuerySet[Any] = self.root_queryset.filter(build_q_object_from_lookup_parameters(dates))
        for spec in (*period, *indexed):
            scanned = spec.queryset(request, scanned)
        return scanned


def _parameter(spec: Any) -> str:
    """What a filter is about: a field, or the parameter that it has instead."""
    return str(getattr(spec, "field_path", None) or spec.parameter_name)


def _cursor_in(request: HttpRequest) -> Cursor | None:
    text = request.GET.get(PAGE_VAR, "")
    try:
        return read_cursor(text) if text else None
    except BadCursor:
        return None
