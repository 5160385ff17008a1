from django.apps import AppConfig


class AclConfig(AppConfig):
    """Policies and rules: may it?"""

    name = "acl"
    verbose_name = "Access control"
