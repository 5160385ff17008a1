"""The generated servicer on grpc.aio and uvloop, allowing everything."""

import asyncio
import sys

import grpc
import uvloop

from exhookadmin.exhook.lifetime import end_with_parent
from protos import exhook_v3_pb2 as pb2
from protos import exhook_v3_pb2_grpc as pb2_grpc


class AllowEverything(pb2_grpc.HookProviderServicer):
    """What anybody would write who begins with the .proto file."""

    async def OnClientAuthenticate(self, request: object, context: object) -> object:
        return pb2.ValuedResponse(type=pb2.ValuedResponse.STOP_AND_RETURN, bool_result=True)

    async def OnClientAuthorize(self, request: object, context: object) -> object:
        return pb2.ValuedResponse(type=pb2.ValuedResponse.STOP_AND_RETURN, bool_result=True)


async def serve(host: str, port: str) -> None:
    server = grpc.aio.server(options=[("grpc.max_concurrent_streams", 1_000_000)])
    pb2_grpc.add_HookProviderServicer_to_server(AllowEverything(), server)  # type: ignore[no-untyped-call]
    bound = server.add_insecure_port(f"{host}:{port}")
    await server.start()
    print(f"ready {bound}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    end_with_parent()
    uvloop.run(serve(*sys.argv[1:3]))
