"""A search as options of a command: --since, --device, --kind …, one for each parameter."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from audit.search import Search, SearchProblem, parse_search
from audit.search_parameters import PARAMETERS

_PREFIX = "search_"


def add_search_options(parser: CommandParser) -> None:
    """An option for each parameter; those of which several may be given may be repeated."""
    group = parser.add_argument_group("which events", "All that is given must hold.")
    for parameter in PARAMETERS:
        group.add_argument(
            option_of(parameter.name),
            dest=_PREFIX + parameter.name,
            action="append" if parameter.many else "store",
            metavar=parameter.name.upper(),
            help=parameter.help + (" May be repeated." if parameter.many else ""),
        )


def asked_in(options: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that were given, as they were given."""
    return {
        name.removeprefix(_PREFIX): value
        for name, value in options.items()
        if name.startswith(_PREFIX) and value is not None
    }


def search_of(asked: Mapping[str, Any], now: datetime, returncode: int = 1) -> Search:
    """Raises CommandError, which names every option at fault."""
    try:
        return parse_search(asked, now)
    except SearchProblem as problem:
        lines = [f"{option_of(name)}: {text}" for name, text in problem.problems.items()]
        raise CommandError("\n".join(lines), returncode=returncode) from None


def option_of(name: str) -> str:
    """What a parameter is called on the command line."""
    return f"--{name.replace('_', '-')}"
