"""Records that somebody's password was set, whichever page or command did it."""

from typing import Any

from django.contrib.auth.models import User
from django.contrib.auth.password_validation import MinimumLengthValidator

from accounts.changes import Change, current_actor
from exhookadmin.staff.history import record
from exhookadmin.staff.states import USER


class LongEnough(MinimumLengthValidator):
    """A password of at least so many characters. Django tells its validators when one was stored."""

    def password_changed(self, password: str, user: Any) -> None:
        if isinstance(user, User):
            told = Change(USER, user.pk, user.get_username(), {"password": ""}, {"password": "set anew"})
            record(current_actor(), [told])
