"""The pages on which staff give a device a credential. A new token leaves in the answer to the POST
that made it and is nowhere else: not in the session, a message, the history, a URL or a cache."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables

from accounts import services
from accounts.changes import NotAllowed
from accounts.core.binding import Binding
from accounts.core.principal import CredentialKind
from accounts.forms import CredentialForm, NewPasswordForm, NewTokenForm, RotateForm
from accounts.models import Credential, Device
from accounts.snippets import HOST, example_client_id, snippets


def device_url(device: Device) -> str:
    """The device’s page in the admin."""
    return reverse("admin:accounts_device_change", args=[device.pk])


def credentials_url(device: Device) -> str:
    """The tab with the device’s credentials on its page."""
    return f"{device_url(device)}#credentials"


@sensitive_variables()
def new_token(model_admin: Any, request: HttpRequest, device: Device) -> HttpResponse:
    """The form for a new token; its POST answers with the token itself."""
    with _alone_with(device, request):
        form = NewTokenForm(request.POST or None, newest=_newest(device))
        if request.method == "POST" and form.is_valid():
            given = form.cleaned_data
            with _refusal_in(form):
                token = services.create_token(device, given["label"], given["expires_at"])[1]
                return token_page(model_admin, request, device, token)
    return _form_page(
        model_admin,
        request,
        device,
        form,
        title="New token",
        lead="A token is a long random secret that the device sends as its MQTT password. The device’s other "
        "credentials stay live: change the device over, then revoke the old one on its page.",
        button="Generate token",
    )


@sensitive_variables()
def rotate_credential(
    model_admin: Any, request: HttpRequest, device: Device, credential: Credential
) -> HttpResponse:
    """The form for a new token in a credential's place; its POST answers with the token itself."""

    def rotate(overlap: timedelta, label: str, expires_at: datetime | None) -> str:
        return services.rotate_token(credential, overlap, label, expires_at)[1]

    return _rotate(
        model_admin,
        request,
        device,
        rotate,
        title=f"Rotate the {credential}",
        lead="Makes a new token and lets this credential end after a while. Give the device the new token in "
        "between. Until the old one ends, the device’s page says whether somebody still logs in with it.",
    )


@sensitive_variables()
def rotate_device(model_admin: Any, request: HttpRequest, device: Device) -> HttpResponse:
    """The same for all live tokens of a device at once."""
    count = device.credentials.live().filter(kind=CredentialKind.TOKEN.value).count()
    if not count:
        messages.info(request, f"“{device}” has no live token that could be rotated: make it a new one.")
        return HttpResponseRedirect(reverse("admin:accounts_device_new_token", args=[device.pk]))

    def rotate(overlap: timedelta, label: str, expires_at: datetime | None) -> str:
        made = services.rotate_tokens([device], overlap, label, expires_at)
        if not made:
            raise ValidationError("The last live token has ended meanwhile. Make a new token instead.")
        return made[0][1]

    which = "its live token" if count == 1 else f"all {count} live tokens"
    return _rotate(
        model_admin,
        request,
        device,
        rotate,
        title="Rotate",
        lead=f"Makes one new token in the place of {which}, which will end after a while. Passwords stay as "
        "they are. Until they end, the device’s page says whether somebody still logs in with an old one.",
    )


def _rotate(
    model_admin: Any,
    request: HttpRequest,
    device: Device,
    rotate: Callable[[timedelta, str, datetime | None], str],
    **texts: str,
) -> HttpResponse:
    with _alone_with(device, request):
        form = RotateForm(request.POST or None, newest=_newest(device))
        if request.method == "POST" and form.is_valid():
            given = form.cleaned_data
            with _refusal_in(form):
                token = rotate(given["overlap"], given["label"], given["expires_at"])
                return token_page(model_admin, request, device, token)
    return _form_page(model_admin, request, device, form, **texts, button="Rotate")


@sensitive_variables()
def new_password(model_admin: Any, request: HttpRequest, device: Device) -> HttpResponse:
    """The form for a new password, and what it leads to."""
    with _alone_with(device, request):
        form = NewPasswordForm(request.POST or None, newest=_newest(device))
        if request.method == "POST" and form.is_valid():
            given = form.cleaned_data
            with _refusal_in(form):
                if given["revoke_others"]:
                    services.revoke_passwords(device)
                services.add_password(device, given["password"], given["label"], given["expires_at"])
                messages.success(request, f"“{device}” has a new password.")
                return HttpResponseRedirect(credentials_url(device))
    return _form_page(
        model_admin,
        request,
        device,
        form,
        title="New password",
        lead="For people, and for devices whose password cannot be changed. Checking a password costs the "
        "endpoint thousands of times what checking a token costs: prefer tokens where you can.",
        button="Set password",
    )


@sensitive_variables()
def token_page(model_admin: Any, request: HttpRequest, device: Device, token: str) -> HttpResponse:
    """Shows a token that was made in this very request. Nothing can show it again."""
    client_id = example_client_id(Binding(device.client_id_binding), device.client_id, device.username)
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "original": device,
        "title": "New token",
        "token": token,
        "client_id": client_id,
        "any_client_id": device.client_id_binding == Binding.ANY,
        "host": HOST,
        "snippets": snippets(device.username, client_id, token),
        "device_url": device_url(device),
    }
    response = render(request, "accounts/token.html", context)
    response["Cache-Control"] = "no-store, private"
    return response


@contextmanager
def _alone_with(device: Device, request: HttpRequest) -> Iterator[None]:
    """Of two equal POSTs, the second one waits and then sees what the first one made."""
    if request.method != "POST":
        yield
        return
    with transaction.atomic():
        Device.objects.select_for_update().get(pk=device.pk)
        yield


@contextmanager
def _refusal_in(form: CredentialForm) -> Iterator[None]:
    """Shows in the form what the services refuse whoever sent it."""
    try:
        # What was made before the refusal is undone.
        with transaction.atomic():
            yield
    except NotAllowed as refused:
        form.add_error(None, str(refused))
    except ValidationError as problem:
        form.add_error(None, problem.messages)


def _newest(device: Device) -> int | None:
    return device.credentials.order_by("-pk").values_list("pk", flat=True).first()


def _form_page(
    model_admin: Any, request: HttpRequest, device: Device, form: CredentialForm, **texts: str
) -> HttpResponse:
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "original": device,
        "form": form,
        "media": model_admin.media + form.media,
        "device_url": credentials_url(device),
        **texts,
    }
    return render(request, "accounts/new_credential.html", context)
