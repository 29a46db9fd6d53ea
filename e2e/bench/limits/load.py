"""A closed loop of HTTP requests over some connections, with as little work of its own as Python can have. Used by `suite.py`."""

from __future__ import annotations

import json
import selectors
import socket
import time
from typing import Any

PATIENCE = 30.0  # seconds without any answer


def request(name: str, rows: Any) -> bytes:
    """An inference of binary rows, as tritonclient sends it."""
    tensor = {
        "name": "x",
        "datatype": "FP32",
        "shape": list(rows.shape),
        "parameters": {"binary_data_size": rows.nbytes},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    lines = (
        f"POST /v2/models/{name}/infer HTTP/1.1",
        "host: bench",
        f"inference-header-content-length: {len(head)}",
        f"content-length: {len(head) + rows.nbytes}",
        "",
        "",
    )
    return b"".join(("\r\n".join(lines).encode(), head, rows.tobytes()))


def ask(port: int, sent: bytes, connections: int, seconds: float) -> list[float]:
    """Seconds of each request that was begun within the time."""
    times: list[float] = []
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            one = _Connection(port, sent)
            selector.register(one.socket, selectors.EVENT_READ, one)
        end = time.perf_counter() + seconds
        asking = connections
        while asking:
            ready = selector.select(PATIENCE)
            if not ready:
                raise TimeoutError("the server answers nothing")
            for key, _ in ready:
                taken = key.data.read()
                if taken is None:
                    continue
                times.append(taken)
                if time.perf_counter() < end:
                    key.data.send()
                else:
                    asking -= 1
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    return times


class _Connection:
    """One request at a time."""

    def __init__(self, port: int, sent: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sent = sent
        self._received = b""
        self._began = 0.0
        self.send()

    def send(self) -> None:
        """The next request."""
        self._received = b""
        self._began = time.perf_counter()
        self.socket.sendall(self._sent)

    def read(self) -> float | None:
        """What came; the seconds that the answer took, once it is whole."""
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise ConnectionError("the server closed the connection")
        self._received += piece
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return None
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"the server refuses: {head[:80].decode('latin-1')}")
        _, _, length = head.lower().partition(b"content-length:")
        if len(body) < int(length.split(b"\r\n", 1)[0]):
            return None
        return time.perf_counter() - self._began
