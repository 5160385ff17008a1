"""Sessions in the database, as Django keeps them, of which a request stores only what it changed."""

from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessions


class SessionStore(DatabaseSessions):
    """Every request prolongs its session (``SESSION_SAVE_EVERY_REQUEST``). One that changed nothing in it
    does no more than that: pages ask for parts of themselves in the background, and what such a request
    read at its beginning may be older than what another one has stored meanwhile, a message for instance."""

    def save(self, must_create: bool = False) -> None:
        """Raises UpdateError when the session has been ended since it was read."""
        if must_create or self.modified or self.session_key is None:
            super().save(must_create)
            return
        kept = self.get_model_class().objects.filter(session_key=self.session_key)
        if not kept.update(expire_date=self.get_expiry_date()):
            raise UpdateError
