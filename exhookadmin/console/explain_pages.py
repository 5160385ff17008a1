"""The explain page: what would be decided, and why. With an event: then and now. With a draft: what if.

It asks the functions that answer the broker, and writes nothing.
"""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_http_methods

from accounts.core.binding import Binding, prescribed_client_id
from accounts.core.client import Client
from accounts.core.decision import Reason
from accounts.core.identity import IdentitySource
from accounts.models import Device
from accounts.principals import find_device
from acl.core.matching import PolicyError
from acl.core.rule_lines import WrongLine, read_rules, rule_line
from acl.drafts import PolicyDraft, stored_draft, with_rules
from acl.models import Policy
from acl.sources import sources_of
from audit.models import Event
from exhookadmin.console.questions import QuestionForm, explain_url, question_of
from exhookadmin.console.then_and_now import differences, revisions
from exhookadmin.console.trace import Trace, trace_of
from exhookadmin.explain import (
    Explained,
    explain_known,
    look_up,
    suppose,
    suppose_connect,
)
from exhookadmin.words import REASONS, Words, reason_words

SUGGESTED_DEVICES = 10
POLICIES_TO_CHOOSE = 500
DRAFT_CHARACTERS = 200_000


@dataclass(frozen=True)
class Answer:
    """One question with its decision, and the address of it alone.

    ``stored`` is the decision without the draft, where there is one.
    """

    action: str
    topic: str
    explained: Explained
    url: str = ""
    stored: Explained | None = None

    @property
    def words(self) -> Words:
        return REASONS[self.explained.decision.reason]

    @property
    def stored_words(self) -> Words | None:
        return REASONS[self.stored.decision.reason] if self.stored else None

    @property
    def turned(self) -> bool:
        """The draft makes the difference."""
        return self.stored is not None and self.stored.decision.allow != self.explained.decision.allow


def may_explain(request: HttpRequest) -> bool:
    """The page shows devices and policies: it is for those who may see both."""
    user = request.user
    return all(
        user.has_perm(f"{app}.view_{model}") or user.has_perm(f"{app}.change_{model}")
        for app, model in (("accounts", "device"), ("acl", "policy"))
    )


@require_http_methods(["GET", "HEAD", "POST"])
def explain(request: HttpRequest) -> HttpResponse:
    """The page. Its address holds the whole question, so that it can be passed on; a POST adds a draft."""
    if not may_explain(request):
        raise PermissionDenied
    event = _event(request)
    asked = request.GET if event is None or "action" in request.GET else question_of(event)
    form = QuestionForm(asked) if "action" in asked else QuestionForm(initial=asked.dict())
    # What every form and link of the page repeats: all but the choice of a policy.
    question = {name: str(text) for name, text in asked.items() if text and name not in ("policy", "event")}
    if event is not None:
        question["event"] = str(event.pk)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Why?" if event else "Explain and simulate",
        "form": form,
        "event": event,
        "event_words": event and reason_words(event.reason),
        "question": question,
        "address": urlencode(question),
    }
    if form.is_bound and form.is_valid():
        context |= _answered(request, form, event)
    return render(request, "console/explain.html", context)


@require_GET
def device_names(request: HttpRequest) -> HttpResponse:
    """The devices whose username begins with what is typed, as options."""
    if not may_explain(request):
        raise PermissionDenied
    typed = request.GET.get("username", "")
    devices = Device.objects.none()
    if typed and "\x00" not in typed:
        devices = Device.objects.filter(username__startswith=typed).order_by("username")
    names = devices.values_list("username", "description")[:SUGGESTED_DEVICES]
    return render(request, "console/device_names.html", {"names": names})


def _event(request: HttpRequest) -> Event | None:
    if "event" not in request.GET:
        return None
    if not request.user.has_perm("audit.view_event"):
        raise PermissionDenied
    try:
        number = UUID(request.GET["event"])
    except ValueError:
        raise Http404("This is not the number of an event.") from None
    return get_object_or_404(Event, pk=number)


def _answered(request: HttpRequest, form: QuestionForm, event: Event | None) -> dict[str, Any]:
    client, completed = _completed(form, event)
    draft, lines, problem = _draft(request)
    attach = "attach" in request.POST
    answers = _answers(form, client, draft, attach)
    only = answers[0] if len(answers) == 1 else None
    found = answers[0].explained
    context: dict[str, Any] = {
        "client": client,
        "client_id_completed": completed,
        "answers": answers,
        "answer": only,
        "principal": found.principal,
        "checks": found.checks,
        "throttling_unseen": not form.requests,
        "draft_problem": problem,
        "draft_lines": lines,
        "draft_policy": request.GET.get("policy", ""),
        "drafted": draft,
        "attach": attach,
    }
    if only is not None:
        context["trace"] = trace_of(only.explained) if form.requests else Trace((), (), 0, 0)
        if event is not None:
            context |= _then_and_now(event, only.stored or only.explained)
    if form.requests:
        context["policies"] = _policies(found)
    return context


def _completed(form: QuestionForm, event: Event | None) -> tuple[Client, bool]:
    """The client, with the client id that its device prescribes where none was entered."""
    client = form.client
    if client.client_id or event is not None:
        return client, False
    source = IdentitySource.USERNAME if client.username else IdentitySource.CERTIFICATE_CN
    device = find_device(source, client.username or client.cn)
    if device is None:
        return client, False
    client_id = prescribed_client_id(Binding(device.client_id_binding), device.client_id, device.username)
    return client._replace(client_id=client_id), bool(client_id)


def _answers(form: QuestionForm, client: Client, draft: PolicyDraft | None, attach: bool) -> list[Answer]:
    action = form.cleaned_data["action"]
    if not form.requests:
        return [Answer(action, "", suppose_connect(client, form.sent))]
    known = look_up(client)
    if draft is not None and attach and known.principal is not None:
        draft = replace(draft, device_ids=frozenset({known.principal.id}))
    supposed = suppose(known, draft) if draft else None
    answers = []
    for asked in form.requests:
        explained = explain_known(known, client, asked)
        answer = Answer(action, asked.topic, explained, _url(form, asked.topic))
        if supposed is not None:
            answer = replace(answer, explained=explain_known(supposed, client, asked), stored=explained)
        answers.append(answer)
    return answers


def _url(form: QuestionForm, topic: str) -> str:
    return explain_url(**{name: form[name].value() or "" for name in form.fields} | {"topics": topic})


def _draft(request: HttpRequest) -> tuple[PolicyDraft | None, str, str]:
    """The unsaved change that is tried out, the text of its rules, and what is wrong with that text."""
    number = request.GET.get("policy", "")
    if not number.isdecimal() or len(number) > 18:
        return None, "", ""
    policy = get_object_or_404(Policy.objects.prefetch_related("rules", "groups"), pk=int(number))
    try:
        stored = stored_draft(policy)
    except ValueError as problem:
        return None, "", f"The policy {policy.name} cannot be read: {problem}"
    in_order = sorted(stored.rules, key=lambda rule: rule.order)
    lines = "\n".join(rule_line(rule) for rule in in_order)
    if request.method != "POST":
        return None, lines, ""
    lines = request.POST.get("rules", "")
    if len(lines) > DRAFT_CHARACTERS:
        return None, lines[:DRAFT_CHARACTERS], f"These rules are longer than {DRAFT_CHARACTERS:,} characters."
    try:
        draft = replace(with_rules(stored, read_rules(lines, stored.source, stored.rules)), enabled=True)
    except (WrongLine, PolicyError) as problem:
        return None, lines, str(problem)
    return draft, lines, ""


def _policies(found: Explained) -> list[dict[str, Any]]:
    """The policies that can be tried out, those that apply to the device first."""
    applying = set()
    if found.principal is not None:
        applying = {source.policy_id for source in sources_of(found.principal).values()}
    policies = Policy.objects.order_by("name").values("pk", "name", "enabled")[:POLICIES_TO_CHOOSE]
    choices = [{**policy, "applies": policy["pk"] in applying} for policy in policies]
    return sorted(choices, key=lambda policy: not policy["applies"])


def _then_and_now(event: Event, now: Explained) -> dict[str, Any]:
    same = bool(event.allowed) == now.decision.allow and event.reason in ("", now.decision.reason)
    same = same and event.rule == (str(now.decision.rule) if now.decision.rule else "")
    return {
        "now": now,
        "now_words": REASONS[now.decision.reason],
        "same": same,
        "changes": differences(event, now),
        "revisions": revisions(event, now),
        "throttled": event.reason == Reason.THROTTLED,
        "secret_unknown": now.decision.reason == Reason.CREDENTIAL_VERIFIED,
    }
