"""Devices that connect without waiting for each other.

``python -m benchmarks.login_storm PORT RATE FIRST SETTLE SECONDS``: so many logins a second begin,
whatever becomes of those before, for EMQX's clients do not know of each other's trouble. Each gives
up after five seconds, as EMQX does. After SETTLE seconds the answers of the next SECONDS are
counted, and printed as JSON.
"""

import asyncio
import json
import sys
import time

import grpc
import uvloop

from benchmarks.checks import ALLOW
from benchmarks.devices import AUTHENTICATE, PASSWORD, VALVES, authenticate
from exhookadmin.exhook.lifetime import end_with_parent

DEADLINE_SECONDS = 5.0


class Storm:
    """What has become of the logins; ``counting`` says whether now is a time that counts."""

    def __init__(self, call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]) -> None:
        self._call = call
        self.counting = False
        self.allowed = 0
        self.denied = 0
        self.late = 0

    async def login(self, number: int) -> None:
        body = authenticate(VALVES.device(number), PASSWORD)
        try:
            reply = await self._call(body, timeout=DEADLINE_SECONDS)
        except grpc.aio.AioRpcError:
            self.late += self.counting
            return
        if reply == ALLOW:
            self.allowed += self.counting
        else:
            self.denied += self.counting


async def blow(port: int, rate: float, first: int, settle: float, seconds: float) -> dict[str, float]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await channel.channel_ready()
        print("ready 0", flush=True)
        storm = Storm(channel.unary_unary(AUTHENTICATE))
        began = time.perf_counter()
        tasks: set[asyncio.Task[None]] = set()
        number = 0
        while (elapsed := time.perf_counter() - began) < settle + seconds:
            storm.counting = elapsed >= settle
            while number < elapsed * rate:
                task = asyncio.create_task(storm.login(first + number))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                number += 1
            await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
        return {
            "begun": number,
            "allowed": storm.allowed,
            "denied": storm.denied,
            "late": storm.late,
            "seconds": elapsed - settle,
        }


if __name__ == "__main__":
    end_with_parent()
    port, rate, first, settle, seconds = sys.argv[1:]
    print(json.dumps(uvloop.run(blow(int(port), float(rate), int(first), float(settle), float(seconds)))))
