"""The front: what is common to every transport. Quick answers at once, the rest in a bulkhead."""

import os
from concurrent.futures import Future
from typing import Any

from accounts.core.decision import Reason
from exhookadmin.exhook.boundary import answer
from exhookadmin.exhook.bulkheads import Bulkhead, Full
from exhookadmin.exhook.hooks import Hook
from exhookadmin.exhook.provider import Provider
from exhookadmin.exhook.service import servicer_of
from exhookadmin.exhook.versions import VERSIONS, Method

HASHING_NICE = 15


class Front:
    """Answers calls; knows no transport."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        cores = os.cpu_count() or 1
        # Hashing is CPU work: more threads than cores only make each of them slower.
        self._hashing = Bulkhead("hashing", threads=cores, waiting=512, nice=HASHING_NICE)
        self._loading = Bulkhead("loading", threads=4, waiting=4096)
        self._servicers = {version: servicer_of(version, provider) for version in VERSIONS}

    def quick(self, method: Method, message: Any) -> bytes | None:
        """The reply if memory is enough, else None. Never raises, never blocks."""
        return answer(self.provider, method, message, self.provider.quick)

    def full(self, method: Method, message: Any, context: Any) -> "Future[bytes]":
        """The reply, from a thread of the bulkhead that this kind of work belongs to."""
        bulkhead = self._hashing if method.hook == Hook.CLIENT_AUTHENTICATE else self._loading
        rpc = getattr(self._servicers[method.version], method.name)

        def work() -> bytes:
            reply: bytes = rpc(message, context).SerializeToString()
            return reply

        try:
            return bulkhead.submit(work)
        except Full:
            done: Future[bytes] = Future()
            done.set_result(self.provider.failed(method, message, Reason.OVERLOADED))
            return done

    def close(self) -> None:
        """Finishes the slow work that has begun."""
        self._hashing.close()
        self._loading.close()
