"""What our commands share: help with its examples as they are written, and actions in one transaction."""

from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from exhookadmin.cli.output import problem


class CommandWithExamples(BaseCommand):
    """Shows ``epilog`` below its options, line by line."""

    epilog = ""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, epilog=self.epilog, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )


class CommandWithActions(CommandWithExamples):
    """Calls its method of the name that ``call`` holds: all of it is done, or nothing."""

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with transaction.atomic():
                getattr(self, options["call"])(options)
        except ValidationError as error:
            raise problem(error) from None
