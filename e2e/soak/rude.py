"""Callers over REST who are rude or slow, each on a connection of its own; what they may still expect is held to.

Called by `rest.py`, and by `visitors.py` for those who loiter all the while.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from e2e.soak import rest_bytes
from e2e.soak.model import Questions
from e2e.soak.rest_bytes import LIMIT
from e2e.soak.tally import Tally, Wrong
from e2e.soak.wire import PATIENCE, Gone, Wire


@dataclass(frozen=True)
class Place:
    """Where they go, what they ask, where it is counted, and by what chance they choose."""

    port: int
    questions: Questions
    tally: Tally
    chance: random.Random


async def hung_up_in_the_body(place: Place) -> int:
    """Gone in the middle of a body, with a goodbye or without."""
    wire = await Wire.open(place.port)
    sent = rest_bytes.flat(place.questions.draw())
    wire.send(sent[: place.chance.randrange(10, len(sent))])
    await asyncio.sleep(place.chance.choice([0, 0, 0.002]))
    place.chance.choice([wire.close, wire.reset])()
    place.tally.count("rude, gone in the body", "REST none")
    return 1


async def hung_up_before_the_answer(place: Place) -> int:
    """A whole sound request, and gone at a random moment: its rows may be in a batch with others'."""
    wire = await Wire.open(place.port)
    wire.send(rest_bytes.flat(place.questions.draw()))
    await asyncio.sleep(place.chance.choice([0, 0.0003, 0.001, 0.003]))
    place.chance.choice([wire.close, wire.reset])()
    place.tally.count("rude, gone before the answer", "REST none")
    return 1


async def half_closed(place: Place) -> int:
    """The sending half is closed after a sound request: answered rightly, or let go of."""
    wire, sound = await Wire.open(place.port), place.questions.draw()
    wire.send(rest_bytes.flat(sound))
    wire.half_close()
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await wire.answer()
    except Gone:
        place.tally.count("rude, half closed", "REST none")
        return 1
    place.tally.count("rude, half closed", f"REST {answer.status}")
    if not rest_bytes.is_right(answer, sound):
        raise Wrong(f"{answer.status} {answer.body[:300]!r}")
    wire.close()
    return 1


async def slow(place: Place) -> int:
    """A sound request in pieces, a head that drips included."""
    wire, sound = await Wire.open(place.port), place.questions.draw()
    sent = rest_bytes.nested(sound)
    cuts = sorted(place.chance.sample(range(1, len(sent)), 3))
    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        wire.send(sent[start:end])
        await asyncio.sleep(place.chance.choice([0, 0.002, 0.02]))
    async with asyncio.timeout(PATIENCE):
        answer = await wire.answer()
    place.tally.count("rude, slow sender", f"REST {answer.status}")
    if not rest_bytes.is_right(answer, sound):
        raise Wrong(f"{answer.status} {answer.body[:300]!r}")
    wire.close()
    return 1


async def expecting(place: Place) -> int:
    """`Expect: 100-continue`, as curl sends it."""
    wire, sound = await Wire.open(place.port), place.questions.draw()
    head, _, body = rest_bytes.flat(sound).partition(b"\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        first = await wire.ask(head + b"\r\nExpect: 100-continue\r\n\r\n")
        if first.status != 100:
            raise Wrong(f"expected 100, got {first.status}")
        answer = await wire.ask(body)
    place.tally.count("sound, Expect", f"REST {answer.status}")
    if not rest_bytes.is_right(answer, sound):
        raise Wrong(f"{answer.status} {answer.body[:300]!r}")
    wire.close()
    return 1


async def endless_chunks(place: Place) -> int:
    """Chunks without end: refused when they are over the limit."""
    wire = await Wire.open(place.port)
    wire.send(rest_bytes.post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
    chunk = b"10000\r\n%b\r\n" % (b" " * 65536)
    for _ in range(LIMIT // 65536 + 2):
        wire.send(chunk)
    async with asyncio.timeout(PATIENCE):
        answer = await wire.answer()
    place.tally.count("wrong, endless chunks", f"REST {answer.status}")
    wire.reset()
    if answer.status != 413:
        raise Wrong(f"expected 413, got {answer.status} {answer.body[:300]!r}")
    return 1


RUDE: list[Callable[[Place], Awaitable[int]]] = [
    hung_up_in_the_body,
    hung_up_before_the_answer,
    hung_up_before_the_answer,
    half_closed,
    slow,
    slow,
    expecting,
    endless_chunks,
]


async def loiter(port: int, tally: Tally, chance: random.Random) -> None:
    """Half-open sockets, until cancelled: silent, in a head, in a body; dropped, or waited for until the server gives up."""
    promise = rest_bytes.post(b"x" * 100)[:-100]
    while True:
        wire = await Wire.open(port)
        with_patience = chance.random() < 0.3
        try:
            if with_patience:
                wire.send(promise + b'{"inputs":'[: chance.randrange(10)])
                async with asyncio.timeout(PATIENCE):
                    answer = await wire.answer()
                tally.count("half-open, waited for", f"REST {answer.status}")
                if answer.status != 504:
                    tally.find("REST, half-open", f"expected 504, got {answer}")
            else:
                wire.send(chance.choice([b"", b"POST /v2/mod", promise[:-2], promise]))
                await asyncio.sleep(chance.uniform(0.2, 2.0))
                tally.count("half-open, dropped", "REST none")
        except (Gone, TimeoutError) as error:
            tally.find("REST, half-open", error)
        finally:
            chance.choice([wire.close, wire.reset])()
