"""Sessions: requests of the same person at the same time do not undo what another one stored."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.models import Session
from django.utils import timezone

from exhookadmin.staff.sessions import SessionStore

pytestmark = pytest.mark.django_db


@pytest.fixture
def key() -> str:
    """Of a session that somebody has."""
    session = SessionStore()
    session["who"] = "admin"
    session.save()
    assert session.session_key is not None
    return session.session_key


def opened(key: str) -> SessionStore:
    """As a request has it that has just begun."""
    session = SessionStore(key)
    assert session["who"] == "admin"
    return session


def test_a_request_that_changes_nothing_undoes_nothing(key: str) -> None:
    slow = opened(key)
    quick = opened(key)
    quick["message"] = "saved"
    quick.save()
    slow.save()
    assert SessionStore(key)["message"] == "saved"


def test_it_prolongs_the_session(key: str) -> None:
    soon = timezone.now() + timedelta(minutes=1)
    Session.objects.update(expire_date=soon)
    opened(key).save()
    assert Session.objects.get(pk=key).expire_date > soon + timedelta(hours=1)


def test_a_session_that_was_ended_meanwhile_is_not_revived(key: str) -> None:
    slow = opened(key)
    opened(key).flush()
    with pytest.raises(UpdateError):
        slow.save()
    assert not Session.objects.exists()


def test_the_site_keeps_its_sessions_so() -> None:
    assert SessionStore.__module__ == settings.SESSION_ENGINE
