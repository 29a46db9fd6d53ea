"""What all models together may have of something that one process has once: seats for who waits, memory for calls under way.

Made by `run.py`; `hold.py` takes seats, `rest.py` and `grpc_proxy.py` memory. A model may hold as much as is free, and so half of it at
most; the models of one namespace twice as much as is free, and so two thirds: whatever a tenant's models, pods and callers do, on purpose
or not, there is room for another tenant's (Choudhury and Hahne's dynamic thresholds, as switches share their buffers). Used on the event
loop alone.
"""

from typing import Final

PER_CALL: Final = 1 << 18
"""Bytes that a request or call may have here at most: of its body and of its answer 64 KiB each, as much on their ways out, its task."""
_NAMESPACE: Final = 2  # times what is free, for the models of one namespace together


class Common:
    """So much of it. `taken` is what all have."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self._by_namespace: dict[str, int] = {}

    def share(self, namespace: str) -> "Share":
        """For one model of this namespace."""
        return Share(self, namespace)

    def of(self, namespace: str) -> int:
        """What the models of a namespace have."""
        return self._by_namespace.get(namespace, 0)

    def move(self, namespace: str, size: int) -> None:
        """A model of it has so much more, or less."""
        self.taken += size
        left = self.of(namespace) + size
        if left:
            self._by_namespace[namespace] = left
        else:
            self._by_namespace.pop(namespace, None)


class Share:
    """What one model has."""

    def __init__(self, common: Common, namespace: str) -> None:
        self._common = common
        self._namespace = namespace
        self._held = 0

    def take(self, size: int = 1, *, again: bool = False) -> bool:
        """Have so much more, if that may be; who had it and comes `again` needs no more than that it is there."""
        common = self._common
        free = common.limit - common.taken
        fits = size <= free
        if not again:
            fits = self._held + size <= free and common.of(self._namespace) + size <= _NAMESPACE * free
        if fits:
            self._held += size
            common.move(self._namespace, size)
        return fits

    def give_back(self, size: int = 1) -> None:
        """Have so much less."""
        self._held -= size
        self._common.move(self._namespace, -size)
