"""The pages of one's own second factor, and the door that stays shut without it."""

import logging
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_POST
from django_otp import login
from unfold.widgets import UnfoldAdminTextInputWidget

from exhookadmin.staff import second_factor
from exhookadmin.staff.actors import client_address

log = logging.getLogger(__name__)

Handler = Callable[[HttpRequest], HttpResponse]


class CodeForm(forms.Form):
    """One code."""

    code = forms.CharField(
        max_length=40,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "one-time-code", "autofocus": True}),
    )


class SecondFactorMiddleware:
    """Lets those who have a second factor, or must have one, go no further without it.

    After django-otp's middleware, which knows whether this session has proved one.
    """

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user: Any = request.user
        if user.is_authenticated and not user.is_verified():
            if second_factor.factor_of(user) is not None:
                wanted = "staff:code"
            elif second_factor.is_missing(user):
                wanted = "staff:set_up"
            else:
                return self._get_response(request)
            if request.path not in (reverse(wanted), reverse("admin:logout"), reverse("admin:jsi18n")):
                query = urlencode({"next": request.get_full_path()}) if request.method == "GET" else ""
                return HttpResponseRedirect(f"{reverse(wanted)}?{query}".rstrip("?"))
        return self._get_response(request)


def overview(request: HttpRequest) -> HttpResponse:
    """Whether there is one, and what can be done about it."""
    user = _user(request)
    return _page(
        request,
        "staff/second_factor.html",
        "Second factor",
        has_factor=second_factor.factor_of(user) is not None,
        codes_left=second_factor.codes_left(user),
        required=second_factor.is_missing(user),
        form=CodeForm(),
    )


@sensitive_post_parameters("code")
@sensitive_variables()
def set_up(request: HttpRequest) -> HttpResponse:
    """The picture to be scanned, and the first code as proof that it was."""
    user = _user(request)
    if second_factor.factor_of(user) is not None:
        return redirect("staff:second_factor")
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        codes = second_factor.confirm(user, form.cleaned_data["code"])
        if codes is not None:
            login(request, second_factor.factor_of(user))
            request.session.cycle_key()
            return _codes_page(request, codes)
        form.add_error("code", _wrong(user, "Is the clock of the phone right?"))
    prepared = second_factor.prepare(user)
    page = _page(
        request,
        "staff/set_up.html",
        "Set up a second factor",
        form=form,
        picture=SafeString(second_factor.picture(prepared)),
        key=second_factor.key_text(prepared),
        required=second_factor.is_missing(user),
    )
    page["Cache-Control"] = "no-store, private"
    return page


@sensitive_post_parameters("code")
@sensitive_variables()
def code(request: HttpRequest) -> HttpResponse:
    """Asks for the second factor, after the password was right."""
    user = _user(request)
    onward = _onward(request)
    if user.is_verified() or second_factor.factor_of(user) is None:  # type: ignore[attr-defined]
        return HttpResponseRedirect(onward)
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        proved = second_factor.verify(user, form.cleaned_data["code"])
        if proved is not None:
            login(request, proved)
            request.session.cycle_key()
            return HttpResponseRedirect(onward)
        log.warning(
            "wrong second factor", extra={"user": user.get_username(), "address": client_address(request)}
        )
        form.add_error("code", _wrong(user, "Each code is heard once."))
    return _page(request, "staff/code.html", "One more step", form=form)


@require_POST
@sensitive_variables()
def new_codes(request: HttpRequest) -> HttpResponse:
    """Other codes to keep."""
    user = _user(request)
    if second_factor.factor_of(user) is None:
        return redirect("staff:second_factor")
    return _codes_page(request, second_factor.replace_codes(user))


@require_POST
@sensitive_post_parameters("code")
def give_up(request: HttpRequest) -> HttpResponse:
    """Switches one's own second factor off, with a code of it."""
    user = _user(request)
    form = CodeForm(request.POST)
    if form.is_valid() and second_factor.verify(user, form.cleaned_data["code"]) is not None:
        second_factor.give_up(user)
        messages.success(request, "Your second factor is off: the password alone logs in.")
    else:
        messages.error(request, _wrong(user, "Nothing was changed."))
    return redirect("staff:second_factor")


def _wrong(user: User, hint: str) -> str:
    wait = second_factor.seconds_to_wait(user)
    return f"This code is not right. {hint}" + (f" Wait {wait} s before the next one." if wait else "")


def _codes_page(request: HttpRequest, codes: list[str]) -> HttpResponse:
    page = _page(request, "staff/codes.html", "Codes to keep", codes=codes)
    page["Cache-Control"] = "no-store, private"
    return page


def _page(request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
    everything = {**admin.site.each_context(request), "title": title, **context}
    return render(request, template, everything)


def _user(request: HttpRequest) -> User:
    user: Any = request.user
    return user  # type: ignore[no-any-return]


def _onward(request: HttpRequest) -> str:
    wanted = request.GET.get("next", "")
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure())
    return wanted if safe and wanted != reverse("admin:logout") else reverse("admin:index")
