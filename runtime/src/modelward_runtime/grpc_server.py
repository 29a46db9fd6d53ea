"""The Open Inference Protocol v2 over gRPC: the same exchange as over REST, the same errors word for word.

Composed by `ports.py`, which adds a port, starts and stops it.

    http2/ ▶ grpc_call.py: one call ▶ grpc_service.py ▶ grpc_door.py: who calls ▶ grpc_inference.py ▶ exchange.py
             grpc_head.py, grpc_message.py              grpc_methods.py: all else    protobuf.py ▶ wire.py
"""

import ssl
from typing import Final

from modelward_runtime.access.door import Door
from modelward_runtime.grpc_call import Call
from modelward_runtime.grpc_service import WINDOW, Service
from modelward_runtime.http2.connection import Connection, Settings
from modelward_runtime.http2.server import Server
from modelward_runtime.listen import bind
from modelward_runtime.shelf import Models

_METADATA: Final = 1 << 16  # bytes, as many as a head over REST may have
_LARGEST: Final = 1 << 20  # bytes of a frame: large tensors come in few of them, read to where they belong
_STAY: Final = 0.2  # of the drain: how long a connection stays that is opened in it


def create(models: Models, door: Door, *, max_body_bytes: int, drain_seconds: float = 0) -> "GrpcServer":
    """A server without a port; needs a running event loop."""
    return GrpcServer(Service(models, door, max_body_bytes), drain_seconds)


class GrpcServer:
    """The ports of a service, from before the model is there until the drain is over."""

    def __init__(self, service: Service, drain_seconds: float) -> None:
        def make(connection: Connection, number: int, window: int, allowance: int) -> Call:
            return Call(connection, number, window, allowance, service)

        self._server = Server(make, Settings(WINDOW, _LARGEST, _METADATA))
        self._stay = _STAY * drain_seconds

    def add_port(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen there, once it starts; the port that was bound. Raises `PortTaken`."""
        listening = bind(host, port)
        self._server.add(listening, tls)
        bound: int = listening.getsockname()[1]
        return bound

    async def start(self) -> None:
        """Accept connections."""
        await self._server.start()

    def retire(self) -> None:
        """Calls are still answered, and clients asked to go elsewhere with the next ones."""
        self._server.retire(self._stay)

    async def stop(self, grace: float) -> None:
        """Accept no more; calls in flight end within `grace` seconds."""
        await self._server.stop(grace)
