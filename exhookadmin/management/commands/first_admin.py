"""manage.py first_admin: somebody who can log in to a fresh installation."""

import secrets
from itertools import chain, count
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand
from django.db import transaction

from exhookadmin.staff.services import save_user

PASSWORD_BYTES = 15


class Command(BaseCommand):
    help = "Creates the staff user “admin” with a generated password, unless a staff superuser exists."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        existing = User.objects.filter(is_staff=True, is_superuser=True).order_by("pk").first()
        if existing is not None:
            self.stdout.write(f"Nothing to do: “{existing.username}” is a staff superuser already.")
            return
        name = _free_name()
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        admin = User(username=name, is_staff=True, is_superuser=True)
        admin.set_password(password)
        save_user(admin)
        # To standard output and not to the log: it is stored nowhere in clear.
        self.stdout.write(
            f"Created the staff user “{name}” with the password {password}\n"
            "It is not shown again. Change it after logging in, or set another one with "
            f"manage.py changepassword {name}."
        )


def _free_name() -> str:
    names = chain(["admin"], (f"admin{number}" for number in count(2)))
    return next(name for name in names if not User.objects.filter(username=name).exists())
