"""Cuts the body of a gRPC call into its messages: a byte that says whether it is packed, four for its length, and so many bytes.

Used by `grpc_call.py`. A message that comes whole is cut out of what was read; a larger one gets memory of its own, to which the connection
reads, and which counts against the budget of all bodies as it fills. Raw tensors stand at a message's end: there it is aligned, so that
numpy takes them as they lie. Source: gRPC over HTTP/2, "Requests".
"""

from typing import Final, NamedTuple

from modelward_runtime.aligned import make_aligned
from modelward_runtime.budget import Budget, Hold
from modelward_runtime.errors import ApiError, BadRequest, BodyTooLarge, UnsupportedMedia
from modelward_runtime.unpacking import WINDOW_BITS, unpack

Bytes = bytes | memoryview
PREFIX: Final = 5
_SMALL: Final = 1 << 16


class Message(NamedTuple):
    """One of them. `hold` is its share of the budget, None where it has none yet."""

    data: Bytes
    packed: bool
    hold: Hold | None

    def give_back(self) -> None:
        """Nobody will look at it."""
        if self.hold is not None:
            self.hold.give_back()


class Assembler:
    """One call's. `limit` is the size of a message that is taken."""

    __slots__ = ("_budget", "_filled", "_hold", "_limit", "_packed", "_prefix", "_target")

    def __init__(self, limit: int, budget: Budget) -> None:
        self._limit = limit
        self._budget = budget
        self._prefix = b""
        self._packed = False
        self._target: memoryview | None = None
        self._filled = 0
        self._hold: Hold | None = None

    @property
    def missing(self) -> int:
        """Bytes that the message at hand lacks, as far as they are known."""
        if self._target is None:
            return PREFIX - len(self._prefix)
        return len(self._target) - self._filled

    @property
    def knows(self) -> bool:
        """How large the message at hand is."""
        return self._target is not None

    @property
    def empty(self) -> bool:
        """No message has begun."""
        return self._target is None and not self._prefix

    def feed(self, data: Bytes) -> list[Message]:
        """The messages that are complete now. Raises `ApiError`."""
        messages: list[Message] = []
        try:
            self._cut(data, messages)
        except ApiError:
            for message in messages:
                message.give_back()
            raise
        return messages

    def room(self) -> memoryview | None:
        """Where the rest of the message at hand goes."""
        return self._target[self._filled :] if self._target is not None else None

    def filled(self, count: int) -> Message | None:
        """So many bytes stand there; the message, if it is complete. Raises `BodiesFull`."""
        target = self._target
        if target is None:
            raise AssertionError("nothing was to be filled")
        self._filled += count
        if self._hold is not None:
            self._hold.reach(self._filled)
        if self._filled < len(target):
            return None
        hold, self._hold, self._target = self._hold, None, None
        return Message(target, self._packed, hold)

    def drop(self) -> None:
        """Nobody wants the rest."""
        if self._hold is not None:
            self._hold.give_back()
        self._hold = self._target = None

    def _cut(self, data: Bytes, messages: list[Message]) -> None:
        position, end = 0, len(data)
        while position < end:
            if self._target is None:
                taken = min(PREFIX - len(self._prefix), end - position)
                self._prefix += data[position : position + taken]
                position += taken
                if len(self._prefix) < PREFIX:
                    break
                size = self._begin()
                if size <= end - position:
                    messages.append(Message(bytes(data[position : position + size]), self._packed, None))
                    position += size
                    continue
                self._allocate(size)
            elif self._target is not None:
                taken = min(len(self._target) - self._filled, end - position)
                self._target[self._filled : self._filled + taken] = data[position : position + taken]
                position += taken
                message = self.filled(taken)
                if message is not None:
                    messages.append(message)

    def _begin(self) -> int:
        """A prefix is complete: the message's size."""
        prefix, self._prefix = self._prefix, b""
        if prefix[0] > 1:
            raise BadRequest("a message's prefix is none of gRPC's")
        self._packed = prefix[0] == 1
        size = int.from_bytes(prefix[1:], "big")
        if size > self._limit:
            raise BodyTooLarge(self._limit)
        return size

    def _allocate(self, size: int) -> None:
        self._filled = 0
        self._hold = self._budget.hold()
        if size <= _SMALL:
            self._target = memoryview(bytearray(size))
            return
        self._target = make_aligned(size, at=size)


def unpacked(message: Message, packing: str, limit: int, hold: Hold) -> bytes:
    """What a packed message holds, whose call says how. Raises `ApiError`."""
    check_packing(packing)
    return unpack(message.data, packing, limit, hold)


def check_packing(packing: str) -> None:
    """Refuse what a call's messages are packed with, where nobody here knows it."""
    if packing not in WINDOW_BITS:
        raise UnsupportedMedia("this content encoding is not understood, send gzip, deflate or none")


def whole(data: Bytes) -> bytes | None:
    """The one message that this is, unpacked and nothing more; None of anything else."""
    if len(data) >= PREFIX and not data[0] and len(data) == PREFIX + int.from_bytes(data[1:PREFIX], "big"):
        return bytes(data[PREFIX:])
    return None
