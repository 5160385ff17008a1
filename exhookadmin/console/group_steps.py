"""All devices of groups switched on or off, asked about with the count as every step on many devices is.

A group may have more devices than a question can hold, so it holds how many they were: where that has changed
when the answer comes, it is asked again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponseBase

from accounts import services
from accounts.changes import NotAllowed
from accounts.models import Device, DeviceGroup, DeviceQuerySet
from exhookadmin.console.bulk_forms import BulkForm
from exhookadmin.console.bulk_steps import NAMED, STEPS, Step, ask, counted, switched_already

AT_ONCE = 500
"""So many groups in one step: a browser sends at most 1,000 fields."""

CHANGED = "Nothing was changed yet: meanwhile there are more or fewer devices in them. Look again."


def _members(groups: Sequence[DeviceGroup]) -> DeviceQuerySet:
    """The devices that are in any of them, each once."""
    memberships = Device.groups.through.objects.filter(devicegroup__in=groups)
    return Device.objects.filter(pk__in=memberships.values("device"))


def _names(groups: Sequence[DeviceGroup]) -> str:
    """“pumps”, “valves” and 3 more groups."""
    names = [f"“{group}”" for group in groups[:NAMED]]
    if len(groups) > NAMED:
        names.append(counted(len(groups) - NAMED, "more group"))
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def group_action(step: Step, enabled: bool) -> Callable[[Any, HttpRequest, Any], HttpResponseBase | None]:
    """The step on devices as an action of the list of groups."""
    step = replace(step, name=f"{step.name}_devices")

    @admin.action(description=f"{step.title} all devices in them", permissions=["change_devices"])
    def act(model_admin: Any, request: HttpRequest, queryset: Any) -> HttpResponseBase | None:
        groups = list(
            DeviceGroup.objects.filter(pk__in=queryset.values("pk")).order_by("name")[: AT_ONCE + 1]
        )
        if len(groups) > AT_ONCE:
            messages.error(
                request, f"Nothing was changed. Choose at most {counted(AT_ONCE, 'group')} at once."
            )
            return None
        devices = _members(groups)
        number = devices.count()
        if not number:
            messages.warning(request, "No device is in them. Nothing was changed.")
            return None
        if request.POST.get("counted") != str(number):
            if "post" in request.POST:
                messages.warning(request, CHANGED)
            return ask(
                step,
                model_admin,
                request,
                question=step.question.format(devices=f"{counted(number)} in {_names(groups)}"),
                already=switched_already(devices.filter(enabled=enabled).count(), enabled),
                chosen=groups,
                named=list(devices.order_by("username")[:NAMED]),
                number=number,
                form=BulkForm(None, ()),
                kept={"counted": number},
            )
        try:
            switched = services.set_enabled(devices, enabled)
        except NotAllowed as refused:
            messages.error(request, f"Nothing was changed. {refused}")
        else:
            messages.success(request, f"{counted(switched)} {'enabled' if enabled else 'disabled'}.")
        return None

    # What it is called in forms.
    act.__name__ = step.name
    return act


_BY_NAME = {step.name: step for step in STEPS}
GROUP_ACTIONS = (group_action(_BY_NAME["enable"], True), group_action(_BY_NAME["disable"], False))
