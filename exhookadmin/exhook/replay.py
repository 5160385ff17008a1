"""Replay: a recording's calls sent to an endpoint, in order, and what became of them."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import grpc

from exhookadmin.exhook.emqx import METHODS, Target, explain_unreachable, is_unreachable
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.recordings import RecordedCall
from exhookadmin.exhook.replies import ALLOW, DENY, IGNORE

_SAID = {ALLOW: "allowed", DENY: "denied", IGNORE: "abstained"}


@dataclass(frozen=True)
class Answer:
    """What came back for a call: a reply, or a gRPC status with its details."""

    call: RecordedCall
    seconds: float
    reply: bytes | None = field(default=None, repr=False)
    failure: str = ""

    @property
    def ok(self) -> bool:
        """True when the gRPC status was OK, whatever the reply says."""
        return self.reply is not None

    @property
    def said(self) -> str:
        """The reply to a question, in a word, or the failure."""
        return self.failure if self.reply is None else _SAID.get(self.reply, f"0x{self.reply.hex()}")


def replay(
    channel: grpc.Channel, target: Target, calls: Iterable[RecordedCall], speed: float | None = None
) -> Iterator[Answer]:
    """Sends each call after the answer to the one before, as EMQX does for any one client.

    ``speed`` is a multiple of the recorded pace; None sends as fast as answers come.
    Raises Unreachable when the first call already finds nobody.
    """
    began = time.monotonic()
    first: RecordedCall | None = None
    for call in calls:
        if first is not None and speed is not None:
            time.sleep(max(0.0, began + (call.at - first.at) / speed - time.monotonic()))
        rpc: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(call.path)
        sent = time.perf_counter()
        try:
            reply = rpc(call.request, timeout=call.timeout, metadata=call.headers)
        except grpc.RpcError as error:
            if first is None and is_unreachable(error):
                raise explain_unreachable(target, error) from error
            failure = f"{error.code().name}: {error.details()}"
            yield Answer(call, time.perf_counter() - sent, failure=failure)
        else:
            yield Answer(call, time.perf_counter() - sent, reply=reply)
        first = first or call


def expected_answer(call: RecordedCall) -> str | None:
    """What the provider answered while the sample recordings were made: it denied the username
    ``baduser`` and topics under ``deny/``, and allowed the rest. None where nothing was decided."""
    method = METHODS.get(call.path)
    if method is None or method.hook not in (Hook.CLIENT_AUTHENTICATE, Hook.CLIENT_AUTHORIZE):
        return None
    request = method.parse(call.request)
    if method.hook == Hook.CLIENT_AUTHENTICATE:
        return "denied" if request.clientinfo.username == "baduser" else "allowed"
    return "denied" if request.topic.startswith("deny/") else "allowed"


def describe(call: RecordedCall) -> str:
    """Whom and what a decision is about, without its secrets."""
    method = METHODS[call.path]
    request = method.parse(call.request)
    who = f"client “{request.clientinfo.clientid}”"
    if request.clientinfo.username:
        who += f", username “{request.clientinfo.username}”"
    if method.hook == Hook.CLIENT_AUTHORIZE:
        who += f": {'subscribe to' if request.type else 'publish to'} “{request.topic}”"
    return who


@dataclass(frozen=True)
class MethodReport:
    """The answers of one RPC. Latencies are seconds."""

    name: str
    calls: int
    failed: int
    p50: float
    p95: float

    @property
    def ok(self) -> int:
        return self.calls - self.failed


def report(answers: Iterable[Answer]) -> list[MethodReport]:
    """One line per RPC, in the order in which they were first called."""
    by_name: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_name[answer.call.name].append(answer)
    return [
        MethodReport(
            name=name,
            calls=len(of_method),
            failed=sum(not answer.ok for answer in of_method),
            p50=percentile([answer.seconds for answer in of_method], 50),
            p95=percentile([answer.seconds for answer in of_method], 95),
        )
        for name, of_method in by_name.items()
    ]


def percentile(values: list[float], percent: int) -> float:
    """The smallest value that at least so many percent do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]
