"""The front: what is common to every transport. Quick answers at once, the rest in a bulkhead."""

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from random import random
from time import perf_counter
from typing import Any, NamedTuple

from django.db import close_old_connections
from google.protobuf.message import DecodeError

from accounts.core.decision import Reason
from exhookadmin.exhook.boundary import answer
from exhookadmin.exhook.bulkheads import Bulkhead
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.logins import Need
from exhookadmin.exhook.provider import Provider
from exhookadmin.exhook.repeats import Repeats
from exhookadmin.exhook.replies import ALLOW
from exhookadmin.exhook.service import servicer_of
from exhookadmin.exhook.versions import VERSIONS, Method

logger = logging.getLogger(__name__)

Done = Callable[[bytes], None]

# Below every other thread's priority: hashing gets the CPU time that nobody else wants.
HASHING_NICE = 15
# Two, so that one query can be under way while the other's rows are read.
LOADING_THREADS = 2
LOADED_AT_ONCE = 200
# More hashing than this in advance only makes those wait who will be served.
BACKLOG_SECONDS = 1.0
# As EMQX's request_timeout, for a caller that announces no deadline.
DEFAULT_SECONDS = 5.0


class Unanswered(NamedTuple):
    """A call that memory could not answer."""

    method: Method
    message: Any
    need: Need


class Waiting(NamedTuple):
    """A call in a bulkhead. ``deadline`` in monotonic seconds; ``done`` takes the reply."""

    method: Method
    message: Any
    deadline: float
    done: Done


class Front:
    """Answers calls; knows no transport. ``done`` may be called on any thread."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.tally = provider.tally
        self._repeats = Repeats(provider.directory, provider.sightings)
        self._now = provider.directory.now
        self._sample = provider.options.sample_authorize
        ask = partial(provider.access, find=provider.directory.peek)
        self._ask = partial(ask, record_allowed=False)
        self._ask_and_record = partial(ask, record_allowed=True)
        self._servicers = {version: servicer_of(version, provider) for version in VERSIONS}
        # Hashing is CPU work: more threads than cores only make each of them slower.
        cores = os.cpu_count() or 1
        self.hashing: Bulkhead[Waiting] = Bulkhead(
            "hashing",
            self._answer,
            self._shed,
            threads=cores,
            waiting=1024,
            crowd=4 * cores,
            nice=HASHING_NICE,
        )
        self.loading: Bulkhead[Waiting] = Bulkhead(
            "loading",
            self._load,
            self._shed,
            threads=LOADING_THREADS,
            waiting=20_000,
            crowd=2_000,
            batch=LOADED_AT_ONCE,
        )

    def receive(self, method: Method, data: bytes) -> bytes | Unanswered:
        """The reply if memory is enough, else what it takes. Never blocks.

        Raises google.protobuf.message.DecodeError for bytes that are no such message.
        """
        if method.hook is not Hook.CLIENT_AUTHORIZE:
            received_at = perf_counter()
            reply = self._decide(method, self._parsed(method, data))
            if isinstance(reply, bytes):
                self.tally.quick[method].add(perf_counter() - received_at)
            return reply
        if self._repeats.allowed(data, self._now()):
            if not self._sample or random() >= self._sample:
                self.tally.repeated[method] += 1
                return ALLOW
            # A fact says why: what is to be recorded is decided anew.
            return self._decide_access(method, data, record_allowed=True)
        return self._decide_access(method, data, record_allowed=random() < self._sample)

    def _decide_access(self, method: Method, data: bytes, record_allowed: bool) -> bytes | Unanswered:
        received_at = perf_counter()
        version = self.provider.directory.version
        message = self._parsed(method, data)
        ask = self._ask_and_record if record_allowed else self._ask
        answered = answer(self.provider, method, message, ask)
        if isinstance(answered, Need):
            return Unanswered(method, message, answered)
        if isinstance(answered, bytes):
            reply = answered
        else:
            reply, until, device, node = answered
            if reply is ALLOW:
                self._repeats.remember(data, version, until, device, node)
        self.tally.quick[method].add(perf_counter() - received_at)
        return reply

    def later(self, unanswered: Unanswered, deadline: float, done: Done) -> None:
        """Calls ``done`` with the reply when what is needed is there; ``deadline`` in monotonic seconds."""
        durations, received_at = self.tally.full[unanswered.method], perf_counter()

        def timed(reply: bytes) -> None:
            durations.add(perf_counter() - received_at)
            done(reply)

        self._send(unanswered, deadline, timed)

    def _send(self, unanswered: Unanswered, deadline: float, done: Done) -> None:
        method, message, need = unanswered
        self.tally.needs[need] += 1
        if need is Need.DEVICE and self._would_wait_in_vain(method, message):
            self.hashing.shed += 1
            done(self._overloaded(method, message))
        elif need is Need.DEVICE:
            self.loading.submit(Waiting(method, message, deadline, done), deadline)
        elif need is Need.DUMMY_HASH and not self.hashing.idle:
            # Dummy work is the first to go when there is other work to do.
            reply = answer(self.provider, method, message, lambda _, m: self.provider.without_hash(m))
            done(reply if isinstance(reply, bytes) else self._overloaded(method, message))
        else:
            self.hashing.submit(Waiting(method, message, deadline, done), deadline)

    def _would_wait_in_vain(self, method: Method, message: Any) -> bool:
        """True for a login that would be read from the database only to be shed: under overload
        every refusal must be cheap, or refusing takes the time that admitting needs."""
        return (
            method.hook is Hook.CLIENT_AUTHENTICATE
            and self.hashing.backlog_seconds > BACKLOG_SECONDS
            and self.provider.logins.may_need_a_hash(message.clientinfo.password)
        )

    def close(self) -> None:
        """Finishes the slow work that has begun."""
        self.loading.close()
        self.hashing.close()

    def _parsed(self, method: Method, data: bytes) -> Any:
        try:
            return method.parse(data)
        except DecodeError:
            self.tally.refused["malformed"] += 1
            raise

    def _decide(self, method: Method, message: Any) -> bytes | Unanswered:
        reply = answer(self.provider, method, message, self.provider.quick)
        return reply if isinstance(reply, bytes) else Unanswered(method, message, reply)

    def _load(self, items: list[Waiting]) -> None:
        """Reads the devices of many calls with a handful of queries, then answers each call."""
        close_old_connections()
        # Whatever is wrong, a database that is away or one message of many, each call now
        # finds out for itself, inside the error boundary.
        with suppress(Exception):
            self.provider.load(item.message for item in items)
        for item in items:
            reply = self._decide(item.method, item.message)
            if isinstance(reply, Unanswered) and reply.need is not Need.DEVICE:
                # Hashing happens elsewhere: a storm of logins must not keep devices from being read.
                self._send(reply, item.deadline, item.done)
            else:
                item.done(reply if isinstance(reply, bytes) else self._full(item))
        close_old_connections()

    def _answer(self, items: list[Waiting]) -> None:
        for item in items:
            item.done(self._full(item))

    def _full(self, item: Waiting) -> bytes:
        rpc = getattr(self._servicers[item.method.version], item.method.name)
        reply: bytes = rpc(item.message, None).SerializeToString()
        return reply

    def _shed(self, item: Waiting) -> None:
        item.done(self._overloaded(item.method, item.message))

    def _overloaded(self, method: Method, message: Any) -> bytes:
        return answer(
            self.provider, method, message, lambda m, x: self.provider.failed(m, x, Reason.OVERLOADED)
        )
