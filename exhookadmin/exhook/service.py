"""The provider as a django-grpc-framework service: complete, synchronous, ORM-backed.

It is correct on its own on any synchronous gRPC server; our event-loop front answers what
``quick`` can and hands it the rest. The framework's request signals keep the database
connections of the calling threads healthy. Everything we use of that package is here.
"""

import atexit
from collections.abc import Callable
from typing import Any, ClassVar

import grpc
from django.conf import settings
from django_grpc_framework.services import Service

from audit.fact import Fact
from audit.recorder import Recorder
from exhookadmin.exhook.boundary import answer
from exhookadmin.exhook.directory import Directory
from exhookadmin.exhook.feed import Feed
from exhookadmin.exhook.hooks import HOOK_OF_METHOD
from exhookadmin.exhook.logins import LoginLimits, Logins
from exhookadmin.exhook.provider import Options, Provider
from exhookadmin.exhook.sightings import Sightings, SightingsWriter
from exhookadmin.exhook.versions import VERSIONS, Version
from protos import exhook_v1_pb2_grpc, exhook_v2_pb2_grpc, exhook_v3_pb2_grpc

_REGISTER: dict[str, Callable[[Any, grpc.Server], None]] = {
    "v1": exhook_v1_pb2_grpc.add_HookProviderServicer_to_server,
    "v2": exhook_v2_pb2_grpc.add_HookProviderServicer_to_server,
    "v3": exhook_v3_pb2_grpc.add_HookProviderServicer_to_server,
}


class HookProviderService(Service):
    """All RPCs of one version of the protocol; ``as_servicer(version=…, provider=…)``."""

    version: ClassVar[Version | None] = None
    provider: ClassVar[Provider | None] = None

    def answer(self, name: str, request: Any) -> Any:
        """The response message to a request message. Never raises."""
        assert self.version is not None
        assert self.provider is not None
        method = self.version.methods[name]
        reply = answer(self.provider, method, request, self.provider.full)
        return method.response(reply)


def _rpc(name: str) -> Callable[[HookProviderService, Any, grpc.ServicerContext], Any]:
    def rpc(self: HookProviderService, request: Any, context: grpc.ServicerContext) -> Any:
        return self.answer(name, request)

    rpc.__name__ = name
    return rpc


for _name in HOOK_OF_METHOD:
    setattr(HookProviderService, _name, _rpc(_name))


def servicer_of(version: Version, provider: Provider) -> Any:
    """A gRPC servicer for one version."""
    return HookProviderService.as_servicer(version=version, provider=provider)


def new_provider(record: Callable[[Fact], None], sightings: Sightings | None = None) -> Provider:
    """A provider as the settings want it, with an empty memory."""
    options = Options.from_settings()
    directory = Directory(
        order=options.identity_order,
        capacity=settings.EXHOOK_CACHED_DEVICES,
        max_age=settings.EXHOOK_CACHE_SECONDS,
        fail_static_age=settings.EXHOOK_FAIL_STATIC_SECONDS,
    )
    logins = Logins(options.identity_order, LoginLimits.from_settings(), settings.EXHOOK_CACHED_DEVICES)
    return Provider(directory, logins, record, options, sightings)


def grpc_handlers(server: grpc.Server) -> None:
    """django-grpc-framework's ROOT_HANDLERS_HOOK: registers all three versions on a server."""
    atexit.register(attach(server))


def attach(server: grpc.Server) -> Callable[[], None]:
    """Registers all three versions, with all that keeps them current. Call the answer when the
    server has stopped: it ends that, and writes the facts that still wait."""
    recorder = Recorder.from_settings()
    provider = new_provider(recorder.record)
    sightings = SightingsWriter(provider.sightings, recorder.record)
    provider.directory.load_policies()
    sightings.begin()
    feed = Feed(provider.directory)
    for version in VERSIONS:
        _REGISTER[version.name](servicer_of(version, provider), server)
    recorder.start()
    sightings.start()
    feed.start()

    def close() -> None:
        sightings.close()
        feed.close()
        recorder.close()

    return close
