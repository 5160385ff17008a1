from django.apps import AppConfig
from django.db.models.signals import post_migrate

from accounts import changes
from audit import kept_beside


class ExhookadminConfig(AppConfig):
    """The project itself: endpoint, console and what spans several apps."""

    name = "exhookadmin"
    verbose_name = "ExHook Admin"

    def ready(self) -> None:
        # Models exist only from here on.
        from exhookadmin.staff import history, permissions, retention, roles

        changes.connect(permissions.refuse, history.record)
        kept_beside.connect(*retention.KEPT)
        # Sent for each app in the order of INSTALLED_APPS; by the last, all permissions are there.
        post_migrate.connect(roles.put_in_place, sender=self, dispatch_uid="roles")
