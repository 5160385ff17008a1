"""manage.py replay: sends the recorded calls of a broker to an endpoint."""

from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

SHOWN = 20


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if speed <= 0:
        raise ArgumentTypeError(f"“{text}” is no speed: give a number above 0, for example 1 or 10.")
    return speed


class Command(BaseCommand):
    help = (
        "Sends a recording (one call a line, as JSON; .gz is read too) to an endpoint, in order, and reports "
        "per RPC what came back. Exit code 0: every call was answered; 1: some were not, or an answer "
        "differs; 2: the endpoint or the file could not be reached."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="The recording: .jsonl or .jsonl.gz.")
        parser.add_argument(
            "--target", default="127.0.0.1:9000", help="The endpoint, host:port (default: %(default)s)."
        )
        parser.add_argument(
            "--speed",
            type=_speed,
            help="1 keeps the recorded pace, 10 is ten times as fast. Default: no waiting.",
        )
        parser.add_argument(
            "--compare",
            action="store_true",
            help="Also compare decisions with those in the recording: it denied the username “baduser” and "
            "topics under “deny/”, and allowed the rest.",
        )

    def handle(
        self, *args: Any, file: Path, target: str, speed: float | None, compare: bool, **options: Any
    ) -> None:
        # Imported here: grpc must not be loaded by commands that never use it.
        from exhookadmin.exhook.emqx import Target, Unreachable, open_channel
        from exhookadmin.exhook.recordings import BadRecording, read_recording
        from exhookadmin.exhook.replay import describe, expected_answer, replay, report

        where = Target(target)
        answers = []
        try:
            with open_channel(where) as channel:
                for answer in replay(channel, where, read_recording(file), speed):
                    answers.append(answer)
        except Unreachable as problem:
            raise CommandError(str(problem), returncode=2) from None
        except BadRecording as problem:
            raise CommandError(str(problem), returncode=2) from None
        except OSError as problem:
            raise CommandError(f"{file} cannot be read: {problem.strerror}.", returncode=2) from None
        if not answers:
            raise CommandError(f"{file} holds no calls.", returncode=2)

        self.stdout.write(f"{'method':<24} {'calls':>6} {'OK':>6} {'failed':>6} {'p50 ms':>8} {'p95 ms':>8}")
        for line in report(answers):
            self.stdout.write(
                f"{line.name:<24} {line.calls:>6} {line.ok:>6} {line.failed:>6} "
                f"{line.p50 * 1000:>8.2f} {line.p95 * 1000:>8.2f}"
            )
        failed = [answer for answer in answers if not answer.ok]
        self._list("failed", [f"#{a.call.seq} {a.call.name}: {a.failure}" for a in failed])
        different = [
            f"#{answer.call.seq} {describe(answer.call)}: recorded {expected}, now {answer.said}"
            for answer in answers
            if compare and (expected := expected_answer(answer.call)) not in (None, answer.said)
        ]
        self._list("answered differently", different)
        verdict = f"{len(answers)} calls, {len(answers) - len(failed)} OK, {len(failed)} failed"
        self.stdout.write(verdict + (f", {len(different)} decided differently" if compare else ""))
        if failed or different:
            raise SystemExit(1)

    def _list(self, title: str, lines: list[str]) -> None:
        for line in lines[:SHOWN]:
            self.stdout.write(f"{title}: {line}")
        if len(lines) > SHOWN:
            self.stdout.write(f"{title}: and {len(lines) - SHOWN} more")
