"""The front: what is common to every transport. Quick answers at once, the rest in a bulkhead."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from django.db import close_old_connections

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

Done = Callable[[bytes], None]

# Below every other thread's priority: hashing gets the CPU time that nobody else wants.
HASHING_NICE = 15
LOADING_THREADS = 4
# As EMQX's request_timeout, for a caller that announces no deadline.
DEFAULT_SECONDS = 5.0


class Unanswered(NamedTuple):
    """A call that memory could not answer."""

    method: Method
    message: Any
    need: Need


class Front:
    """Answers calls; knows no transport. ``done`` may be called on any thread."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self._repeats = Repeats(provider.directory)
        # Hashing is CPU work: more threads than cores only make each of them slower.
        cores = os.cpu_count() or 1
        self.hashing = Bulkhead("hashing", threads=cores, waiting=1024, crowd=4 * cores, nice=HASHING_NICE)
        self.loading = Bulkhead("loading", threads=LOADING_THREADS, waiting=8192, crowd=256)
        self._servicers = {version: servicer_of(version, provider) for version in VERSIONS}

    def receive(self, method: Method, data: bytes) -> bytes | Unanswered:
        """The reply if memory is enough, else what it takes. Never blocks.

        Raises google.protobuf.message.DecodeError for bytes that are no such message.
        """
        if method.hook is not Hook.CLIENT_AUTHORIZE:
            return self._decide(method, method.parse(data))
        directory = self.provider.directory
        if self._repeats.allowed(data, directory.now()):
            return ALLOW
        version = directory.version
        message = method.parse(data)
        reply = self._decide(method, message)
        if reply is ALLOW:
            self._repeats.remember(data, version, self.provider.settled_until(message))
        return reply

    def later(self, unanswered: Unanswered, deadline: float, done: Done) -> None:
        """Calls ``done`` with the reply when what is needed is there; ``deadline`` in monotonic seconds."""
        method, message, need = unanswered
        shed = partial(self._shed, method, message, done)
        if need is Need.DEVICE:
            work = self._load_and_answer if method.hook == Hook.CLIENT_AUTHENTICATE else self._answer
            self.loading.submit(partial(work, method, message, deadline, done), shed, deadline)
        elif need is Need.DUMMY_HASH and not self.hashing.idle:
            # Dummy work is the first to go when there is other work to do.
            reply = answer(self.provider, method, message, lambda _, m: self.provider.without_hash(m))
            done(reply if isinstance(reply, bytes) else self._refusal(method, message))
        else:
            self.hashing.submit(partial(self._answer, method, message, deadline, done), shed, deadline)

    def _decide(self, method: Method, message: Any) -> bytes | Unanswered:
        reply = answer(self.provider, method, message, self.provider.quick)
        return reply if isinstance(reply, bytes) else Unanswered(method, message, reply)

    def close(self) -> None:
        """Finishes the slow work that has begun."""
        self.loading.close()
        self.hashing.close()

    def _answer(self, method: Method, message: Any, deadline: float, done: Done) -> None:
        rpc = getattr(self._servicers[method.version], method.name)
        done(rpc(message, None).SerializeToString())

    def _load_and_answer(self, method: Method, message: Any, deadline: float, done: Done) -> None:
        """Queries here, hashes elsewhere: a storm of logins must not keep devices from being loaded."""
        close_old_connections()
        reply = answer(self.provider, method, message, self._loaded_quick)
        close_old_connections()
        if isinstance(reply, bytes):
            done(reply)
        elif reply is Need.DEVICE:
            # Memory did not keep it: it changed under our hands, or memory is full of others.
            shed = partial(self._shed, method, message, done)
            self.hashing.submit(partial(self._answer, method, message, deadline, done), shed, deadline)
        else:
            self.later(Unanswered(method, message, reply), deadline, done)

    def _loaded_quick(self, method: Method, message: Any) -> bytes | Need:
        self.provider.load(message)
        return self.provider.quick(method, message)

    def _shed(self, method: Method, message: Any, done: Done) -> None:
        done(self._refusal(method, message))

    def _refusal(self, method: Method, message: Any) -> bytes:
        return answer(
            self.provider, method, message, lambda m, x: self.provider.failed(m, x, Reason.OVERLOADED)
        )
