"""manage.py explain: why a device may, or may not, connect, publish or subscribe."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.core.client import Client
from accounts.core.decision import Reason
from acl.core.decide import AccessRequest
from acl.core.rules import Action
from exhookadmin.cli.output import add_json_option, answer
from exhookadmin.explain import Explained, explain_connect, explain_known, look_up
from exhookadmin.explained_rows import explained_row
from exhookadmin.words import REASONS


class Command(BaseCommand):
    help = (
        "Prints what the endpoint would decide, with every device check and every rule it considers, in "
        "evaluation order. Exit code 0: all is allowed; 1: something is denied; 2: the question was not "
        "understood."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--client", required=True, metavar="ID", help="The MQTT client id.")
        parser.add_argument("--username", default="", help="The MQTT username, if it sends one.")
        parser.add_argument("--address", default="", help="Where it connects from.")
        parser.add_argument("--cn", default="", help="The common name in its TLS client certificate.")
        parser.add_argument("--connect", action="store_true", help="May it connect?")
        for action, name, words in (
            (Action.PUBLISH, "TOPIC", "May it publish to the topic?"),
            (Action.SUBSCRIBE, "FILTER", "May it subscribe to the filter?"),
        ):
            parser.add_argument(
                f"--{action}",
                dest="requests",
                action="append",
                type=partial(AccessRequest, action),
                default=[],
                metavar=name,
                help=f"{words} Can be given several times; the answers keep the order.",
            )
        parser.add_argument(
            "--password-file",
            metavar="FILE",
            help="With --connect: a file with the password or token it sends, - for standard input. "
            "Without, it sends none.",
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        requests: list[AccessRequest] = options["requests"]
        _refuse_nonsense(options["connect"], requests, options["password_file"])
        client = Client(
            client_id=options["client"],
            username=options["username"],
            password=_password(options["password_file"]),
            address=options["address"],
            cn=options["cn"],
        )
        if options["connect"]:
            answers = [("connect", "", explain_connect(client))]
        else:
            known = look_up(client)
            answers = [
                (_asked(request), request.topic, explain_known(known, client, request))
                for request in requests
            ]
        if options["json"]:
            rows = [explained_row(topic, explained) for _, topic, explained in answers]
            answer(self.stdout, rows, (), as_json=True)
        else:
            for number, (asked, _, explained) in enumerate(answers):
                for line in ["", *_lines(asked, explained)] if number else _lines(asked, explained):
                    self.stdout.write(line)
        if not all(explained.decision.allow for _, _, explained in answers):
            raise SystemExit(1)


def _refuse_nonsense(connect: bool, requests: list[AccessRequest], password_file: str | None) -> None:
    if not connect and not requests:
        raise CommandError("One of --connect --publish --subscribe is required.", returncode=2)
    if connect and requests:
        raise CommandError(f"--connect is not allowed with --{requests[0].action}.", returncode=2)
    if password_file and not connect:
        raise CommandError("A password matters when connecting only: use it with --connect.", returncode=2)


def _asked(request: AccessRequest) -> str:
    return f"{request.action} {'to ' if request.action is Action.SUBSCRIBE else ''}{request.topic}"


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
