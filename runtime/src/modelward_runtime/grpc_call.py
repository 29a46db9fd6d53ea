"""One call of gRPC on a stream of HTTP/2: its messages, its time, its end. What becomes of it, `grpc_service.py` knows.

Made by `http2` for each stream that a client opens.

      opened ─▶ who calls? (`grpc_door.py`) ─▶ messages ─▶ the method, mostly a task ─▶ answer | complete | fail
                        └──────────────┴── lost, refused: what is being done for nobody is cancelled
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from modelward_runtime.errors import ApiError, BadRequest, DeadlineExceeded
from modelward_runtime.grpc_head import ANSWER, OK, Head, ending, read_head
from modelward_runtime.grpc_message import PREFIX, Assembler, Message, whole
from modelward_runtime.http2.hpack import Fields
from modelward_runtime.http2.stream import Stream

if TYPE_CHECKING:
    from modelward_runtime.exchange import Exchange
    from modelward_runtime.grpc_door import Visitor
    from modelward_runtime.grpc_methods import Method
    from modelward_runtime.grpc_service import Service
    from modelward_runtime.http2.connection import Connection

Bytes = bytes | memoryview
_MOST_QUEUED: Final = 4  # messages of a stream that wait for their turn, before its client has to


class Call(Stream):
    """`method` and `visitor` are None until they are known; `deadline` is the caller's, in the event loop's time."""

    __slots__ = ("_assembler", "_began", "_begun", "_early", "_granted", "_over", "_queue", "_task", "_waiter",
                 "deadline", "exchange", "head", "method", "service", "started", "visitor")  # fmt: skip

    def __init__(self, connection: "Connection", number: int, window: int, allowance: int, service: "Service") -> None:
        super().__init__(connection, number, window, allowance)
        self.service = service
        self.method: Method | None = None
        self.exchange: Exchange | None = None  # the model that it was last for
        self.visitor: Visitor | None = None
        self.deadline: float | None = None
        self._early: list[bytes] = []  # what came before it was known who calls
        self._assembler: Assembler | None = None  # of a message that did not come whole
        self._queue: deque[Message] | None = None  # where there may be several
        self._task: asyncio.Task[None] | None = None
        self._begun = False  # the one message is with the method, or the first of several answers is on its way
        self._granted = False  # the client may send the one message to its end
        self._over = False  # what still comes is not looked at
        self._waiter: asyncio.Future[None] | None = None

    # What the connection tells

    def opened(self, fields: Fields) -> None:
        """A call begins."""
        self.started = time.perf_counter()
        self._began = self.service.time()
        head: Head = read_head(fields)
        self.head = head
        if head.timeout is not None:
            self.deadline = self._began + head.timeout
        if head.refusal:
            self.finish(((b":status", b"%d" % head.refusal),))
        else:
            self.service.enter(self)

    def overflowed(self) -> None:
        """Its fields are more than may be read."""
        text = b"the metadata is over the limit of 65536 bytes"
        self.finish(ANSWER, ((b"grpc-status", b"8"), (b"grpc-message", text)))

    def received(self, data: Bytes) -> None:
        """A piece of its body."""
        if self._over:
            return
        if self.visitor is None:
            self._early.append(bytes(data))
        else:
            self._read(data)

    def room(self) -> memoryview | None:
        """Where the rest of a large message belongs."""
        return self._assembler.room() if self._assembler is not None else None

    def filled(self, count: int) -> None:
        """A part of it is there."""
        assembler = self._assembler
        if assembler is None or self._over:
            return
        try:
            message = assembler.filled(count)
        except ApiError as error:
            self.refuse(error)
            return
        if message is not None:
            self._take(message)
        self._go_on()

    def drained(self) -> None:
        """What was sent is on its way."""
        self._wake()

    def ticked(self, _now: float) -> None:
        """Whether it takes too long, as far as the method does not look after that."""
        now, patience = self.service.time(), self.service.patience
        if self._queue is None and self._begun:
            if self.pending is not None and now > self._began + 2 * patience:
                self.reset()  # the client does not take its answer
            return
        latest = self.deadline
        if self._queue is None:
            latest = min(latest or math.inf, self._began + patience)
        if latest is not None and now > latest:
            self.refuse(DeadlineExceeded("the deadline passed before the request was complete"))

    def lost(self) -> None:
        """The client has gone."""
        if not self._begun and self._queue is None:
            self.service.forget(self)
        self._stop()

    # What the service does

    def welcome(self, visitor: "Visitor", *, several: bool) -> None:
        """It is known who calls: what has come is looked at. `several` messages may come."""
        self.visitor = visitor
        if several:
            self._queue = deque()
        if self._early:
            early, self._early = b"".join(self._early), []
            self._read(early)

    def work(self, doing: Coroutine[Any, Any, None]) -> None:
        """The method's work, which ends with the call."""
        self._task = self.service.loop.create_task(doing)

    def answer(self, parts: list[Bytes], size: int) -> None:
        """The one message of the answer."""
        prefix = b"\x00" + size.to_bytes(4, "big")
        self.connection.outbox.answer(self, ANSWER, [prefix, *parts], size + PREFIX, OK)

    async def send_message(self, parts: list[Bytes], size: int) -> None:
        """One of several. Returns when it is on its way."""
        if not self._begun:
            self._begun = True
            self.respond(ANSWER)
        self.send([b"\x00" + size.to_bytes(4, "big"), *parts], size + PREFIX)
        while self.pending is not None and not self.closed:
            await self._sleep()

    async def next_message(self) -> Message | None:
        """The next of several; None where the client has ended."""
        queue = self._queue
        while not queue:
            if queue is None or self.heard:
                return None
            await self._sleep()
        message = queue.popleft()
        self._go_on()
        return message

    def complete(self) -> None:
        """The end of several messages."""
        self.finish(OK if self._begun else ANSWER + OK)

    def fail(self, failure: ApiError) -> None:
        """End it with an error."""
        several = self._begun and self._queue is not None
        self.finish(() if several else ANSWER, ending(failure))

    def hear_no_more(self) -> None:
        """Nobody looks at what waits here, nor at what still comes."""
        self._over = True
        self._let_go()

    def refuse(self, failure: ApiError) -> None:
        """End it with an error from outside: what is being done for it is cancelled."""
        self._stop()
        self._over = True
        if not self.closed:
            self.service.refuse(self, failure)

    # Its own

    def _read(self, data: Bytes) -> None:
        if self._begun and self._queue is None:
            return  # one message was wanted
        if self._assembler is None:
            message = whole(data)
            if message is not None:
                self._take(Message(message, packed=False, hold=None))
            elif len(data):
                self._assembler = self.service.assembler(self)
        if self._assembler is not None:
            try:
                for found in self._assembler.feed(data):
                    self._take(found)
            except ApiError as error:
                self.refuse(error)
                return
            if self._begun and self._queue is None:
                self._assembler.drop()
        if self.heard:
            self._end()
        else:
            self._go_on()

    def _take(self, message: Message) -> None:
        """A message is complete."""
        if self._queue is not None:
            self._queue.append(message)
            self._wake()
        elif not self._begun:
            self._begun = True
            self.service.handle(self, message)
        else:
            message.give_back()

    def _end(self) -> None:
        """Nothing more will come."""
        if self._assembler is not None and not self._assembler.empty:
            self.refuse(BadRequest("the call ends within a message"))
        elif self._queue is not None:
            self._wake()
        elif not self._begun:
            self.refuse(BadRequest("the call has no message"))

    def _go_on(self) -> None:
        """Let the client send what the message at hand lacks, and of several as much as is usual."""
        assembler = self._assembler
        missing = assembler.missing if assembler is not None else 0
        if self._queue is None:
            if assembler is not None and assembler.knows and not (self._begun or self._granted):
                self._granted = (
                    True  # a frame that has begun counts as come for `allowance`, and as missing: once is enough
                )
                if self.allowance < missing:
                    self.allow(missing - self.allowance)
        elif len(self._queue) < _MOST_QUEUED and self.allowance < max(missing, self.service.window >> 1):
            self.allow(max(missing, self.service.window) - self.allowance)

    def _stop(self) -> None:
        """Nobody waits any more."""
        self._let_go()
        task = self._task
        if task is not None and not task.done():
            self.connection.working += 1
            task.add_done_callback(self._rest)
            self.service.loop.call_soon(task.cancel)  # not before it has begun: what it was given, it gives back

    def _let_go(self) -> None:
        """Of what it holds for who would read it."""
        for message in self._queue or ():
            message.give_back()
        if self._assembler is not None:
            self._assembler.drop()

    def _rest(self, _task: "asyncio.Task[None]") -> None:
        self.connection.working -= 1

    async def _sleep(self) -> None:
        self._waiter = self.service.loop.create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
