"""The look ahead of the policy editor: what would change if the form were saved as it is."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_POST

from acl.core.matching import PolicyError
from acl.drafts import PolicyDraft, rule_differences, same_reach, stored_draft, with_devices
from acl.models import Policy
from acl.rule_rows import number_in, policy_draft
from exhookadmin.console.explain_pages import may_explain
from exhookadmin.console.questions import explain_url
from exhookadmin.console.what_changes import TURNS_SHOWN, Turn, WhatChanges, what_changes

NOTED_DECISIONS = 1_000
NOTED_SECONDS = 0.5
"""Less is looked at when saving, where nobody asked for it."""


@require_POST
def policy_changes(request: HttpRequest) -> HttpResponse:
    """A fragment for the editor; without scripts, a page of its own. Nothing is stored."""
    if not _may_look_ahead(request):
        raise PermissionDenied
    context = _context(request)
    if request.headers.get("HX-Request"):
        return render(request, "console/what_changes.html", context)
    context = {**admin.site.each_context(request), "title": "What would change", **context}
    return render(request, "console/what_changes_page.html", context)


def note_of(request: HttpRequest, policy: Policy) -> str:
    """What saving this form is about to change, in one sentence; empty for nothing, or where it is not known.

    To be asked before anything is stored.
    """
    if not _may_look_ahead(request):
        return ""
    stored_policy = _POLICIES.filter(pk=policy.pk).first() if policy.pk else None
    try:
        stored, changed, problem = _both(request, stored_policy)
        if problem or _same(stored, changed):
            return ""
        changes = what_changes(stored, changed, recorded=NOTED_DECISIONS, seconds=NOTED_SECONDS)
    except (PolicyError, ValueError):
        return ""
    return sentence_of(changes)


def sentence_of(changes: WhatChanges) -> str:
    """How many of the recorded decisions turn; empty when none does."""
    if not changes.turns:
        return ""
    allowed, denied = (sum(turn.times for turn in turns) for turns in (changes.allowed, changes.denied))
    parts = [
        words
        for count, words in ((allowed, f"{allowed:,} would be allowed now"), (denied, f"{denied:,} denied"))
        if count
    ]
    return f"Of {changes.recorded:,} recorded decisions of its devices, {' and '.join(parts)}."


def _may_look_ahead(request: HttpRequest) -> bool:
    return may_explain(request) and request.user.has_perm("audit.view_event")


def _context(request: HttpRequest) -> dict[str, Any]:
    number = number_in(request.GET.get("policy", ""))
    policy = None if number is None else get_object_or_404(_POLICIES, pk=number)
    try:
        stored, changed, problem = _both(request, policy)
        if problem:
            return {"problem": f"Correct the rules first. {problem}"}
        if _same(stored, changed):
            return {"unchanged": True}
        changes = what_changes(stored, changed)
    except (PolicyError, ValueError) as error:
        return {"problem": str(error)}
    return {
        "changes": changes,
        "newly_allowed": _shown(changes.allowed),
        "newly_denied": _shown(changes.denied),
        "examples": _shown(changes.examples),
    }


_POLICIES = Policy.objects.prefetch_related("rules", "groups")


def _both(request: HttpRequest, policy: Policy | None) -> tuple[PolicyDraft | None, PolicyDraft, str]:
    """What is stored, what the form says, and what is wrong with the form.

    Raises ValueError for stored networks that cannot be read.
    """
    changed, rows = policy_draft(request.POST, policy)
    stored = with_devices(stored_draft(policy), policy, changed) if policy else None
    problems = [problem for row in rows for problem in row.problems]
    return stored, changed, problems[0] if problems else ""


def _same(stored: PolicyDraft | None, changed: PolicyDraft) -> bool:
    return stored is not None and same_reach(stored, changed) and not rule_differences(stored, changed)


def _shown(turns: tuple[Turn, ...]) -> dict[str, Any]:
    """The first of them, each with the address of its explanation, and how many more there are."""
    rows = [
        {
            "turn": turn,
            "url": explain_url(
                username=turn.client.username,
                client_id=turn.client.client_id,
                address=turn.client.address,
                cn=turn.client.cn,
                action=turn.action,
                topics=turn.topic,
            ),
        }
        for turn in turns[:TURNS_SHOWN]
    ]
    return {"rows": rows, "hidden": max(0, len(turns) - TURNS_SHOWN)}
