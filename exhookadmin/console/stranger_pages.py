"""The inbox of strangers: who was refused and why, whom they may have meant to be, and what to do at once."""

from dataclasses import dataclass
from datetime import timedelta

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST

from accounts import services
from accounts.changes import NotAllowed
from accounts.core.binding import Binding
from accounts.core.decision import Reason
from accounts.core.identity import IdentitySource
from accounts.models import DeviceGroup
from audit.fact import NAME_CHARACTERS
from exhookadmin.console.dismissals import (
    Key,
    dismiss_strangers,
    dismissals,
    is_dismissed,
    recall_stranger,
)
from exhookadmin.console.models import Dismissal
from exhookadmin.console.near_misses import NearMiss, near_misses
from exhookadmin.console.refusals import SEARCHED, newest_refusals
from exhookadmin.console.strangers import REASON_CHARACTERS, Stranger, gather
from exhookadmin.words import Words, reason_words

DAYS = 7
MOST_EVENTS = 5_000
SIZE = 30
GROUPS_OFFERED = 200
MOST_PAGE = 1_000

SOURCES = {
    IdentitySource.USERNAME: "username",
    IdentitySource.CLIENT_ID: "client id",
    IdentitySource.CERTIFICATE_CN: "certificate CN",
}
FOR_HOW_LONG = {"": "until it comes again", "1": "for a day", "30": "for 30 days"}
"""Days, and the words for them."""


@dataclass(frozen=True, slots=True)
class Row:
    """A stranger as the page shows him. ``add_url`` leads to the form for a device, filled in."""

    stranger: Stranger
    source: str
    words: Words
    near: list[NearMiss]
    events_url: str
    add_url: str = ""
    one_click: bool = False
    dismissal: Dismissal | None = None

    @property
    def count(self) -> str:
        return f"{self.stranger.count:,}"


@require_GET
def strangers(request: HttpRequest) -> HttpResponse:
    """The page: the latest first. With “dismissed”, those that were put aside."""
    _check(request)
    now = timezone.now()
    refusals = newest_refusals(now - timedelta(days=DAYS), MOST_EVENTS)
    aside = dismissals()
    asked_for_dismissed = "dismissed" in request.GET
    listed = [
        stranger
        for stranger in gather(refusals.found)
        if is_dismissed(stranger, aside.get(stranger.key), now) is asked_for_dismissed
    ]
    number = _page_number(request)
    shown = listed[(number - 1) * SIZE : number * SIZE]
    may_create = _may_create(request)
    context = {
        **admin.site.each_context(request),
        "title": "Strangers",
        "rows": _rows(request, shown, aside, may_create),
        "total": f"{len(listed):,}",
        "dismissed": asked_for_dismissed,
        "complete": refusals.complete,
        "most_events": f"{MOST_EVENTS:,}",
        "days": DAYS,
        "may_create": may_create,
        "may_dismiss": request.user.has_perm("exhookadmin.add_dismissal"),
        "for_how_long": FOR_HOW_LONG.items(),
        "groups": DeviceGroup.objects.order_by("name").values_list("name", flat=True)[:GROUPS_OFFERED]
        if may_create
        else [],
        "newer": _url(asked_for_dismissed, number - 1) if number > 1 else "",
        "older": _url(asked_for_dismissed, number + 1) if len(listed) > number * SIZE else "",
    }
    return render(request, "console/strangers.html", context)


@require_POST
def create(request: HttpRequest) -> HttpResponse:
    """Makes a device of a stranger, in a group if one is named, and leads on to a token for it."""
    _check(request)
    if not _may_create(request):
        raise PermissionDenied
    key, client_id = _key(request), request.POST.get("client_id", "")
    username = key[1]
    name = request.POST.get("group", "").strip()
    groups = list(DeviceGroup.objects.filter(name=name)) if name and "\x00" not in name else []
    if name and not groups:
        messages.error(request, f"There is no group “{name}”: choose one of those offered, or add it first.")
        return HttpResponseRedirect(reverse("console:strangers"))
    bound = client_id not in ("", username)
    try:
        with transaction.atomic():
            device = services.create_device(
                username,
                groups=groups,
                client_id_binding=(Binding.EXACT if bound else Binding.EQUALS_USERNAME).value,
                client_id=client_id if bound else "",
            )
            if request.user.has_perm("exhookadmin.add_dismissal"):
                dismiss_strangers([key], request.user.get_username(), timezone.now())
    except NotAllowed as refused:
        messages.error(request, str(refused))
        return HttpResponseRedirect(reverse("console:strangers"))
    except ValidationError as problem:
        messages.error(request, f"No device was made. {' '.join(problem.messages)}")
        return HttpResponseRedirect(reverse("console:strangers"))
    messages.success(request, f"“{device}” is a device now.")
    page = "new_token" if request.user.has_perm("accounts.add_credential") else "change"
    return HttpResponseRedirect(reverse(f"admin:accounts_device_{page}", args=[device.pk]))


@require_POST
def dismiss(request: HttpRequest) -> HttpResponse:
    """Puts a stranger aside, until he comes again or for some days."""
    _check(request)
    if not request.user.has_perm("exhookadmin.add_dismissal"):
        raise PermissionDenied
    key, days = _key(request), request.POST.get("days", "")
    if days not in FOR_HOW_LONG:
        messages.error(request, "days: choose one of those offered.")
        return HttpResponseRedirect(reverse("console:strangers"))
    now = timezone.now()
    until = now + timedelta(days=int(days)) if days else None
    dismiss_strangers([key], request.user.get_username(), now, until)
    messages.success(request, f"“{key[1]}” is dismissed {FOR_HOW_LONG[days]}.")
    return HttpResponseRedirect(reverse("console:strangers"))


@require_POST
def recall(request: HttpRequest) -> HttpResponse:
    """Shows a dismissed stranger again."""
    _check(request)
    if not request.user.has_perm("exhookadmin.delete_dismissal"):
        raise PermissionDenied
    recall_stranger(_key(request))
    return HttpResponseRedirect(reverse("console:strangers"))


def _check(request: HttpRequest) -> None:
    if not request.user.has_perm("audit.view_event"):
        raise PermissionDenied


def _may_create(request: HttpRequest) -> bool:
    return request.user.has_perm("accounts.add_device")


def _key(request: HttpRequest) -> Key:
    """As the page's forms send it. Raises PermissionDenied for what none of them would."""
    source = request.POST.get("source", "")
    identity, reason = request.POST.get("identity", ""), request.POST.get("reason", "")
    usable = source in set(IdentitySource) and 0 < len(identity) <= NAME_CHARACTERS
    if not usable or len(reason) > REASON_CHARACTERS or "\x00" in identity + reason:
        raise PermissionDenied
    return source, identity, reason


def _page_number(request: HttpRequest) -> int:
    text = request.GET.get("page", "")
    return min(max(int(text), 1), MOST_PAGE) if text.isascii() and text.isdigit() and len(text) < 10 else 1


def _url(dismissed: bool, number: int) -> str:
    parameters = {"page": str(number), **({"dismissed": ""} if dismissed else {})}
    return f"{reverse('console:strangers')}?{urlencode(parameters)}"


def _rows(
    request: HttpRequest, shown: list[Stranger], aside: dict[Key, Dismissal], may_create: bool
) -> list[Row]:
    may_see = request.user.has_perm("accounts.view_device")
    near = near_misses(shown) if may_see else [[] for _ in shown]
    return [
        _row(stranger, misses, aside.get(stranger.key), may_create)
        for stranger, misses in zip(shown, near, strict=True)
    ]


def _row(stranger: Stranger, near: list[NearMiss], dismissal: Dismissal | None, may_create: bool) -> Row:
    query = {SEARCHED[stranger.source]: stranger.identity, "allowed": "no", "since": f"{DAYS}d"}
    exists = any(miss.device == stranger.identity for miss in near)
    addable = may_create and stranger.reason == Reason.UNKNOWN_DEVICE and not exists
    return Row(
        stranger,
        SOURCES[stranger.source],
        _words(stranger),
        near,
        f"{reverse('console:explorer')}?{urlencode(query)}",
        _add_url(stranger) if addable else "",
        addable and bool(stranger.username) and stranger.only_client_id is not None,
        dismissal,
    )


def _words(stranger: Stranger) -> Words:
    if stranger.by_broker:
        return Words(
            f"the broker: {stranger.reason.replace('_', ' ')}",
            "The broker refused this connection itself, without asking who it is.",
        )
    return reason_words(stranger.reason)


def _add_url(stranger: Stranger) -> str:
    filled = {"username": stranger.username or stranger.cn}
    if not stranger.username:
        filled["certificate_cn"] = stranger.cn
    elif stranger.only_client_id not in (None, "", stranger.username):
        filled |= {"client_id_binding": Binding.EXACT.value, "client_id": stranger.only_client_id or ""}
    return f"{reverse('admin:accounts_device_add')}?{urlencode(filled)}"
