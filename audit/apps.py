from django.apps import AppConfig


class AuditConfig(AppConfig):
    """The record of what happened: events and sessions."""

    name = "audit"
    verbose_name = "Audit log"
