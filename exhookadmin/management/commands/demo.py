"""manage.py demo: the admin comes alive, with no EMQX at hand."""

import re
import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser


class Command(BaseCommand):
    help = (
        "Starts an endpoint, a small MQTT broker that asks it as EMQX would, and some devices that behave "
        "and misbehave. Works on the configured database, on names that begin with demo- only."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--target", default="", help="An endpoint that runs already, host:port.")
        parser.add_argument(
            "--web",
            default="127.0.0.1:8000",
            metavar="HOST:PORT",
            help="Where the endpoint serves the web interface (default: %(default)s).",
        )
        parser.add_argument("--no-web", action="store_true", help="No web interface.")
        parser.add_argument("--mqtt-port", type=int, help="The broker’s port. Default: 1883, or a free one.")
        parser.add_argument("--seconds", type=float, help="Stop after so long. Default: with Ctrl-C.")
        parser.add_argument("--clean", action="store_true", help="Only remove what the demo has made.")

    def handle(self, *args: Any, **options: Any) -> None:
        if not re.fullmatch(r".+:\d{1,5}", options["web"]):
            raise CommandError(f"--web: “{options['web']}” is not HOST:PORT, for example 127.0.0.1:8000.")
        # Imported here: these need packages that a production installation does not have.
        try:
            from exhookadmin.exhook.demo import fleet, story
            from exhookadmin.exhook.demo.bridge import EndpointSilent
            from exhookadmin.exhook.demo.broker import PortTaken
            from exhookadmin.exhook.demo.endpoint import EndpointFailed
        except ModuleNotFoundError as missing:
            if missing.name not in ("amqtt", "paho"):
                raise
            raise CommandError(
                f"The demo needs the package {missing.name}: use “make demo”, or install "
                "requirements-dev.lock."
            ) from None
        if options["clean"]:
            self.stdout.write(f"Removed {fleet.remove_fleet()} devices, groups and policies of the demo.")
            return
        wishes = story.Wishes(
            options["target"],
            "" if options["no_web"] else options["web"],
            options["mqtt_port"],
            options["seconds"],
            lambda: self._told,
        )
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            story.run(wishes, self._say)
        except KeyboardInterrupt:
            self._say("Stopped. The devices and what happened stay in the database.")
        except (fleet.NameTaken, EndpointFailed) as problem:
            raise CommandError(str(problem)) from None
        except story.WebTaken as taken:
            raise CommandError(
                f"{taken} is in use. If ExHook Admin runs there already, let the demo use its endpoint with "
                f"--target; else choose another address with --web, or --no-web."
            ) from None
        except PortTaken as taken:
            raise CommandError(f"{taken} is in use: choose another --mqtt-port.") from None
        except EndpointSilent as silent:
            raise CommandError(
                f"No endpoint answers at {silent}. Start it with manage.py run_exhook, or leave --target out."
            ) from None
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    _told = False

    def _stop(self, number: int, frame: object) -> None:
        # An exception that is raised inside a finalizer is lost; what is noted is not.
        self._told = True
        raise KeyboardInterrupt

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
