"""Who acts in a request, and from where."""

from collections.abc import Callable
from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from accounts.changes import Actor, Channel, acting

Handler = Callable[[HttpRequest], HttpResponse]


def client_address(request: HttpRequest) -> str:
    """Where the request came from: as the outermost of our own proxies saw it, else the connection's own.

    Each proxy appends to X-Forwarded-For whom it was asked by; what stands further left is whatever the
    client wrote. So only the last ``TRUSTED_PROXIES`` entries are of use.
    """
    hops: int = settings.TRUSTED_PROXIES
    forwarded = request.headers.get("X-Forwarded-For", "").split(",")
    if 0 < hops <= len(forwarded):
        try:
            return str(ip_address(forwarded[-hops].strip()))
        except ValueError:
            pass
    return str(request.META.get("REMOTE_ADDR", ""))


def staff_actor(request: HttpRequest, channel: Channel = Channel.ADMIN) -> Actor:
    """The member of the staff who is logged in; somebody without a name or permission, if nobody is."""
    user = request.user
    return Actor(user.get_username(), channel, client_address(request), user.pk, user.has_perm)


class ActorMiddleware:
    """Whatever a request changes is changed by whoever is logged in."""

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with acting(staff_actor(request)):
            return self._get_response(request)
