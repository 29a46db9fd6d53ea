"""One model that may be at zero, as a live thing: its door, its queue, its pods, and the one way that a request takes through them.

Made and changed by `table`'s reader (`run.py`), used by `rest.py` and `grpc_proxy.py`, which know what a request is.

    admit (the door) ─▶ attend: refused? ─▶ a usable pod? ─ no ─▶ queue, the operator hears, new pods are probed ─┐
                                    ▲            │ yes                                                            │
                                    │            ▼                                                                │
                                    └─ refused ─ use(pod) ─▶ answer                                               │
                                    └─────────────────────────────────────────────────────────────────────────────┘

`use` raises ConnectFailed only while the pod knows nothing of the request; that alone is tried again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from modelward_runtime.access.config import Access, Nobody
from modelward_runtime.access.door import Door
from modelward_runtime.access.opening import open_door
from modelward_runtime.activator.addresses import is_openable
from modelward_runtime.activator.config import Route
from modelward_runtime.activator.demand import Line
from modelward_runtime.activator.endpoints import Listed
from modelward_runtime.activator.errors import Leaving, NotWoken
from modelward_runtime.activator.hold import Queue
from modelward_runtime.activator.metrics import Metrics
from modelward_runtime.activator.pods import ADMIN_PORT, Pod, Pods
from modelward_runtime.activator.probing import Prober
from modelward_runtime.activator.resolver import Resolver
from modelward_runtime.activator.share import Common
from modelward_runtime.activator.trust import trust_of
from modelward_runtime.activator.upstream import ConnectFailed
from modelward_runtime.errors import ApiError, NotFound

T = TypeVar("T")


@dataclass(frozen=True)
class ApiPlace:
    """Where the activator's own API server is, and as whom it is asked."""

    server: str
    token_file: Path
    ca_file: Path


@dataclass(frozen=True)
class Surroundings:
    """What all routes share: `seats` of who waits, memory for `calls`.

    `rise` hears when a queue is no longer empty; `permits` says which addresses a model's issuer may have.
    """

    api: ApiPlace
    seats: Common
    calls: Common
    metrics: Metrics
    prober: Prober
    rise: Callable[[], None]
    is_draining: Callable[[], bool] = lambda: False
    admin_port: int = ADMIN_PORT
    permits: Callable[[str], bool] = is_openable
    resolver: Resolver = field(default_factory=Resolver)
    clock: Callable[[], float] = time.monotonic


class LiveRoute:
    """A route in force. `config` is exchanged while requests are held."""

    def __init__(self, config: Route, surroundings: Surroundings) -> None:
        self.config = config
        self.namespace = config.namespace
        self.forwarding = 0
        self._around = surroundings
        self.memory = surroundings.calls.share(config.namespace)
        self._leaving = False
        self._pods = Pods(surroundings.admin_port)
        self._queue = Queue(surroundings.seats.share(config.namespace), surroundings.rise, surroundings.clock)
        self.door = self._open_door(config.access)
        self._pods.set_trust(trust_of(config.tls))

    @property
    def line(self) -> Line:
        """What the operator hears."""
        key = self.config.key
        return Line(*key, len(self._queue), self.forwarding, round(self._queue.oldest, 3))

    @property
    def refusal(self) -> ApiError | None:
        """Why a request that came now would not be taken; None where it would be."""
        if self._leaving:
            return Leaving()
        refusal = self.config.refusal
        if not self.config.wake:
            return NotWoken(refusal.reason, refusal.message) if refusal else NotWoken("Unknown", "no reason is told")
        return None

    @property
    def has_pods(self) -> bool:
        """There is a pod: clients should connect anew, and reach it without us."""
        return self._pods.has_usable

    @property
    def should_leave(self) -> bool:
        """Clients should connect anew: a pod would answer, or this process will not for long."""
        return self._leaving or self._around.is_draining() or self.has_pods

    def check_name(self, name: str, version: str) -> None:
        """Raises `NotFound` for a model or version that no pod of this one serves, as far as that is known; in a pod's own words."""
        model = self.config.model
        if model is None:
            return
        if name != model.name:
            raise NotFound(f"that model is not served here, '{model.name}' is")
        if version and version != model.version:
            raise NotFound(f"model '{model.name}' has no such version here, only '{model.version}'")

    def change(self, config: Route) -> None:
        """Another configuration; those who wait hear at once when they may no longer. Raises ssl.SSLError, and nothing has changed then."""
        trust = trust_of(config.tls) if config.tls != self.config.tls else None
        if config.access != self.config.access:
            self.door = self._open_door(config.access)
        if config.tls != self.config.tls:
            self._pods.set_trust(trust)
        self.config = config
        self._refuse_all()

    def list_pods(self, listed: Mapping[str, Listed]) -> None:
        """What the EndpointSlices say."""
        self._pods.update(listed)
        self._let_go()

    def leave(self) -> None:
        """Nobody is taken in any more, and who waits is let go with an error."""
        self._leaving = True
        self._refuse_all()

    def close(self) -> None:
        """It is over; what pods have of ours they end."""
        self.leave()
        self._pods.update({})

    async def attend(self, use: Callable[[Pod], Awaitable[T]]) -> T:
        """What `use` makes of a pod, once there is one. Raises `ApiError`."""
        began, loop = self._around.clock(), asyncio.get_running_loop()
        deadline = loop.time() + self.config.hold_seconds
        while True:
            pod = await self._await_pod(began, deadline)
            self.forwarding += 1
            pod.in_flight += 1
            taken = self._around.clock()
            try:
                return await use(pod)
            except ConnectFailed:
                pod.suspect()
            finally:
                self.forwarding -= 1
                pod.in_flight -= 1
                self._around.metrics.forwards.observe(self._around.clock() - taken)

    async def _await_pod(self, began: float, deadline: float) -> Pod:
        most: int | None = self.config.max_held
        while True:
            refusal = self.refusal
            if refusal is not None:
                raise refusal
            pod = self._pods.choose()
            if pod is not None:
                if most is None:
                    self._around.metrics.holds.observe(self._around.clock() - began)
                return pod
            self._around.prober.watch(self, self._pods.doubtful, lambda: len(self._queue) > 0, self._let_go)
            await self._queue.wait(deadline, most=most, patience=self.config.hold_seconds, since=began)
            most = None  # who was in keeps the place

    def _let_go(self) -> None:
        if self._pods.has_usable:
            self._queue.let_go()

    def _refuse_all(self) -> None:
        if self.refusal is not None:
            self._queue.refuse(lambda: self.refusal or Leaving())

    def _open_door(self, access: Access) -> Door:
        """A door that asks our own API server: the section's files are a serving pod's. Limits of a subject are the pods' to keep."""
        asked, api = access.authentication, self._around.api
        if not isinstance(asked, Nobody):
            asked = msgspec.structs.replace(
                asked, server=api.server, token_file=str(api.token_file), ca_file=str(api.ca_file)
            )
            access = msgspec.structs.replace(access, authentication=asked)
        around = self._around
        resolve = partial(around.resolver.find, self.config.namespace)
        return open_door(access, lambda: None, around.metrics.refused, permits=around.permits, resolve=resolve)
