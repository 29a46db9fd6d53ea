"""A line of so many bytes a second: `python -m e2e.bench.line PORT BYTES` passes on to a port of loopback, and prints where it listens."""

from __future__ import annotations

import socket
import sys
import threading
import time


class Pace:
    """When the next bytes may go, of all connections together."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._lock = threading.Lock()
        self._free = 0.0

    def wait(self, count: int) -> None:
        """Until so many bytes more have their turn."""
        with self._lock:
            self._free = max(self._free, time.monotonic() - 0.01) + count / self._speed
            left = self._free - time.monotonic()
        if left > 0:
            time.sleep(left)


def main() -> None:
    target, pace = int(sys.argv[1]), Pace(float(sys.argv[2]))
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        near, _ = listener.accept()
        threading.Thread(target=_connect, args=(near, target, pace), daemon=True).start()


def _connect(near: socket.socket, target: int, pace: Pace) -> None:
    with near, socket.create_connection(("127.0.0.1", target)) as far:
        threading.Thread(target=_pass_on, args=(near, far, None), daemon=True).start()
        _pass_on(far, near, pace)


def _pass_on(source: socket.socket, sink: socket.socket, pace: Pace | None) -> None:
    try:
        while piece := source.recv(1 << 18):
            if pace:
                pace.wait(len(piece))
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return  # one side has left


if __name__ == "__main__":
    main()
