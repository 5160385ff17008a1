"""What every transport must do, asked over real channels: each RPC of each version, and nothing else."""

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from accounts.core.principal import CredentialKind
from accounts.models import Credential
from accounts.services import create_device, create_token
from acl.services import create_rule
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.versions import VERSIONS, Method, Version
from tests.endpoint import wait_until
from tests.exhook.server import (
    V1,
    V2,
    V3,
    Endpoint,
    authenticate_request,
    authorize_request,
    client_request,
    method_of,
    request_class,
    response_class,
    running_endpoint,
)

# The shared endpoint reads an empty database.
pytestmark = pytest.mark.django_db

each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
EVERY_METHOD = [method for version in VERSIONS for method in version.methods.values()]
each_method = pytest.mark.parametrize(
    "method", EVERY_METHOD, ids=lambda method: f"{method.version.name}-{method.name}"
)


def filled(message_class: Any) -> Any:
    """The message with every field set, so that nothing in it is read for the first time in production."""
    message = message_class()
    for field in message_class.DESCRIPTOR.fields:
        value = _value(message_class, field)
        if field.message_type and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)["key"] = "value"
        elif hasattr(getattr(message, field.name), "extend"):
            getattr(message, field.name).extend([value])
        elif field.message_type:
            getattr(message, field.name).CopyFrom(value)
        else:
            setattr(message, field.name, value)
    return message


def _value(message_class: Any, field: FieldDescriptor) -> Any:
    if field.message_type:
        nested: Any = field.message_type
        return None if nested.GetOptions().map_entry else filled(nested._concrete_class)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return b"bytes" if field.type == FieldDescriptor.TYPE_BYTES else f"some {field.name}"
    return field.cpp_type == FieldDescriptor.CPPTYPE_BOOL or 1


def expected_answer(method: Method) -> Any:
    """What a device nobody knows is told, and what everything else is."""
    response = response_class(method)
    if method.hook == Hook.PROVIDER_LOADED:
        spec = method.version.pb2.HookSpec
        authorize = "client.check_acl" if method.version is V1 else "client.authorize"
        return response(
            hooks=[
                spec(name=name)
                for name in (
                    "client.authenticate",
                    authorize,
                    "client.connack",
                    "client.connected",
                    "client.disconnected",
                )
            ]
        )
    if method.hook in (Hook.CLIENT_AUTHENTICATE, Hook.CLIENT_AUTHORIZE):
        return response(type=response.STOP_AND_RETURN, bool_result=False)
    if method.hook == Hook.MESSAGE_PUBLISH:
        return response(type=response.IGNORE)
    return response()


def test_all_63_methods_are_asked():
    descriptors = [version.pb2.DESCRIPTOR.services_by_name["HookProvider"] for version in VERSIONS]
    assert {(service.full_name, rpc.name) for service in descriptors for rpc in service.methods} == {
        (method.version.service, method.name) for method in EVERY_METHOD
    }
    assert len(EVERY_METHOD) == 63


@each_method
def test_every_rpc_answers_a_full_message(shared_endpoint: Endpoint, method: Method):
    request = filled(request_class(method)).SerializeToString()
    assert response_class(method).FromString(shared_endpoint.send(method.path, request)) == expected_answer(
        method
    )


@each_method
def test_every_rpc_answers_an_empty_message(shared_endpoint: Endpoint, method: Method):
    assert response_class(method).FromString(shared_endpoint.send(method.path, b"")) == expected_answer(
        method
    )


@each_version
def test_the_generated_stub_of_each_version_is_understood(shared_endpoint: Endpoint, version: Version):
    stub = __import__(
        f"protos.exhook_{version.name}_pb2_grpc", fromlist=["HookProviderStub"]
    ).HookProviderStub
    answer = stub(shared_endpoint.channel).OnClientAuthenticate(authenticate_request(version, clientid="x"))
    assert answer == version.pb2.ValuedResponse(type="STOP_AND_RETURN", bool_result=False)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/emqx.exhook.v1.HookProvider/OnClientAuthorize", id="v2's spelling asked of v1"),
        pytest.param("/emqx.exhook.v1.HookProvider/OnSessionTakenover", id="another of v2's asked of v1"),
        pytest.param("/emqx.exhook.v2.HookProvider/OnClientCheckAcl", id="v1's spelling asked of v2"),
        pytest.param("/emqx.exhook.v3.HookProvider/OnSessionTakeovered", id="v1's spelling asked of v3"),
        pytest.param("/emqx.exhook.v3.HookProvider/OnClientBanned", id="a method nobody has"),
        pytest.param("/emqx.exhook.v4.HookProvider/OnClientAuthenticate", id="a version nobody has"),
        pytest.param("/emqx.exhook.v3.HookProvider/", id="no method"),
        pytest.param("/", id="nothing"),
    ],
)
def test_what_is_not_there_is_said_to_be_unimplemented(shared_endpoint: Endpoint, path: str):
    with pytest.raises(grpc.RpcError) as refused:
        shared_endpoint.send(path, b"")
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert not shared_endpoint.admits(clientid="still there")


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_the_hooks_declared_are_the_setting_s_in_its_order_and_the_version_s_spelling(
    settings: Any, database: None, transport: str, version: Version
):
    settings.EXHOOK_HOOKS = ["session.takenover", "message.publish", "client.authorize", "message.acked"]
    settings.EXHOOK_MESSAGE_TOPICS = ["site/+/alarm/#", "$SYS/#"]
    with running_endpoint(transport) as endpoint:
        answer = endpoint.call(
            version, Hook.PROVIDER_LOADED, request_class(method_of(version, Hook.PROVIDER_LOADED))()
        )
    takenover, authorize = (
        ("session.takeovered", "client.check_acl")
        if version is V1
        else ("session.takenover", "client.authorize")
    )
    watched = ["site/+/alarm/#", "$SYS/#"]
    assert [(hook.name, list(hook.topics)) for hook in answer.hooks] == [
        (takenover, []),
        ("message.publish", watched),
        (authorize, []),
        ("message.acked", watched),
    ]


@each_version
def test_a_device_lives_a_whole_life_in_each_version(endpoint: Endpoint, version: Version):
    device = create_device("pump-17")
    create_rule(device, "allow", "all", "site/${clientid}/#")
    _, token = create_token(device)
    pump: dict[str, Any] = {
        "node": "emqx@n1",
        "clientid": "pump-17",
        "username": "pump-17",
        "peerhost": "192.0.2.7",
    }

    assert not endpoint.admits(version, **pump, password=token + "x")
    assert endpoint.admits(version, **pump, password=token)
    empty = version.pb2.EmptySuccess()
    connected = client_request(version, Hook.CLIENT_CONNECTED, pump)
    assert endpoint.call(version, Hook.CLIENT_CONNECTED, connected) == empty
    assert endpoint.grants("site/pump-17/temperature", version=version, **pump)
    assert endpoint.grants("site/pump-17/+", subscribe=True, version=version, **pump)
    assert not endpoint.grants("site/pump-18/temperature", version=version, **pump)
    assert not endpoint.grants("site/+/temperature", subscribe=True, version=version, **pump)
    disconnected = client_request(version, Hook.CLIENT_DISCONNECTED, pump, reason="normal")
    assert endpoint.call(version, Hook.CLIENT_DISCONNECTED, disconnected) == empty

    assert [(fact.kind, fact.device, fact.topic, fact.detail) for fact in endpoint.facts] == [
        ("client.authenticate", "pump-17", "", ""),
        ("client.connected", "pump-17", "", ""),
        ("client.authorize", "pump-17", "site/pump-18/temperature", ""),
        ("client.authorize", "pump-17", "site/+/temperature", ""),
        ("client.disconnected", "pump-17", "", "normal"),
    ]


def test_an_endpoint_that_was_never_loaded_answers_too(endpoint: Endpoint):
    """EMQX up to 5.8 does not say again that it is there after the endpoint was restarted."""
    _, token = create_token(create_device("pump-17"))
    assert endpoint.admits(V2, clientid="pump-17", username="pump-17", password=token)


def test_a_hook_that_was_not_declared_is_answered_all_the_same(settings: Any, database: None, transport: str):
    settings.EXHOOK_HOOKS = ["client.connack"]
    with running_endpoint(transport) as endpoint:
        assert not endpoint.admits(clientid="nobody")
        assert not endpoint.grants("a/b", clientid="nobody")


def test_calls_at_once_are_each_given_their_own_answer(endpoint: Endpoint):
    devices = [create_device(f"pump-{number}") for number in range(8)]
    for device in devices[::2]:
        create_rule(device, "allow", "publish", "up/${clientid}")
    method = method_of(V3, Hook.CLIENT_AUTHORIZE)
    ask = endpoint.channel.unary_unary(method.path)
    calls = []
    for _ in range(25):
        for device in devices:
            name = device.username
            request = authorize_request(V3, f"up/{name}", clientid=name, username=name)
            calls.append((name, ask.future(request.SerializeToString(), timeout=30)))
    answers = [(name, method.response(call.result()).bool_result) for name, call in calls]
    granted = {device.username for device in devices[::2]}
    assert answers == [(name, name in granted) for name, _ in calls]


def test_stopping_with_work_left_is_no_error(
    database: None, transport: str, caplog: pytest.LogCaptureFixture
):
    """bcrypt of cost 12, a quarter of a second each: most of them still wait when it stops."""
    slow = "bcrypt_sha256$$2b$12$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy"
    device = create_device("pump-17")
    Credential.objects.create(device=device, kind=CredentialKind.PASSWORD, encoded=slow)
    with running_endpoint(transport) as endpoint:
        ask = endpoint.channel.unary_unary(method_of(V3, Hook.CLIENT_AUTHENTICATE).path)
        calls = []  # A call that nobody holds is cancelled.
        for number in range(40):
            guess = authenticate_request(
                V3, clientid="pump-17", username="pump-17", password=f"guess {number}"
            )
            calls.append(ask.future(guess.SerializeToString(), timeout=30))
        wait_until(lambda: endpoint.front.hashing.waiting > 0)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


def test_a_compressed_message_is_understood(shared_endpoint: Endpoint):
    method = method_of(V3, Hook.CLIENT_AUTHENTICATE)
    request = authenticate_request(V3, clientid="nobody" * 100).SerializeToString()
    ask = shared_endpoint.channel.unary_unary(method.path)
    answer = ask(request, timeout=30, compression=grpc.Compression.Gzip)
    assert method.response(answer).bool_result is False


def test_health_says_serving_for_the_whole_and_for_each_version(shared_endpoint: Endpoint):
    stub = health_pb2_grpc.HealthStub(shared_endpoint.channel)
    for service in ["", *(version.service for version in VERSIONS)]:
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=30)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as refused:
        stub.Check(health_pb2.HealthCheckRequest(service="emqx.exhook.v4.HookProvider"), timeout=30)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_tool_can_list_the_services_and_read_their_descriptors(database: None):
    """The native transport has no reflection."""
    with running_endpoint("grpcio") as endpoint:
        descriptors = ProtoReflectionDescriptorDatabase(endpoint.channel)
        assert {version.service for version in VERSIONS} < set(descriptors.get_services())
        pool = DescriptorPool(descriptors)
        for version in VERSIONS:
            described = pool.FindServiceByName(version.service)
            assert [method.name for method in described.methods] == list(version.methods)
