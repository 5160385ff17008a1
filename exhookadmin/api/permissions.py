"""May this key call this endpoint? One table in each view says what is needed; the rest is refused."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from exhookadmin.api.models import ApiKey
from exhookadmin.api.scopes import Scope


class HasScope(BasePermission):
    """Asks the view's ``scopes``: its action → the scope that it needs. What is not named is refused."""

    def has_permission(self, request: Request, view: Any) -> bool:
        needed: Scope | None = view.scopes.get(view.action)
        if needed is None or not isinstance(request.user, ApiKey):
            # A method that the view does not have is answered by 405, not by 403.
            return view.action is None and isinstance(request.user, ApiKey)
        if request.user.may(needed):
            return True
        self.message = f"This key lacks the scope “{needed}”."
        return False
