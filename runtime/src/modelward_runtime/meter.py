"""How much the model has to do: the requests in flight and queued, now and over time. What an autoscaler asks for at GET /load.

`exchange.py` counts requests in and out, on the event loop's thread; `admin.py` answers with what is here. It must not know who calls
nor what is asked for.

The integral of the concurrency over time is what tells: two answers give the exact mean between them, whoever asked in between, and an
answer that was lost loses nothing. A hanging request (`reach`) is the push: it is answered the moment that so many are in flight, so
that nobody opens a connection from here, and no process speaks for another.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec

LONGEST_WAIT = 60.0
"""Seconds that an answer may be waited for."""
_MOST = 1e6


class Ask(msgspec.Struct, frozen=True):
    """What one who asks waits for: so many requests at once, or so many seconds."""

    above: float = float("inf")
    wait: float = 0.0


class Meter:
    """The requests of one process. `clock` counts seconds from anywhere."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._concurrency = 0
        self._busy = 0.0
        self._finished = 0
        self._lingering = 0  # answered at once, in this turn of the event loop
        self._entered = self._turn_began = self._counted = 0.0
        self._changed = self._left = clock()
        self._threshold = float("inf")
        self._waiting: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def concurrency(self) -> int:
        """Requests in flight and queued now."""
        return self._concurrency

    def begin(self) -> None:
        """The process can be called from now on: as long as it loaded, it was not idle."""
        self._left = self._clock()

    def enter(self) -> None:
        """One more request is being worked on."""
        self._advance()
        self._entered = self._changed
        self._concurrency += 1
        if self._concurrency >= self._threshold:
            self._let_go()

    def leave(self) -> None:
        """One of them was answered, or given up."""
        self._advance()
        self._concurrency -= 1
        self._finished += 1
        self._left = self._changed

    def put_off(self) -> None:
        """It is not worked on any more and not answered either: it will enter again."""
        self._advance()
        self._concurrency -= 1

    def answer_at_once(self) -> None:
        """The one that entered last was answered before the event loop could look at another.

        Those behind it wait unseen meanwhile, in the kernel's buffers: at most one would ever be in flight, however many call. So it stays
        until the turn is over, as do all of the same turn, and each counts for the whole of it.
        """
        self._advance()
        if not self._lingering:
            self._turn_began, self._counted = self._entered, 0.0
            asyncio.get_running_loop().call_soon(self._end_turn)
        self._counted += self._changed - self._entered
        self._lingering += 1

    def _end_turn(self) -> None:
        self._advance()
        answered, self._lingering = self._lingering, 0
        self._busy += max(0.0, answered * (self._changed - self._turn_began) - self._counted)
        self._concurrency -= answered
        self._finished += answered
        self._left = self._changed

    async def reach(self, ask: Ask) -> None:
        """Return when `ask.above` requests are in flight, after `ask.wait` seconds, when somebody else waits, or when closed."""
        if not ask.wait or self._closed:
            return
        self._let_go()  # one waits at a time, the newest: who was forgotten by its asker keeps nobody out
        if self._concurrency >= ask.above:
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting, self._threshold = waiting, ask.above
        try:
            await asyncio.wait({waiting}, timeout=ask.wait)
        finally:
            waiting.cancel()
            if self._waiting is waiting:
                self._let_go()

    def close(self) -> None:
        """The process ends: whoever waits is answered, and nobody waits any more."""
        self._closed = True
        self._let_go()

    def to_json(self) -> bytes:
        """The body of GET /load."""
        now = self._clock()
        busy = self._busy + self._concurrency * (now - self._changed)
        return msgspec.json.encode(
            {
                "now": round(now, 6),
                "concurrency": self._concurrency,
                "busySeconds": round(busy, 6),
                "requests": self._finished,
                "idleSeconds": 0.0 if self._concurrency else round(now - self._left, 6),
            }
        )

    def _advance(self) -> None:
        now = self._clock()
        passed = now - self._changed
        self._busy += self._concurrency * passed
        self._counted += self._lingering * passed
        self._changed = now

    def _let_go(self) -> None:
        self._threshold = float("inf")
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        self._waiting = None


def parse_ask(query: str) -> Ask:
    """Read `above=N&wait=S`, either of which may be absent. Raises ValueError that says what is allowed."""
    given: dict[str, float] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name not in {"above", "wait"} or name in given or not _is_decimal(value):
            raise ValueError("the query is above=N and wait=S, each a decimal number and each at most once")
        given[name] = float(value)
    ask = Ask(**given)
    if ask.wait > LONGEST_WAIT or given.get("above", 0.0) > _MOST:
        raise ValueError(f"wait is at most {LONGEST_WAIT:.0f} seconds, above at most {_MOST:.0f}")
    return ask


def _is_decimal(text: str) -> bool:
    whole, _, rest = text.partition(".")
    return len(text) <= 16 and whole.isascii() and whole.isdigit() and (not rest or (rest.isascii() and rest.isdigit()))
