from django.apps import AppConfig


class ExhookadminConfig(AppConfig):
    """The project itself: endpoint, console and what spans several apps."""

    name = "exhookadmin"
    verbose_name = "ExHook Admin"
