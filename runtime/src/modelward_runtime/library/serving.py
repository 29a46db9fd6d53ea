"""`modelward serve --repository DIR`: puts the process together that serves many models, and leads it through its life.

`laptop.py` has `serve_library` run. It is `serve.py` for a laptop's folder: no policy, no door, no audit; ports that answer from the
start, models that come one after the other. It must not hold logic of any part.

    admin port up ▶ model ports up (503 per model) ▶ each wanted model is loaded ▶ ready, if all of them are ▶ SIGTERM ▶ drained, exit 0
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from modelward_runtime import admin, hardware
from modelward_runtime.config import API_VERSION, Boot
from modelward_runtime.exits import EXIT_DRAINED, EXIT_USAGE
from modelward_runtime.guard import Guard
from modelward_runtime.library.loading import Loader
from modelward_runtime.listen import HttpListener
from modelward_runtime.load import Patience
from modelward_runtime.log import timestamp
from modelward_runtime.observability.settings import close_follower, open_follower
from modelward_runtime.report import Report, State
from modelward_runtime.serve import stop_on_signals
from modelward_runtime.starting import keep_imports
from modelward_runtime.threads import in_thread

if TYPE_CHECKING:
    from modelward_runtime.exchange import Exchange
    from modelward_runtime.library.library import Library
    from modelward_runtime.observability.follower import Follower
    from modelward_runtime.ports import Ports
    from modelward_runtime.shelf import Shelf

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opened:
    """What is told once all models were tried: the index, and the ports that were really bound."""

    models: Collection[Any]  # IndexEntry
    http_port: int
    grpc_port: int
    admin_port: int


@dataclass(frozen=True)
class Wishes:
    """What the flags say. `only`: load these at the start, None for all; `reload`: follow the folder."""

    folder: Path
    boot: Boot
    guard: Guard
    host: str
    only: Collection[str] | None = None
    reload: bool = False
    on_ready: Callable[[Opened], None] = lambda _: None


class LibraryReport(Report):
    """GET /report, with a line for each model."""

    models: Callable[[], Iterator[dict[str, Any]]] = lambda: iter(())

    def to_json(self) -> bytes:
        """The body of GET /report."""
        return msgspec.json.encode(
            {
                "apiVersion": API_VERSION,
                "kind": "Report",
                "state": str(self.state),
                "models": list(self.models()),
                "startedAt": timestamp(self._started),
            }
        )


async def serve_library(wishes: Wishes) -> int:
    """Live until drained; the exit code."""
    stop = stop_on_signals()
    try:
        await LibraryService(wishes).live(stop)
    except OSError as error:
        log.error("%s: %s", error.filename or wishes.folder, error.strerror)  # noqa: TRY400  the reason is enough
        return EXIT_USAGE
    return EXIT_DRAINED


class LibraryService:
    """One process's parts, in the order in which they start."""

    def __init__(self, wishes: Wishes) -> None:
        from modelward_runtime.library.counting import LibraryMetrics  # noqa: PLC0415  start-up

        self._wishes = wishes
        self._hardware = hardware.measure()
        self._metrics = LibraryMetrics()
        self._report = LibraryReport(wishes.boot, "")
        self._follower: Follower | None = None
        self._admin = HttpListener(
            admin.App(self._report, self._metrics.exposition, self._metrics.meter),
            wishes.host,
            wishes.boot.server.admin_port,
        )

    async def live(self, stop: asyncio.Event) -> None:
        """From the admin port to the end of the drain."""
        await self._admin.start()
        stopping = asyncio.ensure_future(stop.wait())
        ports, library = await self._open_ports()
        working = asyncio.ensure_future(self._work(ports, library))
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
            self._report.enter(State.DRAINING)
            log.info("draining", extra={"in_flight": self._metrics.meter.concurrency})
            await ports.drain(0, self._wishes.boot.server.request_timeout_seconds)
        finally:
            for task in (working, stopping):
                task.cancel()
            await close_follower(self._follower)
            self._metrics.meter.close()
            await self._admin.stop(1)

    async def _open_ports(self) -> "tuple[Ports, Library]":
        """Imported on a thread: the admin port answers meanwhile."""
        ports_of, shelf_of, library_of = await in_thread(_import, "imports")
        from modelward_runtime.ports import bounds_of  # noqa: PLC0415  `_import` has done it, on a thread

        keep_imports()
        wishes = self._wishes
        shelf = shelf_of(self._metrics.unnamed, bounds_of(wishes.boot.server))
        loader = Loader(wishes.boot, wishes.guard, self._hardware, Patience())
        library = library_of(wishes.folder, loader, shelf, self._furnish, self._hand_over)
        shelf.keeper = library
        self._follower = shelf.follower = await open_follower(wishes.boot.observability, "modelward")
        self._report.models = library.reports
        self._report.obstacle = library.obstacle
        ports = ports_of(wishes.boot, shelf, wishes.host)
        self._limits = shelf.limits
        await ports.start()
        return ports, library

    async def _work(self, ports: "Ports", library: "Library") -> None:
        """Load, say so, and follow the folder until the process is to end."""
        wishes = self._wishes
        await library.open(wishes.only)
        self._metrics.meter.begin()
        self._report.enter(State.READY)
        wishes.on_ready(Opened(library.index(only_ready=False), ports.http_port, ports.grpc_port, self._admin.port))
        if wishes.reload:
            await library.follow(newcomers=wishes.only is None)
        await asyncio.Event().wait()

    def _furnish(self, name: str, version: str) -> "Exchange":
        from modelward_runtime.exchange import Exchange  # noqa: PLC0415  `_import` has done it, on a thread

        return Exchange(name, version, self._metrics.of(name), self._limits)

    def _hand_over(self, exchange: "Exchange", model: Any) -> None:  # noqa: ANN401  an OnnxModel, whose module is not imported here
        from modelward_runtime.ports import hand_over  # noqa: PLC0415  as above

        hand_over(exchange, model, self._wishes.boot, self._hardware)


def _import() -> "tuple[type[Ports], type[Shelf], type[Library]]":
    """All that takes long to import."""
    from modelward_runtime.engine import onnxruntime  # noqa: PLC0415

    onnxruntime()
    from modelward_runtime import grpc_server, web  # noqa: F401, PLC0415  what Ports will import itself
    from modelward_runtime.library.library import Library  # noqa: PLC0415
    from modelward_runtime.ports import Ports  # noqa: PLC0415
    from modelward_runtime.shelf import Shelf  # noqa: PLC0415

    return Ports, Shelf, Library
