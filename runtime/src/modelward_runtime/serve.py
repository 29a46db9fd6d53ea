"""Puts the process together and leads it through its life; the only module that knows all the others.

`starting.py` calls `serve` for both `modelward run` (a pod) and `modelward serve` (a laptop). Everything runs in one event loop;
what blocks (fetching, making the session, running it) has threads of its own. It must not hold logic of any part.

    fetch and load begin (starting.py) ▶ admin port up ▶ model ports up (503) ▶ ready ▶ SIGTERM ▶ unready, serving on for drainSeconds
         ▶ no new connections ▶ requests in flight end ▶ exit 0     a SIGTERM half a second later: exit 143 at once
    a policy.json that is missing, cannot be read or does not fit the model: unready until a usable one arrives
    permanent load failure: exit 78, fetch stalled: exit 75, both with the reason in the termination log
"""

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from modelward_runtime import admin
from modelward_runtime.access.config import Limits
from modelward_runtime.config import Boot, Policy
from modelward_runtime.errors import LoadError
from modelward_runtime.exits import EXIT_DRAINED, EXIT_PERMANENT, EXIT_STALLED, end_at_once, write_termination_log
from modelward_runtime.listen import HttpListener
from modelward_runtime.observability.settings import close_follower, open_follower
from modelward_runtime.policy import PolicyFile
from modelward_runtime.report import State
from modelward_runtime.starting import Begun, keep_imports
from modelward_runtime.surroundings import Ready, Surroundings
from modelward_runtime.threads import in_thread, short_turns

if TYPE_CHECKING:
    from modelward_runtime.access.certificate import Certificates
    from modelward_runtime.engine import OnnxModel
    from modelward_runtime.library.loading import Loaded
    from modelward_runtime.model import Face
    from modelward_runtime.observability.follower import Follower
    from modelward_runtime.ports import ModelPorts

log = logging.getLogger(__name__)

ECHO = 0.5
"""Seconds within which a second signal is the first one's echo."""


async def serve(begun: Begun, surroundings: Surroundings) -> int:
    """Live with the model that is on its way until drained or doomed; the exit code."""
    boot, report = begun.boot, begun.report
    stop = stop_on_signals()
    try:
        await Service(begun, surroundings).live(stop)
    except LoadError as error:
        report.fail(error)
        report.enter(State.FAILED)
        told = {"reason": str(error.reason), "stage": error.stage}
        log.error(error.message, extra=told)  # noqa: TRY400  the message is for the user, a traceback is for nobody
        write_termination_log(surroundings.termination_log, report.failure or {}, boot.model.uri)
        return EXIT_PERMANENT if error.permanent else EXIT_STALLED
    return EXIT_DRAINED


class Service:
    """One process's parts, in the order in which they start."""

    def __init__(self, begun: Begun, surroundings: Surroundings) -> None:
        from modelward_runtime.metrics import Metrics  # noqa: PLC0415  start-up: `modelward digest` needs none
        from modelward_runtime.recording import Recording  # noqa: PLC0415  as above

        boot, report = begun.boot, begun.report
        self._boot = boot
        self._report = report
        self._surroundings = surroundings
        self._hardware = begun.hardware
        self._begun = begun
        self._metrics = Metrics()
        self._recording = Recording(report, self._metrics)
        self._policy: PolicyFile | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._follower: Follower | None = None
        self._following = self._begin_to_follow() if surroundings.reload else None
        self._admin = HttpListener(
            admin.App(report, self._metrics.exposition, self._metrics.meter), surroundings.host, boot.server.admin_port
        )

    async def live(self, stop: asyncio.Event) -> None:
        """From the admin port to the end of the drain. LoadError when there will be no model."""
        await self._admin.start()
        policy = self._policy = self._read_policy()
        watching = asyncio.ensure_future(policy.watch() if policy else asyncio.sleep(0))
        recorded = asyncio.ensure_future(policy.enforce(self._recording.adopt) if policy else asyncio.sleep(0))
        loading = self._begun.take()
        stopping = asyncio.ensure_future(stop.wait())
        tasks: list[asyncio.Future[Any]] = [watching, recorded, loading, stopping]
        try:
            await self._recording.opened(recorded, stopping)
            with short_turns():
                ports = await self._await_model_ports(loading, stopping)
                if ports:
                    governed = asyncio.ensure_future(self._govern(loading, recorded, ports))
                    tasks.append(governed)
                    await asyncio.wait({governed, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if ports is None or not governed.done():
                self._report.enter(State.DRAINING)
                if ports:
                    await ports.abandon()
                return
            self._go_ready(governed.result(), ports)
            if self._following:
                from modelward_runtime.model import face_of  # noqa: PLC0415  `_import` has done it, on a thread

                tasks.append(asyncio.ensure_future(self._following(face_of(governed.result()), ports)))
            tasks = [task for task in tasks if task not in {loading, governed}]
            del loading, governed  # they would keep a model in memory that is replaced
            await stopping
            await self._drain(ports)
        finally:
            for task in (*tasks, self._renewing):
                if task:
                    task.cancel()
            await self._recording.close()
            await close_follower(self._follower)
            self._metrics.meter.close()
            await self._admin.stop(1)

    def _read_policy(self) -> PolicyFile | None:
        file = self._surroundings.policy_file
        return PolicyFile(file, self._report) if file else None

    async def _govern(
        self, loading: "asyncio.Task[OnnxModel]", recorded: "asyncio.Future[None]", ports: "ModelPorts"
    ) -> "OnnxModel":
        """The model, once it is loaded and a policy is in force, if there is to be one."""
        model = await loading
        await recorded
        if self._policy:
            await self._policy.enforce(lambda wanted: self._adopt(wanted, model, ports))
        return model

    def _adopt(self, wanted: Policy, model: "OnnxModel", ports: "ModelPorts") -> None:
        """All of a policy holds from now on, or nothing of it: LoadError."""
        record = self._recording.prepare(wanted)
        ports.govern(wanted, model)
        record()

    def _limits(self) -> Limits | None:
        return self._policy.policy.limits if self._policy and self._policy.policy else None

    def _begin_to_follow(self) -> "Callable[[Face, ModelPorts], Coroutine[Any, Any, None]]":
        """What will follow the model's path from how it is now, before it is loaded."""
        from modelward_runtime.library.following import Following  # noqa: PLC0415  start-up: few follow
        from modelward_runtime.library.loading import Loader  # noqa: PLC0415  likewise
        from modelward_runtime.library.settling import look_at  # noqa: PLC0415  likewise

        surroundings, path = self._surroundings, Path(self._boot.model.directory or "")
        loader = Loader(self._boot, surroundings.guard, self._hardware, surroundings.patience)
        seen = look_at(path)

        async def follow(face: "Face", ports: "ModelPorts") -> None:
            def swap(loaded: "Loaded") -> None:
                ports.serve(loaded.model, self._hardware)
                self._report.adopt(loaded.report)

            await Following(path, seen, loader, swap, self._report.fail).follow(face)

        return follow

    async def _await_model_ports(
        self, loading: "asyncio.Task[OnnxModel]", stopping: "asyncio.Task[Literal[True]]"
    ) -> "ModelPorts | None":
        """The ports; None when a signal comes before their certificate does. LoadError when there will be no model for them."""
        opening = asyncio.ensure_future(self._open_model_ports())
        while not (opening.done() or stopping.done()):
            pending = {task for task in (opening, stopping, loading) if not task.done()}
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if loading.done() and not opening.done() and loading.exception():
                opening.cancel()
                loading.result()
        if not opening.done():
            opening.cancel()
            return None
        return opening.result()

    async def _open_model_ports(self) -> "ModelPorts":
        """Imported on a thread, beside the fetch: the loop answers probes and goes on loading meanwhile."""
        ports_of = await in_thread(partial(_import, self._boot), "imports")
        keep_imports()
        certificates = await self._await_certificate()
        ports = ports_of(self._boot, self._metrics, self._surroundings.host, self._limits, certificates)
        self._follower = ports.models.follower = await open_follower(self._boot.observability, self._boot.model.name)
        self._recording.attach(ports.exchange)
        self._report.epsilon = ports.exchange.report_epsilon
        await ports.start()
        return ports

    async def _await_certificate(self) -> "Certificates | None":
        """Without TLS at once; else when there is a usable pair, which is followed from then on."""
        if self._boot.access is None or self._boot.access.tls is None:
            return None
        from modelward_runtime.access.certificate import Certificates  # noqa: PLC0415  `_import` has done it, on a thread

        certificates = Certificates(Path(self._boot.access.tls.directory), self._report.show_certificate)
        await certificates.arrive(self._report.fail)
        self._metrics.certificate_expiry = lambda: certificates.not_after
        self._renewing = asyncio.ensure_future(certificates.watch())
        return certificates

    def _go_ready(self, model: "OnnxModel", ports: "ModelPorts") -> None:
        ports.serve(model, self._hardware)
        self._metrics.meter.begin()
        self._report.enter(State.READY)
        ready = Ready(model, ports.http_port, ports.grpc_port, self._admin.port)
        log.info(
            "ready",
            extra={
                "model": model.name,
                "version": model.version,
                "execution_provider": model.execution_provider,
                "threads": model.threads,
                "stage_seconds": self._report.stage_seconds,
            },
        )
        self._surroundings.on_ready(ready)

    async def _drain(self, ports: "ModelPorts") -> None:
        began = time.monotonic()
        self._report.enter(State.DRAINING)
        log.info("draining", extra={"in_flight": self._metrics.meter.concurrency})
        server = self._boot.server
        await ports.drain(server.drain_seconds, server.request_timeout_seconds)
        log.info("drained", extra={"seconds": round(time.monotonic() - began, 3)})


def _import(boot: Boot) -> "type[ModelPorts]":
    """All that takes long to import, and ONNX Runtime first: the model may be waiting for it, and goes on without Python then."""
    from modelward_runtime.lean import import_numpy  # noqa: PLC0415

    import_numpy()
    from modelward_runtime.engine import onnxruntime  # noqa: PLC0415

    onnxruntime()
    from modelward_runtime import grpc_server, web  # noqa: F401, PLC0415  what ModelPorts will import itself
    from modelward_runtime.access.opening import import_parts  # noqa: PLC0415  likewise
    from modelward_runtime.ports import ModelPorts  # noqa: PLC0415

    import_parts(boot.access)
    return ModelPorts


def stop_on_signals() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; the next one ends the process at once.

    Whoever stops a process group behind a wrapper such as `uv run` or `timeout` delivers one wish twice: signals that come
    within `ECHO` count as one.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    first: list[float] = []

    def on_signal() -> None:
        if first and loop.time() - first[0] > ECHO:
            end_at_once()
        first.append(loop.time())
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread: a test's loop
            loop.add_signal_handler(number, on_signal)
    return stop
