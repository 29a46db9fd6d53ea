"""What the transports ask: the model of a request by its name, and the server as a whole.

`Models` is what `web.py` and `grpc_server.py` are given. In a pod, and for `modelward serve PATH`, it is the one `Exchange` itself; for
`modelward serve --repository DIR` it is a `Shelf`, where a `Keeper` (`library/`) puts models and takes them away. To find a model is one
look into a dictionary. It must not know how models are loaded.
"""

import asyncio
from typing import TYPE_CHECKING, Protocol

from modelward_runtime.budget import Budget
from modelward_runtime.errors import NotFound
from modelward_runtime.exchange import Exchange, IndexEntry, Limits
from modelward_runtime.metrics import Metrics

if TYPE_CHECKING:
    from modelward_runtime.audit.auditor import Auditor
    from modelward_runtime.observability.follower import Follower


class Models(Protocol):
    """One model or many. `metrics` count what is for no model, `bodies` bounds the requests to all of them together."""

    metrics: Metrics
    limits: Limits
    bodies: Budget
    auditor: "Auditor | None"
    follower: "Follower | None"
    keeper: "Keeper | None"

    @property
    def ready(self) -> bool:
        """Every model that is to be served is."""

    @property
    def retired(self) -> bool:
        """On the way out: connections should go elsewhere."""

    def find(self, name: str) -> Exchange:
        """The model of a request. Raises `NotFound`, which repeats no name of a caller's."""

    def index(self, *, only_ready: bool) -> list[IndexEntry]:
        """The repository."""

    def retire(self) -> None:
        """Readiness off, while requests go on being answered until nobody sends any."""

    async def drain(self) -> None:
        """No new requests; return when those in flight are answered."""

    def close(self) -> None:
        """The worker threads end."""


class Keeper(Protocol):
    """Who loads and unloads models at callers' wish."""

    @property
    def complete(self) -> bool:
        """Every model that is to be served is."""

    def index(self, *, only_ready: bool) -> list[IndexEntry]:
        """Every model that there is, served or not."""

    async def load(self, name: str) -> None:
        """Serve it, or its newest version. Raises `ApiError`."""

    async def unload(self, name: str) -> None:
        """Serve it no more; requests that began are answered. Raises `ApiError`."""


class Shelf:
    """Many models. It needs a keeper before it is asked."""

    def __init__(self, metrics: Metrics, limits: Limits) -> None:
        self.metrics = metrics
        self.limits = limits
        self.bodies = Budget(limits.max_bodies)
        self.auditor: Auditor | None = None  # a laptop keeps no audit log
        self.follower: Follower | None = None
        self.keeper: Keeper | None = None
        self._exchanges: dict[str, Exchange] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._retired = False

    def put(self, exchange: Exchange) -> None:
        """It can be asked for from now on; until its model is loaded that is answered with 503."""
        exchange.bodies = self.bodies
        self._exchanges[exchange.name] = exchange

    def let_go(self, exchange: Exchange) -> asyncio.Task[None]:
        """It cannot be asked for any more. Done when its requests are answered and its model is let go."""
        if self._exchanges.get(exchange.name) is exchange:
            del self._exchanges[exchange.name]
        leaving = asyncio.ensure_future(_let_go(exchange))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        return leaving

    def find(self, name: str) -> Exchange:
        """The model of a request. Raises `NotFound`."""
        exchange = self._exchanges.get(name)
        if exchange is None:
            raise NotFound("that model is not served here; POST /v2/repository/index lists those that are")
        return exchange

    @property
    def ready(self) -> bool:
        """Every model that is to be served is, and the server is not on its way out."""
        return self.keeper is not None and self.keeper.complete and not self._retired

    @property
    def retired(self) -> bool:
        """On the way out: connections should go elsewhere."""
        return self._retired

    def index(self, *, only_ready: bool) -> list[IndexEntry]:
        """The repository."""
        return self.keeper.index(only_ready=only_ready) if self.keeper else []

    def retire(self) -> None:
        """Readiness off, while requests go on being answered until nobody sends any."""
        self._retired = True
        for exchange in self._exchanges.values():
            exchange.retire()

    async def drain(self) -> None:
        """No new requests; return when those in flight are answered."""
        await asyncio.gather(*(exchange.drain() for exchange in self._exchanges.values()), *self._leaving)

    def close(self) -> None:
        """The worker threads end."""
        for exchange in self._exchanges.values():
            exchange.close()


async def _let_go(exchange: Exchange) -> None:
    await exchange.drain()
    exchange.close()
