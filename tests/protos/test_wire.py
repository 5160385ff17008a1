"""The compiled contracts against the facts of EMQX's wire format, one set per shape EMQX ever shipped.

A wrong number here is silent at run time: protobuf skips what it does not know, and a device then seems
to have no username. So both directions are held: all that a shape has is there, and nothing else is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

from protos import exhook_v1_pb2, exhook_v2_pb2, exhook_v3_pb2

WIRE: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "data" / "exhook-wire.json").read_text(encoding="utf-8")
)
MODULES = {
    "emqx.exhook.v1": exhook_v1_pb2,
    "emqx.exhook.v2": exhook_v2_pb2,
    "emqx.exhook.v3": exhook_v3_pb2,
}
SHAPES = [
    "EMQX 4.3",
    "EMQX 4.4",
    "EMQX 5.0-5.3",
    "EMQX 5.4-5.8",
    "EMQX 5.9 and 6.x",
]

SCALARS = {
    value: name.removeprefix("TYPE_").lower()
    for name, value in FieldDescriptorProto.Type.items()
    if name not in {"TYPE_MESSAGE", "TYPE_ENUM", "TYPE_GROUP"}
}

# One line of a contract: ("field", "ClientInfo", "username") -> (3, "string", None), and so on.
Contract = dict[tuple[str, ...], Any]


def facts_of_shape(shape: dict[str, Any]) -> Contract:
    facts: Contract = {("package",): shape["package"]}
    for rpc, (request, response) in shape["service"].items():
        facts["rpc", rpc] = (request, response)
    for message, members in shape["messages"].items():
        is_enum = bool(members) and all(isinstance(member, int) for member in members.values())
        facts["enum" if is_enum else "message", message] = True
        for name, member in members.items():
            if is_enum:
                facts["value", message, name] = member
            else:
                facts["field", message, name] = (member["number"], member["type"], member.get("oneof"))
    return facts


def facts_of_descriptor(file: FileDescriptorProto) -> Contract:
    facts: Contract = {("package",): file.package}
    prefix = f".{file.package}."
    for service in file.service:
        for method in service.method:
            facts["rpc", method.name] = (
                ("stream " if method.client_streaming else "") + method.input_type.removeprefix(prefix),
                ("stream " if method.server_streaming else "") + method.output_type.removeprefix(prefix),
            )
    for enum in file.enum_type:
        facts["enum", enum.name] = True
    for message in file.message_type:
        facts |= facts_of_message(message, message.name, prefix)
    return facts


def facts_of_message(message: DescriptorProto, path: str, prefix: str) -> Contract:
    facts: Contract = {("message", path): True}
    for field in message.field:
        if field.type_name:
            # The facts name a type within its scope: "AclReqType" inside ClientCheckAclRequest.
            kind = field.type_name.removeprefix(prefix).removeprefix(f"{path}.")
        else:
            kind = SCALARS[field.type]
        if field.label == FieldDescriptorProto.LABEL_REPEATED:
            kind = f"repeated {kind}"
        oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else None
        facts["field", path, field.name] = (field.number, kind, oneof)
    for enum in message.enum_type:
        facts["enum", f"{path}.{enum.name}"] = True
        for value in enum.value:
            facts["value", f"{path}.{enum.name}", value.name] = value.number
    for nested in message.nested_type:
        facts |= facts_of_message(nested, f"{path}.{nested.name}", prefix)
    return facts


def compiled(package: str) -> FileDescriptorProto:
    return FileDescriptorProto.FromString(MODULES[package].DESCRIPTOR.serialized_pb)


def violations(shape: str, file: FileDescriptorProto) -> dict[tuple[str, ...], tuple[Any, Any]]:
    """What the shape says and the file does not: line -> (the shape's fact, the file's fact or None)."""
    found = facts_of_descriptor(file)
    return {
        line: (fact, found.get(line))
        for line, fact in facts_of_shape(WIRE[shape]).items()
        if found.get(line) != fact
    }


def unknown(file: FileDescriptorProto) -> set[tuple[str, ...]]:
    """Lines of the file that no shape of its package has."""
    known: set[tuple[str, ...]] = set()
    for shape in WIRE.values():
        if shape["package"] == file.package:
            known |= facts_of_shape(shape).keys()
    return facts_of_descriptor(file).keys() - known


def test_the_facts_cover_the_five_shapes_and_all_three_packages():
    assert list(WIRE) == SHAPES
    assert {shape["package"] for shape in WIRE.values()} == set(MODULES)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_the_21_calls_of_a_provider(shape):
    assert sum(line[0] == "rpc" for line in facts_of_shape(WIRE[shape])) == 21


@pytest.mark.parametrize("shape", SHAPES)
def test_a_contract_has_all_that_a_shape_has(shape):
    assert violations(shape, compiled(WIRE[shape]["package"])) == {}


@pytest.mark.parametrize("package", MODULES)
def test_a_contract_has_nothing_that_no_shape_has(package):
    assert unknown(compiled(package)) == set()


@pytest.mark.parametrize("package", MODULES)
def test_a_contract_is_one_proto3_service_named_as_emqx_calls_it(package):
    file = compiled(package)
    assert file.syntax == "proto3"
    assert [service.name for service in file.service] == ["HookProvider"]


@pytest.mark.parametrize("package", MODULES)
def test_reserved_numbers_are_those_no_shape_uses(package):
    reserved = {
        (message.name, number)
        for message in compiled(package).message_type
        for span in message.reserved_range
        for number in range(span.start, span.end)
    }
    gaps = {("ValuedResponse", 2)}
    if package == "emqx.exhook.v3":
        gaps |= {("TopicFilter", 2), ("SubOpts", 2)}
    assert reserved == gaps


# --- The comparison itself must notice every kind of slip. ---


def message_in(file: FileDescriptorProto, name: str) -> DescriptorProto:
    return next(message for message in file.message_type if message.name == name)


def field_in(file: FileDescriptorProto, message: str, name: str) -> FieldDescriptorProto:
    return next(field for field in message_in(file, message).field if field.name == name)


def renumber_a_field(file: FileDescriptorProto) -> None:
    field_in(file, "ClientInfo", "username").number = 14


def retype_a_field(file: FileDescriptorProto) -> None:
    field_in(file, "BrokerInfo", "uptime").type = FieldDescriptorProto.TYPE_UINT64


def point_a_field_at_another_message(file: FileDescriptorProto) -> None:
    field_in(file, "ClientConnectRequest", "conninfo").type_name = ".emqx.exhook.v3.ClientInfo"


def make_a_repeated_field_single(file: FileDescriptorProto) -> None:
    field_in(file, "HookSpec", "topics").label = FieldDescriptorProto.LABEL_OPTIONAL


def take_a_field_out_of_its_oneof(file: FileDescriptorProto) -> None:
    field_in(file, "ValuedResponse", "bool_result").ClearField("oneof_index")


def renumber_an_enum_value(file: FileDescriptorProto) -> None:
    message_in(file, "ValuedResponse").enum_type[0].value[2].number = 3


def answer_a_call_with_another_message(file: FileDescriptorProto) -> None:
    file.service[0].method[7].output_type = ".emqx.exhook.v3.EmptySuccess"


def stream_an_answer(file: FileDescriptorProto) -> None:
    file.service[0].method[0].server_streaming = True


def misspell_a_call(file: FileDescriptorProto) -> None:
    file.service[0].method[7].name = "OnClientCheckAcl"


def move_to_another_package(file: FileDescriptorProto) -> None:
    file.package = "emqx.exhook.v2"


def lose_a_message(file: FileDescriptorProto) -> None:
    file.message_type.remove(message_in(file, "MessageAckedRequest"))


@pytest.mark.parametrize(
    ("slip", "line"),
    [
        (renumber_a_field, ("field", "ClientInfo", "username")),
        (retype_a_field, ("field", "BrokerInfo", "uptime")),
        (point_a_field_at_another_message, ("field", "ClientConnectRequest", "conninfo")),
        (make_a_repeated_field_single, ("field", "HookSpec", "topics")),
        (take_a_field_out_of_its_oneof, ("field", "ValuedResponse", "bool_result")),
        (renumber_an_enum_value, ("value", "ValuedResponse.ResponsedType", "STOP_AND_RETURN")),
        (answer_a_call_with_another_message, ("rpc", "OnClientAuthorize")),
        (stream_an_answer, ("rpc", "OnProviderLoaded")),
        (misspell_a_call, ("rpc", "OnClientAuthorize")),
        (move_to_another_package, ("package",)),
        (lose_a_message, ("message", "MessageAckedRequest")),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_slip_in_a_contract_is_noticed(slip: Callable[[FileDescriptorProto], None], line: tuple[str, ...]):
    file = compiled("emqx.exhook.v3")
    slip(file)
    assert line in violations("EMQX 5.9 and 6.x", file)


def add_a_field(file: FileDescriptorProto) -> None:
    message_in(file, "ClientInfo").field.add(name="zone", number=14, type=FieldDescriptorProto.TYPE_STRING)


def add_a_message(file: FileDescriptorProto) -> None:
    file.message_type.add(name="ListenerInfo")


def add_a_call(file: FileDescriptorProto) -> None:
    file.service[0].method.add(name="OnClientBanned")


def add_an_enum_value(file: FileDescriptorProto) -> None:
    message_in(file, "ClientAuthorizeRequest").enum_type[0].value.add(name="ALL", number=2)


@pytest.mark.parametrize(
    ("addition", "line"),
    [
        (add_a_field, ("field", "ClientInfo", "zone")),
        (add_a_message, ("message", "ListenerInfo")),
        (add_a_call, ("rpc", "OnClientBanned")),
        (add_an_enum_value, ("value", "ClientAuthorizeRequest.AuthorizeReqType", "ALL")),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_an_addition_of_our_own_is_noticed(
    addition: Callable[[FileDescriptorProto], None], line: tuple[str, ...]
):
    file = compiled("emqx.exhook.v3")
    addition(file)
    assert unknown(file) == {line}
