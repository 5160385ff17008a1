"""pygrpc-native's low-level front: parses each request, allows it, and knows nothing else."""

import sys

from pygrpc_native import EVENT_CALL, NativeGrpcFront

from exhookadmin.exhook.lifetime import end_with_parent
from protos import exhook_v3_pb2 as pb2

SERVICE = "emqx.exhook.v3.HookProvider"
BATCH = 256


def serve(host: str, port: str) -> None:
    parsers = [pb2.ClientAuthenticateRequest.FromString, pb2.ClientAuthorizeRequest.FromString]
    methods = [(f"/{SERVICE}/OnClientAuthenticate", False), (f"/{SERVICE}/OnClientAuthorize", False)]
    front = NativeGrpcFront(f"{host}:{port}", methods, io_threads=1, max_concurrent_streams=1_000_000)
    front.start()
    print(f"ready {front.bound_port}", flush=True)
    while (events := front.recv_batch(BATCH)) is not None:
        for kind, call_id, method_id, payload, _ in events:
            if kind == EVENT_CALL:
                parsers[method_id](payload or b"")
                reply = pb2.ValuedResponse(type=pb2.ValuedResponse.STOP_AND_RETURN, bool_result=True)
                front.respond(call_id, reply.SerializeToString())


if __name__ == "__main__":
    end_with_parent()
    serve(*sys.argv[1:3])
