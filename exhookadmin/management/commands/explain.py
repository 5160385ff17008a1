"""manage.py explain: why a device may, or may not, connect, publish or subscribe."""

import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.core.client import Client
from accounts.core.decision import Reason
from acl.core.decide import AccessRequest
from acl.core.rules import Action
from exhookadmin.explain import Explained, explain_access, explain_connect
from exhookadmin.words import REASONS


class Command(BaseCommand):
    help = (
        "Prints what the endpoint would decide, with every device check and every rule it considers, in "
        "evaluation order. Exit code 0: allowed; 1: denied; 2: the question was not understood."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--client", required=True, metavar="ID", help="The MQTT client id.")
        parser.add_argument("--username", default="", help="The MQTT username, if it sends one.")
        parser.add_argument("--address", default="", help="Where it connects from.")
        parser.add_argument("--cn", default="", help="The common name in its TLS client certificate.")
        asked = parser.add_mutually_exclusive_group(required=True)
        asked.add_argument("--connect", action="store_true", help="May it connect?")
        asked.add_argument("--publish", metavar="TOPIC", help="May it publish to the topic?")
        asked.add_argument("--subscribe", metavar="FILTER", help="May it subscribe to the filter?")
        parser.add_argument(
            "--password-file",
            metavar="FILE",
            help="With --connect: a file with the password or token it sends, - for standard input. "
            "Without, it sends none.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["password_file"] and not options["connect"]:
            raise CommandError(
                "A password matters when connecting only: use it with --connect.", returncode=2
            )
        client = Client(
            client_id=options["client"],
            username=options["username"],
            password=_password(options["password_file"]),
            address=options["address"],
            cn=options["cn"],
        )
        if options["connect"]:
            asked, explained = "connect", explain_connect(client)
        else:
            action = Action.PUBLISH if options["publish"] is not None else Action.SUBSCRIBE
            topic = options["publish"] if action is Action.PUBLISH else options["subscribe"]
            asked = f"{action} {'to ' if action is Action.SUBSCRIBE else ''}{topic}"
            explained = explain_access(client, AccessRequest(action, topic))
        for line in _lines(asked, explained):
            self.stdout.write(line)
        if not explained.decision.allow:
            raise SystemExit(1)


def _password(name: str | None) -> str:
    if not name:
        return ""
    if name == "-":
        return sys.stdin.readline().rstrip("\r\n")
    try:
        return Path(name).read_text().rstrip("\r\n")
    except OSError as problem:
        raise CommandError(f"{problem.filename}: {problem.strerror}.", returncode=2) from None


def _lines(asked: str, explained: Explained) -> list[str]:
    decision = explained.decision
    words = REASONS[decision.reason]
    lines = [
        f"Asked     {asked}",
        f"Device    {_device(explained)}",
        f"Decision  {'ALLOW' if decision.allow else 'DENY'}: {words.title} ({decision.reason})",
        f"          {words.meaning}",
    ]
    if decision.rule is not None:
        lines.append(f"          Rule: {decision.rule}")
    if decision.reason == Reason.UNKNOWN_DEVICE and settings.EXHOOK_CHAIN_UNKNOWN:
        lines.append("          EXHOOK_CHAIN_UNKNOWN is on: EMQX is told to ask its next authenticator.")
    if explained.problem:
        lines.append(f"          {explained.problem}")
    lines.append(f"Policies  revision {explained.revision}")
    if asked == "connect" and explained.principal is not None:
        lines.append(f"          Live credentials: {explained.live_credentials}.")
    lines += ["", "Checks of the device, the first that fails denies:"]
    lines += [f"  {_mark(check.passed)} {check.words}" for check in explained.checks]
    if asked != "connect":
        lines += ["", *_rules(explained)]
    return lines


def _device(explained: Explained) -> str:
    if explained.principal is None:
        return "none has this name"
    found = f", found by {explained.found_by.replace('_', ' ')}" if explained.found_by else ""
    return f"{explained.principal.username}{found}"


def _rules(explained: Explained) -> list[str]:
    if not explained.considered:
        return ["Rules: none was tried."]
    lines = ["Rules, in the order in which they are tried; the first that matches decides:"]
    for number, tried in enumerate(explained.considered, 1):
        decides = "  ← decides" if tried is explained.deciding else ""
        lines.append(f"  {number:>3}. {_mark(tried.matched)} {tried.rule.ref}{decides}")
        lines.append(f"         {tried.why}")
    return lines


def _mark(good: bool) -> str:
    return "✓" if good else "✗"
