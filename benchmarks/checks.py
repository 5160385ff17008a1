"""What a server really answers, asked with the generated stub, before its speed is measured."""

import grpc

from benchmarks import http1_client
from benchmarks.devices import AUTHENTICATE, AUTHORIZE, V3
from benchmarks.load import WrongAnswer
from protos import exhook_v3_pb2_grpc

ALLOW = b"\x08\x02\x18\x01"
DENY = b"\x08\x02\x18\x00"
ALLOW_JSON = b'{"result": "allow"}'
DENY_JSON = b'{"result": "deny"}'
SECONDS = 30.0


def require(port: int, path: str, body: bytes, allow: bool) -> None:
    """Raises WrongAnswer unless the server allows, or clearly denies, this call."""
    method = V3.methods[path.rpartition("/")[2]]
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = exhook_v3_pb2_grpc.HookProviderStub(channel)  # type: ignore[no-untyped-call]
        call = {AUTHENTICATE: "OnClientAuthenticate", AUTHORIZE: "OnClientAuthorize"}[path]
        response = getattr(stub, call)(method.parse(body), timeout=SECONDS)
    decided = (
        response.type == type(response).STOP_AND_RETURN and response.WhichOneof("value") == "bool_result"
    )
    if not decided or response.bool_result is not allow:
        raise WrongAnswer(f"{path} should have been {'allowed' if allow else 'denied'}: {response}")


def require_json(port: int, path: str, body: bytes, allow: bool) -> None:
    """The same of the HTTP view."""
    http1_client.load(port, path, iter([body]), ALLOW_JSON if allow else DENY_JSON, connections=1)
