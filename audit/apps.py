from django.apps import AppConfig

from audit.comparisons import teach_sqlite


class AuditConfig(AppConfig):
    """The record of what happened: events and sessions."""

    name = "audit"
    verbose_name = "Audit log"

    def ready(self) -> None:
        teach_sqlite()
