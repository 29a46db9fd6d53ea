"""The two ports that callers use, REST and gRPC, over one model or many.

`serve.py` opens them while the model is still being fetched, hands over the model when it is warm, and closes them last. The
imports of both transports are in `open`, because they cost more start-up time than everything else and can run beside the
fetch. It must not know what a request is.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from modelward_runtime.access.config import Limits as SubjectLimits
from modelward_runtime.budget import size_of_budget
from modelward_runtime.config import Boot, Policy, Server
from modelward_runtime.hardware import Hardware, memory_limit
from modelward_runtime.listen import HttpListener

if TYPE_CHECKING:
    from modelward_runtime.access.certificate import Certificates
    from modelward_runtime.engine import OnnxModel
    from modelward_runtime.epsilon.promise import Promise
    from modelward_runtime.exchange import Exchange, Limits
    from modelward_runtime.metrics import Metrics
    from modelward_runtime.pace import Inline
    from modelward_runtime.privacy.rules import Rules
    from modelward_runtime.shelf import Models

log = logging.getLogger(__name__)

_MOST_WORKERS = 8
# Seconds of a run that cost less here than to hand it over; on a single processor a worker could only take turns with the loop, and one
# run after the other is done soonest, each answered before the next begins
_INLINE = 300e-6
_INLINE_ALONE, _TURN_ALONE = 4e-3, 2e-3


class Ports:
    """REST and gRPC, for one model or many; by TLS where there are certificates. `limits` is asked for each inference."""

    def __init__(
        self,
        boot: Boot,
        models: "Models",
        host: str,
        limits: Callable[[], SubjectLimits | None] = lambda: None,
        certificates: "Certificates | None" = None,
    ) -> None:
        from modelward_runtime import grpc_server, web  # noqa: PLC0415  see above
        from modelward_runtime.access.opening import open_door  # noqa: PLC0415  see above

        server = boot.server
        self._boot = boot
        self.models = models
        door = open_door(boot.access, limits, models.metrics.refused, patience=models.limits.request_timeout)
        app = web.App(models, door, max_body_bytes=server.max_body_bytes)
        self._certificates = certificates
        self._http = HttpListener(app, host, server.http_port, certificates.for_http() if certificates else None)
        self._grpc = grpc_server.create(
            models, door, max_body_bytes=server.max_body_bytes, drain_seconds=server.drain_seconds
        )
        self.http_port = self._http.port
        self.grpc_port = self._bind_grpc(host)

    def _bind_grpc(self, host: str) -> int:
        tls = self._certificates.for_grpc() if self._certificates else None
        return self._grpc.add_port(host, self._boot.server.grpc_port, tls)

    async def start(self) -> None:
        """Accept connections on both."""
        await self._http.start()
        await self._grpc.start()

    async def drain(self, seconds: float, grace: float) -> None:
        """Say goodbye while serving on for `seconds`, then accept no more and let requests in flight end within `grace`."""
        self.models.retire()
        self._grpc.retire()
        await asyncio.sleep(seconds)
        ending = asyncio.get_running_loop().time() + grace
        await asyncio.gather(self._http.stop(grace), self._grpc.stop(grace))
        try:
            async with asyncio.timeout_at(ending):
                await self.models.drain()
        except TimeoutError:
            log.warning("requests in flight were given up after %g s", grace)
        self.models.close()

    async def abandon(self) -> None:
        """Close at once: nothing was ever served, or nobody waits any more."""
        self.models.close()
        await asyncio.gather(self._http.stop(0), self._grpc.stop(0))


class ModelPorts(Ports):
    """Those of one model, answering 503 until it is there."""

    def __init__(
        self,
        boot: Boot,
        metrics: "Metrics",
        host: str,
        limits: Callable[[], SubjectLimits | None],
        certificates: "Certificates | None",
    ) -> None:
        from modelward_runtime.exchange import Exchange  # noqa: PLC0415  see above

        self.exchange = Exchange(boot.model.name, boot.model.version, metrics, bounds_of(boot.server))
        super().__init__(boot, self.exchange, host, limits, certificates)

    def serve(self, model: "OnnxModel", hardware: Hardware) -> None:
        """The model is warm: answer with it, in place of the one that was there, if there was one."""
        hand_over(self.exchange, model, self._boot, hardware)

    def govern(self, policy: Policy, model: "OnnxModel") -> None:
        """Put a policy in force for the next request; LoadError PolicyUnsatisfiable when it does not fit the model."""
        before = self.exchange.promise
        rules = _rules_of(policy, model, before)
        self.exchange.govern(rules)
        if before is not None and before is not rules.promise:
            before.close()


def _rules_of(policy: Policy, model: "OnnxModel", before: "Promise | None") -> "Rules":
    """What a policy says of privacy, for this model. What reads rules takes a tenth of a start: only who has some imports it."""
    if policy.privacy is None:
        from modelward_runtime.privacy.rules import ungoverned  # noqa: PLC0415  see above

        return ungoverned(model)
    from modelward_runtime.privacy.compile import compile_rules  # noqa: PLC0415  see above

    return compile_rules(policy.privacy, model, before=before)


def bounds_of(server: Server) -> "Limits":
    """What all requests together may take."""
    from modelward_runtime.exchange import Limits  # noqa: PLC0415  see above

    return Limits(
        max_queue=server.max_queue,
        max_bodies=size_of_budget(server.max_body_bytes, memory_limit()),
        request_timeout=float(server.request_timeout_seconds),
    )


def hand_over(exchange: "Exchange", model: "OnnxModel", boot: Boot, hardware: Hardware) -> None:
    """Answer with this model from now on; requests that began with another end with it."""
    from modelward_runtime import cuda  # noqa: PLC0415  see above
    from modelward_runtime.batch import Batching  # noqa: PLC0415  see above

    wanted = boot.batching
    batching = Batching(wanted.max_batch_size, wanted.max_delay_microseconds / 1e6) if wanted else None
    give = exchange.replace if exchange.serves else exchange.serve
    if model.execution_provider != "CPUExecutionProvider":
        exchange.metrics.gpu_memory = cuda.memory
    alone = batching is not None or boot.engine.cuda.graphs  # ONNX Runtime captures graphs for one thread at a time
    workers = _workers(model, hardware, alone=alone)
    give(model, batching, workers=workers, inline=_inline(model, hardware))


def _workers(model: "OnnxModel", hardware: Hardware, *, alone: bool) -> int:
    """Runs at once: one where it is to be `alone`, so that batches form meanwhile; else as many as there are processors for."""
    if alone:
        return 1
    if model.execution_provider != "CPUExecutionProvider":
        return 2  # the next upload overlaps the running computation
    return min(hardware.threads, _MOST_WORKERS)


def _inline(model: "OnnxModel", hardware: Hardware) -> "Inline | None":
    """What may run on the event loop's thread (operator/decisions/0018)."""
    from modelward_runtime.pace import Inline  # noqa: PLC0415  see above

    if model.execution_provider != "CPUExecutionProvider" or not model.steady:
        return None
    return Inline(_INLINE_ALONE, _TURN_ALONE, waits=True) if hardware.threads == 1 else Inline(_INLINE)
