"""Remarks on rules while they are typed, and after they are stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_POST

from accounts.models import Device
from acl.core.lint import Finding, Severity, lint
from acl.drafts import devices_under, stored_draft
from acl.fleet import fleet_of, fleet_of_device
from acl.models import Policy, Rule
from acl.rule_rows import RuleRow, all_rules, number_in, policy_draft, read_rows
from acl.rulesets import core_rules

TOLD_AFTER_SAVING = 5


@dataclass(frozen=True)
class CheckedRow:
    """A row of the table with what is remarked on it."""

    prefix: str
    problems: tuple[str, ...]
    findings: tuple[Finding, ...]


@require_POST
def check_rules(request: HttpRequest) -> HttpResponse:
    """The remarks on a table of rules that is being edited, one fragment a row. Nothing is stored."""
    if not any(request.user.has_perm(f"acl.{verb}_rule") for verb in ("view", "add", "change")):
        raise PermissionDenied
    device_id, policy_id = (number_in(request.GET.get(name, "")) for name in ("device", "policy"))
    try:
        if device_id is not None:
            device = get_object_or_404(Device.objects.prefetch_related("rules"), pk=device_id)
            rows, findings = _device_findings(request, device)
        else:
            stored = Policy.objects.prefetch_related("rules", "groups")
            policy = None if policy_id is None else get_object_or_404(stored, pk=policy_id)
            rows, findings = _policy_findings(request, policy)
    except ValueError as problem:
        return render(request, "acl/rule_findings.html", {"problem": str(problem)})
    return render(request, "acl/rule_findings.html", _context(rows, findings))


def tell_after_saving(request: HttpRequest, owner: Policy | Device) -> None:
    """Warns of what is odd about the rules that were just stored. What they say stays stored."""
    rules = Rule.objects.filter(policy=owner) if isinstance(owner, Policy) else owner.rules.all()
    try:
        if isinstance(owner, Policy):
            draft = stored_draft(Policy.objects.prefetch_related("rules", "groups").get(pk=owner.pk))
            findings = lint(draft.rules, fleet_of(devices_under(draft), draft.rules))
        else:
            findings = lint(core_rules(rules, f"device {owner}"), fleet_of_device(owner))
    except ValueError:
        return
    grave = [found for found in findings if found.severity is not Severity.NOTICE]
    for found in grave[:TOLD_AFTER_SAVING]:
        messages.warning(request, f"{found.rule.ref.text}: {found.words}")
    if len(grave) > TOLD_AFTER_SAVING:
        messages.warning(request, f"{len(grave) - TOLD_AFTER_SAVING} more rules are odd: see the table.")


def _policy_findings(request: HttpRequest, policy: Policy | None) -> tuple[list[RuleRow], list[Finding]]:
    draft, rows = policy_draft(request.POST, policy)
    return rows, lint(draft.rules, fleet_of(devices_under(draft), draft.rules))


def _device_findings(request: HttpRequest, device: Device) -> tuple[list[RuleRow], list[Finding]]:
    source = f"device {device.username}"
    rows = read_rows(request.POST, source)
    return rows, lint(all_rules(rows, device.rules.all(), source), fleet_of_device(device))


def _context(rows: Sequence[RuleRow], findings: Sequence[Finding]) -> dict[str, Any]:
    by_rule: dict[int, list[Finding]] = {}
    for found in findings:
        by_rule.setdefault(found.rule.id, []).append(found)
    checked = [
        CheckedRow(row.prefix, row.problems, tuple(by_rule.pop(row.rule.id, ()) if row.rule else ()))
        for row in rows
    ]
    return {
        "rows": checked,
        "count": sum(len(row.findings) + len(row.problems) for row in checked),
        "elsewhere": sum(len(found) for found in by_rule.values()),
    }
