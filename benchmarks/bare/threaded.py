"""The generated servicer on grpcio's thread pool, allowing everything.

That is the shape of EMQX's own Python example.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

from exhookadmin.exhook.lifetime import end_with_parent
from protos import exhook_v3_pb2 as pb2
from protos import exhook_v3_pb2_grpc as pb2_grpc


class AllowEverything(pb2_grpc.HookProviderServicer):
    """The example's methods, with nothing in them."""

    def OnClientAuthenticate(self, request: object, context: object) -> object:
        return pb2.ValuedResponse(type=pb2.ValuedResponse.STOP_AND_RETURN, bool_result=True)

    def OnClientAuthorize(self, request: object, context: object) -> object:
        return pb2.ValuedResponse(type=pb2.ValuedResponse.STOP_AND_RETURN, bool_result=True)


def serve(host: str, port: str) -> None:
    server = grpc.server(ThreadPoolExecutor(max_workers=10))
    pb2_grpc.add_HookProviderServicer_to_server(AllowEverything(), server)  # type: ignore[no-untyped-call]
    bound = server.add_insecure_port(f"{host}:{port}")
    server.start()
    print(f"ready {bound}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    end_with_parent()
    serve(*sys.argv[1:3])
