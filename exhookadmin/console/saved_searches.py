"""Saving a search of the audit log, and finding it again."""

from typing import Any
from urllib.parse import parse_qsl

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit.search import SearchProblem, parse_search
from exhookadmin.console.models import SavedSearch

MOST = 100
"""Of one person."""


def searches_for(user: Any) -> QuerySet[SavedSearch]:
    """One's own, and those that others share, by name."""
    return (
        SavedSearch.objects.filter(Q(user=user) | Q(shared=True))
        .select_related("user")
        .order_by("name", "pk")
    )


def save_search(user: Any, name: str, query: str, shared: bool) -> SavedSearch:
    """Keeps a search under a name, in the place of one’s own of the same name.

    Raises ValidationError for a search that is none, and where the user may not share it with everybody.
    """
    if shared and not user.has_perm("exhookadmin.add_savedsearch"):
        raise ValidationError({"shared": "You may save searches for yourself, and not for everybody."})
    name = name.strip()
    if not name or len(name) > 100 or "\x00" in name:
        raise ValidationError({"name": "Give it a name of at most 100 characters."})
    try:
        parse_search(parse_qsl(query, keep_blank_values=True), timezone.now())
    except SearchProblem as problem:
        raise ValidationError({"query": str(problem)}) from None
    if SavedSearch.objects.filter(user=user).exclude(name=name).count() >= MOST:
        raise ValidationError({"name": f"You have {MOST} saved searches: delete one first."})
    saved, _ = SavedSearch.objects.update_or_create(
        user=user, name=name, defaults={"query": query, "shared": shared}
    )
    return saved


def delete_search(user: Any, number: int) -> None:
    """Deletes one of one's own; those of others stay."""
    SavedSearch.objects.filter(user=user, pk=number).delete()
