"""manage.py audit: the explorer's search in a terminal, and a tail that shows each event once."""

import threading
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from audit.fact import Fact, Kind
from audit.writer import write_facts
from tests.cli.conftest import Run


def denied(topic: str) -> Fact:
    return Fact(Kind.AUTHORIZE, allowed=False, reason="no_rule_matched", device="pump-17", topic=topic)


@pytest.mark.django_db
def test_queries_are_the_explorers(run: Run):
    write_facts([denied("a/1"), denied("a/2"), Fact(Kind.CONNECTED, client_id="pump-17")])
    found = run("audit", "query", "--device", "pump-17", "--since", "1h", "--json")
    assert [event["topic"] for event in found] == ["a/2", "a/1"]
    assert [event["topic"] for event in run("audit", "query", "--kind", "client.authorize", "--limit", "1",
                                            "--json")] == ["a/2"]  # fmt: skip
    assert "a/1" in run("audit", "query", "--topic", "a/+")
    assert run("audit", "query", "--device", "nobody") == 1
    assert run("audit", "query", "--since", "yesterday") == 2


@pytest.mark.django_db(transaction=True)
def test_the_tail_shows_each_event_once(monkeypatch: pytest.MonkeyPatch):
    write_facts([denied(f"old/{number}") for number in range(5)])
    out = StringIO()
    seen = threading.Event()

    def pause(_: float) -> None:
        if seen.wait(0.02):
            raise KeyboardInterrupt

    def follow() -> None:
        call_command("audit", "tail", "--lines", "2", stdout=out)
        connection.close()

    def until(text: str) -> None:
        while text not in out.getvalue():
            thread.join(0.02)
            assert thread.is_alive()

    monkeypatch.setattr("exhookadmin.management.commands.audit._pause", pause)

    thread = threading.Thread(target=follow)
    thread.start()
    until("old/4")
    write_facts([denied("new/1")])
    until("new/1")
    write_facts([denied("new/2")])
    until("new/2")
    seen.set()
    thread.join()
    shown = [line.rpartition("  ")[2] for line in out.getvalue().splitlines()]
    assert shown == ["old/3", "old/4", "new/1", "new/2"]
    assert str(timezone.now().year) in out.getvalue()
