"""manage.py policy: policies and their rules, from a shell or a script."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.models import DeviceGroup
from acl import services
from acl.core.rules import Action, Effect
from acl.models import Policy, Rule
from exhookadmin.api.policies import PolicySerializer, RuleSerializer
from exhookadmin.cli.commands import CommandWithActions
from exhookadmin.cli.output import NOT_FOUND, NOT_UNDERSTOOD, add_json_option, answer, answer_one
from exhookadmin.cli.rows import named

RULE_COLUMNS = (
    "id", "priority", "effect", "action", "topic_filter", "literal", "networks", "enabled", "note",
)  # fmt: skip
EXAMPLES = """
examples:
  manage.py policy add fleet --group pumps
  manage.py policy allow fleet publish 'dev/${clientid}/#' --note "its own topics"
  manage.py policy deny fleet all 'dev/+/secret' --priority 10
  manage.py policy show fleet
  manage.py policy drop fleet 42

exit codes: 0 done; 1 there is no such policy or rule; 2 not understood, and nothing was changed
"""


class Command(CommandWithActions):
    help = "Adds, shows, switches and deletes policies and their rules."

    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        calls = parser.add_subparsers(dest="call", required=True, metavar="ACTION")
        add = calls.add_parser("add", help="adds a policy, without rules yet")
        add.add_argument("name")
        add.add_argument("--description", default="")
        add.add_argument("--everyone", action="store_true", help="It applies to every device.")
        add.add_argument("--group", action="append", default=[], help="A group's name; may be repeated.")
        calls.add_parser("list", help="lists policies")
        for name, words in (
            ("show", "shows a policy with its rules"),
            ("enable", "switches a policy on"),
            ("disable", "switches a policy off, its denials included"),
        ):
            calls.add_parser(name, help=words).add_argument("name")
        delete = calls.add_parser("delete", help="deletes a policy with its rules")
        delete.add_argument("name")
        delete.add_argument("--yes", action="store_true", help="Needed: there is no way back.")
        for effect in Effect:
            rule = calls.add_parser(str(effect), help=f"adds a rule to a policy that {effect}s")
            rule.add_argument("name", help="The policy.")
            rule.add_argument("action", choices=[str(action) for action in Action])
            rule.add_argument("topic_filter")
            rule.add_argument("--priority", type=int, default=0)
            rule.add_argument("--literal", action="store_true", help="Compare the filter as text.")
            rule.add_argument("--network", action="append", default=[], metavar="CIDR")
            rule.add_argument("--note", default="")
        drop = calls.add_parser("drop", help="deletes one rule of a policy")
        drop.add_argument("name")
        drop.add_argument("rule", type=int, metavar="ID")
        for parser_of in calls.choices.values():
            add_json_option(parser_of)

    def add(self, options: dict[str, Any]) -> None:
        """Adds a policy."""
        groups = [named(DeviceGroup.objects.all(), name) for name in options["group"]]
        policy = services.create_policy(
            options["name"], description=options["description"], everyone=options["everyone"], groups=groups
        )
        answer_one(self.stdout, dict(PolicySerializer(policy).data), options["json"])

    def list(self, options: dict[str, Any]) -> None:
        """Lists policies by name."""
        rows = PolicySerializer(Policy.objects.prefetch_related("groups").order_by("name"), many=True).data
        columns = ("name", "enabled", "everyone", "groups", "description")
        answer(self.stdout, rows, columns, options["json"], "There are no policies.")

    def show(self, options: dict[str, Any]) -> None:
        """Its rules in the order in which they are tried."""
        policy = named(Policy.objects.all(), options["name"])
        shown = dict(PolicySerializer(policy).data)
        # At one priority a deny is tried before an allow.
        rules = RuleSerializer(policy.rules.order_by("-priority", "-effect", "pk"), many=True).data
        if options["json"]:
            answer_one(self.stdout, {**shown, "rules": rules}, True)
            return
        answer_one(self.stdout, shown, False)
        self.stdout.write("")
        answer(self.stdout, rules, RULE_COLUMNS, False, "It has no rules.")

    def enable(self, options: dict[str, Any]) -> None:
        """Effective at once."""
        self._switch(options, True)

    def disable(self, options: dict[str, Any]) -> None:
        """Effective at once; its denials end too."""
        self._switch(options, False)

    def _switch(self, options: dict[str, Any], enabled: bool) -> None:
        policy = named(Policy.objects.all(), options["name"])
        policy.enabled = enabled
        services.save_policy(policy)
        answer_one(self.stdout, {"name": policy.name, "enabled": enabled}, options["json"])

    def delete(self, options: dict[str, Any]) -> None:
        """For good."""
        policy = named(Policy.objects.all(), options["name"])
        if not options["yes"]:
            raise CommandError("Nothing was deleted: add --yes if you mean it.", returncode=NOT_UNDERSTOOD)
        services.delete_policies(Policy.objects.filter(pk=policy.pk))
        answer_one(self.stdout, {"deleted": policy.name}, options["json"])

    def allow(self, options: dict[str, Any]) -> None:
        """Adds a rule that allows."""
        self._rule(Effect.ALLOW, options)

    def deny(self, options: dict[str, Any]) -> None:
        """Adds a rule that denies."""
        self._rule(Effect.DENY, options)

    def _rule(self, effect: Effect, options: dict[str, Any]) -> None:
        rule = services.create_rule(
            named(Policy.objects.all(), options["name"]),
            effect,
            options["action"],
            options["topic_filter"],
            priority=options["priority"],
            literal=options["literal"],
            networks="\n".join(options["network"]),
            note=options["note"],
        )
        answer_one(self.stdout, dict(RuleSerializer(rule).data), options["json"])

    def drop(self, options: dict[str, Any]) -> None:
        """Deletes a rule; the audit log keeps its text where it decided."""
        policy = named(Policy.objects.all(), options["name"])
        rule = Rule.objects.filter(policy=policy, pk=options["rule"]).first()
        if rule is None:
            raise CommandError(
                f"“{policy}” has no rule with the id {options['rule']}; see: policy show {policy}",
                returncode=NOT_FOUND,
            )
        services.delete_rule(rule)
        answer_one(self.stdout, {"deleted": options["rule"]}, options["json"])
