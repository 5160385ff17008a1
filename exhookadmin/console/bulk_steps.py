"""Steps on many devices at once, each asked about with the count before it is taken.

They are taken on the devices ticked in the list, all of them or, where one is refused, none.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from accounts import services
from accounts.changes import NotAllowed
from accounts.core.principal import CredentialKind
from accounts.models import Credential, Device, DeviceQuerySet
from audit.export_formats import guarded
from exhookadmin.console.bulk_forms import BulkForm, BulkRotateForm, GroupForm

AT_ONCE = 500
"""So many devices in one step: it is one transaction, and a browser sends at most 1,000 fields."""

NAMED = 10
"""So many of them are named in the question."""

Devices = Sequence[Device]
Given = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """``permission`` is one that the device's admin answers for: ``has_…_permission``.

    ``already`` tells, before the question is answered, whom it does not concern. ``take`` answers what was
    done, in words, or with a response of its own.
    """

    name: str
    title: str
    permission: str
    question: str
    consequence: str
    take: Callable[[Devices, Given], str | HttpResponseBase]
    already: Callable[[Devices], str] = lambda devices: ""
    form: Callable[[Any, Devices], Form] = BulkForm
    dangerous: bool = False


def counted(number: int, noun: str = "device") -> str:
    """“1 device”, “1,200 devices”."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _rows(devices: Devices) -> DeviceQuerySet:
    return Device.objects.filter(pk__in=[device.pk for device in devices])


def _switch(enabled: bool) -> Callable[[Devices, Given], str]:
    words = "enabled" if enabled else "disabled"
    return lambda devices, given: f"{counted(services.set_enabled(_rows(devices), enabled))} {words}."


def switched_already(number: int, enabled: bool) -> str:
    """“2 of them are enabled already.”"""
    words = "enabled" if enabled else "disabled"
    return f"{number:,} of them {'is' if number == 1 else 'are'} {words} already." if number else ""


def _switched(enabled: bool) -> Callable[[Devices], str]:
    return lambda devices: switched_already(sum(device.enabled is enabled for device in devices), enabled)


def _join(devices: Devices, given: Given) -> str:
    group = given["group"]
    return f"{counted(services.join_group(_rows(devices), group))} added to “{group}”."


def _leave(devices: Devices, given: Given) -> str:
    group = given["group"]
    return f"{counted(services.leave_group(_rows(devices), group))} removed from “{group}”."


def _revoke(devices: Devices, given: Given) -> str:
    return f"{counted(services.revoke_credentials(devices), 'credential')} revoked."


def _credentials_on(devices: Devices) -> str:
    number = Credential.objects.filter(device__in=devices, enabled=True).count()
    return f"They have {counted(number, 'credential')} that {'is' if number == 1 else 'are'} not revoked yet."


@sensitive_variables()
def _rotate(devices: Devices, given: Given) -> HttpResponseBase:
    made = services.rotate_tokens(devices, given["overlap"], given["label"], given["expires_at"])
    if not made:
        raise ValidationError("None of these devices has a live token. Nothing was made.")
    return tokens_file([(credential.device.username, token) for credential, token in made])


def _without_token(devices: Devices) -> str:
    live = Credential.objects.live().filter(device__in=devices, kind=CredentialKind.TOKEN.value)
    missing = len(devices) - live.values("device").distinct().count()
    if not missing:
        return ""
    return f"{missing:,} of them {'has' if missing == 1 else 'have'} no live token and will get none."


@sensitive_variables()
def tokens_file(tokens: Sequence[tuple[str, str]]) -> HttpResponseBase:
    """The usernames and their new tokens as CSV, the only copy there is.

    A username that a spreadsheet would take for a formula has an apostrophe before it.
    """

    def lines() -> Iterator[bytes]:
        for row in (("username", "token"), *((guarded(username), token) for username, token in tokens)):
            text = io.StringIO(newline="")
            csv.writer(text, lineterminator="\r\n").writerow(row)
            yield text.getvalue().encode()

    response = StreamingHttpResponse(lines(), content_type="text/csv; charset=utf-8")
    name = f"tokens-{timezone.now():%Y%m%d-%H%M%S}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "no-store, private"
    return response


STEPS = (
    Step(
        "enable",
        "Enable",
        "change",
        "Enable {devices}?",
        "They may connect again, with the credentials they have.",
        _switch(True),
        _switched(True),
    ),
    Step(
        "disable",
        "Disable",
        "change",
        "Disable {devices}?",
        "They cannot connect any more, and connections that live can no longer publish or subscribe.",
        _switch(False),
        _switched(False),
        dangerous=True,
    ),
    Step(
        "join_group",
        "Add to a group",
        "change",
        "Add {devices} to a group?",
        "What the policies of the group allow and deny then holds for them too.",
        _join,
        form=GroupForm,
    ),
    Step(
        "leave_group",
        "Remove from a group",
        "change",
        "Remove {devices} from a group?",
        "What the policies of the group allow and deny then no longer holds for them.",
        _leave,
        form=GroupForm,
    ),
    Step(
        "rotate_tokens",
        "Rotate tokens",
        "rotate",
        "Rotate the tokens of {devices}?",
        "Each gets one new token, in the place of its live ones; passwords stay. The answer is a file with a "
        "username and a token in each line, which is the only copy: keep it safe, then go back to the list.",
        _rotate,
        _without_token,
        form=BulkRotateForm,
    ),
    Step(
        "revoke_credentials",
        "Revoke credentials",
        "revoke",
        "Revoke all credentials of {devices}?",
        "They cannot log in any more, until a credential is restored or they get another. Connections that "
        "live stay until they end; to stop those too, disable the devices.",
        _revoke,
        _credentials_on,
        dangerous=True,
    ),
)


def bulk_action(step: Step) -> Callable[[Any, HttpRequest, DeviceQuerySet], HttpResponseBase | None]:
    """The step as an action of the list: asks first, and takes the step when the question comes back."""

    @admin.action(description=step.title, permissions=[step.permission])
    def act(model_admin: Any, request: HttpRequest, queryset: DeviceQuerySet) -> HttpResponseBase | None:
        devices = list(queryset.order_by("username").prefetch_related(None)[: AT_ONCE + 1])
        if len(devices) > AT_ONCE:
            messages.error(request, f"Nothing was changed. Choose at most {AT_ONCE} devices at once.")
            return None
        if "post" not in request.POST:
            return _question(step, model_admin, request, devices, step.form(None, devices))
        with transaction.atomic():
            # Of two equal answers, the second one waits and then sees what the first one did.
            list(_rows(devices).order_by("pk").select_for_update().values_list("pk"))
            form = step.form(request.POST, devices)
            if form.is_valid():
                done = _taken(step, request, devices, form)
                if not form.errors:
                    return done
        return _question(step, model_admin, request, devices, form)

    # What it is called in forms.
    act.__name__ = step.name
    return act


def _taken(step: Step, request: HttpRequest, devices: list[Device], form: Form) -> HttpResponseBase | None:
    try:
        with transaction.atomic():
            done = step.take(devices, form.cleaned_data)
    except NotAllowed as refused:
        messages.error(request, f"Nothing was changed. {refused}")
    except ValidationError as problem:
        form.add_error(None, problem.messages)
    else:
        if isinstance(done, HttpResponseBase):
            return done
        messages.success(request, done)
    return None


def _question(
    step: Step, model_admin: Any, request: HttpRequest, devices: list[Device], form: Form
) -> HttpResponse:
    return ask(
        step,
        model_admin,
        request,
        question=step.question.format(devices=counted(len(devices))),
        already=step.already(devices),
        chosen=devices,
        named=devices[:NAMED],
        number=len(devices),
        form=form,
    )


def ask(
    step: Step,
    model_admin: Any,
    request: HttpRequest,
    *,
    question: str,
    already: str,
    chosen: Sequence[Model],
    named: Devices,
    number: int,
    form: Form,
    kept: Given | None = None,
) -> HttpResponse:
    """The page with the question. ``chosen`` are the rows that were ticked, ``named`` the first devices of
    the ``number`` that are concerned; ``kept`` comes back with the answer."""
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": step.title,
        "step": step,
        "question": question,
        "already": already,
        "chosen": chosen,
        "named": named,
        "more": number - len(named),
        "kept": kept or {},
        "form": form,
        "media": model_admin.media + form.media,
        "checkbox": ACTION_CHECKBOX_NAME,
        "back": request.get_full_path(),
    }
    return render(request, "console/bulk_step.html", context)


BULK_ACTIONS = tuple(bulk_action(step) for step in STEPS)
