"""The two ports that callers use, REST and gRPC, over one exchange.

`serve.py` opens them while the model is still being fetched, hands over the model when it is warm, and closes them last. The
imports of both transports are in `open`, because they cost more start-up time than everything else and can run beside the
fetch. It must not know what a request is.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modelward_runtime.access.config import Limits as SubjectLimits
from modelward_runtime.budget import size_of_budget
from modelward_runtime.config import Boot, Policy
from modelward_runtime.hardware import Hardware, memory_limit
from modelward_runtime.listen import HttpListener, PortTaken

if TYPE_CHECKING:
    from modelward_runtime.access.certificate import Certificates
    from modelward_runtime.engine import OnnxModel
    from modelward_runtime.metrics import Metrics

log = logging.getLogger(__name__)

_MOST_WORKERS = 8


class ModelPorts:
    """REST and gRPC, answering 503 until there is a model; by TLS where there are certificates. `limits` is asked for each inference."""

    def __init__(
        self,
        boot: Boot,
        metrics: "Metrics",
        host: str,
        limits: Callable[[], SubjectLimits | None],
        certificates: "Certificates | None",
    ) -> None:
        from modelward_runtime import grpc_server, web  # noqa: PLC0415  see above
        from modelward_runtime.access.opening import open_door  # noqa: PLC0415  see above
        from modelward_runtime.exchange import Exchange, Limits  # noqa: PLC0415  see above

        server, model = boot.server, boot.model
        bounds = Limits(
            max_queue=server.max_queue,
            max_bodies=size_of_budget(server.max_body_bytes, memory_limit()),
            request_timeout=float(server.request_timeout_seconds),
        )
        self._boot = boot
        self.exchange = Exchange(model.name, model.version, metrics, bounds)
        door = open_door(boot.access, limits, metrics.refused, patience=bounds.request_timeout)
        app = web.App(self.exchange, door, max_body_bytes=server.max_body_bytes)
        self._certificates = certificates
        self._http = HttpListener(app, host, server.http_port, certificates.for_http() if certificates else None)
        self._grpc: Any = grpc_server.create(
            self.exchange, door, max_body_bytes=server.max_body_bytes, drain_seconds=server.drain_seconds
        )
        self.http_port = self._http.port
        self.grpc_port = self._bind_grpc(host)

    def _bind_grpc(self, host: str) -> int:
        name = f"[{host}]" if ":" in host else host or "[::]"
        address = f"{name}:{self._boot.server.grpc_port}"
        try:
            port: int = (
                self._grpc.add_secure_port(address, self._certificates.for_grpc())
                if self._certificates
                else self._grpc.add_insecure_port(address)
            )
        except RuntimeError as error:
            raise PortTaken(f"cannot listen on {address} (gRPC)") from error
        return port

    async def start(self) -> None:
        """Accept connections on both."""
        await self._http.start()
        await self._grpc.start()

    def serve(self, model: "OnnxModel", hardware: Hardware) -> None:
        """The model is warm: answer with it."""
        from modelward_runtime.batch import Batching  # noqa: PLC0415  see above

        wanted = self._boot.batching
        batching = Batching(wanted.max_batch_size, wanted.max_delay_microseconds / 1e6) if wanted else None
        self.exchange.serve(model, batching, workers=_workers(model, hardware, batched=batching is not None))

    def govern(self, policy: Policy, model: "OnnxModel") -> None:
        """Put a policy in force for the next request; LoadError PolicyUnsatisfiable when it does not fit the model."""
        from modelward_runtime.privacy.compile import compile_rules  # noqa: PLC0415  see above

        before = self.exchange.promise
        rules = compile_rules(policy.privacy, model, before=before)
        self.exchange.govern(rules)
        if before is not None and before is not rules.promise:
            before.close()

    async def drain(self, seconds: float, grace: float) -> None:
        """Say goodbye while serving on for `seconds`, then accept no more and let requests in flight end within `grace`."""
        self.exchange.retire()
        await asyncio.sleep(seconds)
        ending = asyncio.get_running_loop().time() + grace
        await asyncio.gather(self._http.stop(grace), self._grpc.stop(grace))
        try:
            async with asyncio.timeout_at(ending):
                await self.exchange.drain()
        except TimeoutError:
            log.warning("requests in flight were given up after %g s", grace)
        self.exchange.close()

    async def abandon(self) -> None:
        """Close at once: nothing was ever served, or nobody waits any more."""
        self.exchange.close()
        await asyncio.gather(self._http.stop(0), self._grpc.stop(0))


def _workers(model: "OnnxModel", hardware: Hardware, *, batched: bool) -> int:
    """Runs at once: one where batches should form meanwhile, else as many as there are processors for."""
    if batched:
        return 1
    if model.execution_provider != "CPUExecutionProvider":
        return 2  # the next upload overlaps the running computation
    return min(hardware.threads, _MOST_WORKERS)
