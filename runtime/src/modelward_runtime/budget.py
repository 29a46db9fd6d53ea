"""Bounds the bytes of all request bodies that are held at once, over REST and gRPC together.

`maxBodyBytes` bounds one body, and as many of those as callers like would add up until the kernel ends the process. `ports.py`
sizes the budget, `exchange.py` has it, `body.py` and `grpc_server.py` take from it for a request until it is answered. Who finds no
room is told at once when to come back: waiting would only move the bytes elsewhere. It must not know what a body is.
"""

import threading
from types import TracebackType

from modelward_runtime.errors import BodiesFull


class Budget:
    """So many bytes. The lock is there because large bodies are unpacked on threads."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self.lock = threading.Lock()

    def hold(self) -> "Hold":
        """One request's share, empty at first; a context manager that gives everything back."""
        return Hold(self)


class Hold:
    """What one request holds."""

    __slots__ = ("_budget", "_over", "_size")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0
        self._over = False

    def reach(self, size: int) -> None:
        """Hold so many bytes, or more if it already does. Raises `BodiesFull` when there is no room."""
        budget = self._budget
        with budget.lock:
            more = size - self._size
            if more <= 0:
                return
            if self._over or budget.held + more > budget.limit:
                raise BodiesFull(budget.held, budget.limit)
            budget.held += more
            self._size = size

    def __enter__(self) -> "Hold":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()

    def give_back(self) -> None:
        """Hold nothing from now on."""
        with self._budget.lock:
            self._over = True  # a thread that still unpacks for a caller who left must not take more
            self._budget.held -= self._size
            self._size = 0


def size_of_budget(max_body_bytes: int, memory: int) -> int:
    """An eighth of the memory: JSON takes up to twice its size again while it is decoded, and the model lives there too.

    Never less than twice the largest body, packed and unpacked: each must get in when nothing else is there.
    """
    return max(2 * max_body_bytes, memory // 8)
