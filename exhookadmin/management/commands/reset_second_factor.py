"""manage.py reset_second_factor: for whose phone is gone, if nobody else can log in."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from exhookadmin.staff.second_factor import reset


class Command(BaseCommand):
    help = "Forgets the second factor of a member of the staff: the password alone then logs in."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user “{username}”.")
        if reset(user):
            self.stdout.write(f"The second factor of “{username}” is forgotten.")
        else:
            self.stdout.write(f"“{username}” has no second factor.")
