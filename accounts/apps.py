from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Devices, their credentials and groups: who is it?"""

    name = "accounts"
    verbose_name = "Devices"
