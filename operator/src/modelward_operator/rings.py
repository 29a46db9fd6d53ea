"""Which pass answers a ring: an id is made with the first ring for a key, and is that of the pass that takes the key.

    doorbell, bells, autoscaler ──add──▶ queue ──▶ worker ──take──▶ the id that was logged with the ring

Made by parts.py, asked by main.py's workers. It decides nothing: the queue does. A pass for which nobody rang (a retry, a look that was
due) has an id of its own.
"""

import itertools
import logging

from modelward_operator.facts import Key
from modelward_operator.workqueue import Priority, WorkQueue

logger = logging.getLogger(__name__)


class Rings:
    """Puts keys on the queue, and remembers the id of each key that waits. `identity` is unique among the operator's replicas."""

    def __init__(self, queue: WorkQueue[Key], identity: str) -> None:
        self._queue, self._identity = queue, identity
        self._waiting: dict[Key, str] = {}
        self._numbers = itertools.count(1)

    def add(self, key: Key, priority: Priority = Priority.LIVE) -> None:
        """Ring for a key."""
        self._queue.add(key, priority)
        number = self._waiting.get(key) or self._waiting.setdefault(key, self._next())
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("rung", extra={"pass": number, "key": str(key)})

    def take(self, key: Key) -> str:
        """Return the id of the pass that begins for this key."""
        number = self._waiting.pop(key, "") or self._next()
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("taken", extra={"pass": number, "key": str(key)})
        return number

    def _next(self) -> str:
        return f"{self._identity}-{next(self._numbers)}"
