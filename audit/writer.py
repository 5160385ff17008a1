"""From facts to rows, in batches. One transaction a batch; a batch written twice changes nothing."""

from collections.abc import Sequence

from django.db import transaction

from audit.fact import Fact
from audit.models import Event
from audit.presence import moves_presence
from audit.rows import event_of
from audit.sessions import lock_sessions, move_sessions


def write_facts(facts: Sequence[Fact]) -> int:
    """Stores the facts as events and moves the sessions. Answers how many events were new.

    Raises django.db.Error; then nothing of the batch was stored.
    """
    events = [event_of(fact) for fact in facts]
    with transaction.atomic():
        if any(moves_presence(fact) for fact in facts):
            lock_sessions()
        known = set(Event.objects.filter(pk__in=[event.pk for event in events]).values_list("pk", flat=True))
        fresh = [event for event in events if event.pk not in known]
        Event.objects.bulk_create(fresh, ignore_conflicts=True)
        move_sessions([fact for fact in facts if fact.id not in known])
    return len(fresh)
