"""The three protocol versions that EMQX speaks, all served on one port."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

from exhookadmin.exhook.hooks import HOOK_OF_METHOD, V1_SPELLING, Hook
from protos import exhook_v1_pb2, exhook_v2_pb2, exhook_v3_pb2


@dataclass(frozen=True, eq=False)
class Method:
    """One RPC of one version."""

    version: "Version"
    name: str
    hook: Hook
    request: type
    """The class of its requests."""
    parse: Callable[[bytes], Any]
    """Bytes to message; raises google.protobuf.message.DecodeError."""
    response: Callable[[bytes], Any]
    """Reply bytes to this version's response message."""

    @property
    def path(self) -> str:
        return f"/{self.version.service}/{self.name}"


@dataclass(frozen=True, eq=False)
class Version:
    """One version of the protocol: its generated module and its spelling of hook names."""

    name: str
    pb2: ModuleType
    spelling: Mapping[Hook, str]

    @property
    def service(self) -> str:
        return f"emqx.exhook.{self.name}.HookProvider"

    def spell(self, hook: Hook) -> str:
        """The hook's name in this version: EMQX refuses a provider that declares another."""
        return self.spelling.get(hook, hook.value)

    @cached_property
    def methods(self) -> Mapping[str, Method]:
        """Every RPC that the version's service descriptor has, by name."""
        service = self.pb2.DESCRIPTOR.services_by_name["HookProvider"]
        return {
            rpc.name: Method(
                self,
                rpc.name,
                HOOK_OF_METHOD[rpc.name],
                getattr(self.pb2, rpc.input_type.name),
                getattr(self.pb2, rpc.input_type.name).FromString,
                getattr(self.pb2, rpc.output_type.name).FromString,
            )
            for rpc in service.methods
        }


VERSIONS = (
    Version("v1", exhook_v1_pb2, V1_SPELLING),
    Version("v2", exhook_v2_pb2, {}),
    Version("v3", exhook_v3_pb2, {}),
)
