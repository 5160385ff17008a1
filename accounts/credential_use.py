"""Whether somebody still uses a credential, in words: what one wants to know before it ends."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.timesince import timesince

from accounts.models import Credential

SOON = timedelta(days=30)
"""An end nearer than this, with nothing to take the credential's place, is worth a warning."""


@dataclass(frozen=True, slots=True)
class Use:
    """``last`` and ``end`` are empty where there is nothing to say; ``remark`` says what follows.

    A ``warning`` remark names somebody who will be locked out.
    """

    last: str
    end: str = ""
    remark: str = ""
    warning: bool = False


def use_of(credential: Credential, replaced_at: datetime | None, now: datetime) -> Use:
    """``replaced_at`` is when the first credential was made that takes its place: see ``with_successors``.

    The last use is stored once a minute, and is that of a login: a connection that lives does not
    log in again.
    """
    used, ends = credential.last_used_at, credential.expires_at
    last = "never used" if used is None else f"last used {_ago(used, now)}"
    if not credential.enabled or ends is None:
        return Use(last)
    if ends <= now:
        return Use(last, f"expired {_ago(ends, now)}")
    end = f"expires in {_length(ends - now)}"
    if replaced_at is None:
        if ends - now > SOON:
            return Use(last, end)
        return Use(last, end, "Nothing takes its place yet: rotate it in time.", warning=True)
    if used is not None and used > replaced_at:
        return Use(last, end, "Still in use although it has been replaced.", warning=True)
    return Use(last, end, "Nobody has logged in with it since it was replaced.")


def _ago(moment: datetime, now: datetime) -> str:
    passed = now - moment
    return "just now" if passed < timedelta(minutes=1) else f"{_length(passed)} ago"


def _length(length: timedelta) -> str:
    """The largest unit that fits, such as “6 days”."""
    if length < timedelta(minutes=1):
        return "less than a minute"
    start = datetime(2000, 1, 1)
    # With blanks that break, as in the rest of a sentence.
    return timesince(start, start + length, depth=1).replace("\xa0", " ")
