"""manage.py api_key: keys of the REST API."""

from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from exhookadmin.api.keys import create_key, revoke_keys
from exhookadmin.api.models import ApiKey
from exhookadmin.api.scopes import MEANINGS, Scope


class Command(BaseCommand):
    help = "Creates, lists and revokes keys of the REST API. A new key is printed once and stored nowhere."

    def add_arguments(self, parser: CommandParser) -> None:
        calls = parser.add_subparsers(dest="call", required=True)
        create = calls.add_parser("create", help="Creates a key and prints it.")
        create.add_argument("name", help="Who or what uses it.")
        create.add_argument(
            "--scope",
            action="append",
            required=True,
            choices=[str(scope) for scope in MEANINGS],
            help="What it may do; several times for several.",
        )
        create.add_argument("--days", type=int, metavar="N", help="For how long; without, until revoked.")
        create.add_argument(
            "--network", action="append", default=[], metavar="CIDR", help="Only from there; may be repeated."
        )
        calls.add_parser("list", help="Lists the keys, without their secrets.")
        revoke = calls.add_parser("revoke", help="Ends a key for good.")
        revoke.add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, options["call"])(options)

    def create(self, options: dict[str, Any]) -> None:
        """Prints the key alone, for use in scripts; what there is to say goes to standard error."""
        days = options["days"]
        try:
            _, text = create_key(
                options["name"],
                [Scope(scope) for scope in options["scope"]],
                networks="\n".join(options["network"]),
                expires_at=None if days is None else timezone.now() + timedelta(days=days),
            )
        except (ValidationError, OverflowError) as error:
            raise CommandError("; ".join(getattr(error, "messages", [str(error)])), returncode=2) from None
        self.stdout.write(text)
        self.stderr.write("This key is not shown again. Send it as “Authorization: Bearer …”.")

    def list(self, options: dict[str, Any]) -> None:
        """One line a key: state, name, scopes, last use."""
        for key in ApiKey.objects.order_by("name"):
            state = "revoked" if key.revoked_at else "live" if key.live else "expired"
            used = f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never"
            self.stdout.write(f"{state:8} {key.name:30} last used {used:16} {' '.join(key.scopes)}")

    def revoke(self, options: dict[str, Any]) -> None:
        """Fails when there is no such key, and is content when it is revoked already."""
        keys = ApiKey.objects.filter(name=options["name"])
        if not keys.exists():
            raise CommandError(f"There is no key with the name “{options['name']}”.", returncode=2)
        revoke_keys(keys)
        self.stdout.write(f"“{options['name']}” is revoked.")
