"""Bodies that callers packed: what comes out, when it is given up, and that the event loop goes on meanwhile."""

import asyncio
import gzip
import random
import threading
import zlib

import pytest

from modelward_runtime import unpacking
from modelward_runtime.budget import Budget
from modelward_runtime.errors import ApiError, BadRequest, BodiesFull, BodyTooLarge, DeadlineExceeded
from modelward_runtime.stepping import Unfinished, take_first_step
from modelward_runtime.unpacking import Unpacking, unpack, unpack_by
from tests.brief import brief
from tests.loop_clock import LATER, put_forward
from tests.until import PATIENCE, until

LIMIT = 64 << 20
FAR = 1e12
"""A deadline that does not come."""


def budget() -> Budget:
    return Budget(2 * LIMIT)


@pytest.mark.parametrize("size", [0, 1, 1 << 16, 1 << 18, (1 << 18) + 1, 1 << 22, (9 << 20) + 5])
@pytest.mark.parametrize("kind", ["zeros", "noise"])
async def test_what_was_packed_comes_out_however_large_it_is(size: int, kind: str) -> None:
    body = bytes(size) if kind == "zeros" else random.Random(1).randbytes(size)
    for packing, packed in (("gzip", gzip.compress(body, 1)), ("deflate", zlib.compress(body, 1))):
        with budget().hold() as hold:
            assert body == await unpack_by(FAR, packed, packing, LIMIT, hold)
            if size:
                assert body == await unpack_by(FAR, packed, packing, size, hold), "of the very limit"


WRONG: list[tuple[str, bytes, type[ApiError]]] = [
    ("one byte over the limit", gzip.compress(bytes(5001), mtime=0), BodyTooLarge),
    ("a bomb", gzip.compress(bytes(10_000_000), mtime=0), BodyTooLarge),
    ("garbage", b"garbage", BadRequest),
    ("cut", gzip.compress(b"abc", mtime=0)[:-1], BadRequest),
    ("followed by more", gzip.compress(b"abc", mtime=0) + b"x", BadRequest),
    ("followed by another", gzip.compress(b"abc", mtime=0) + gzip.compress(b"abc", mtime=0), BadRequest),
    ("nothing", b"", BadRequest),
]


@pytest.mark.parametrize(("reason", "body", "error"), WRONG, ids=[row[0] for row in WRONG])
async def test_what_cannot_be_unpacked_is_refused(reason: str, body: bytes, error: type[ApiError]) -> None:
    with budget().hold() as hold, pytest.raises(error):
        await unpack_by(FAR, body, "gzip", 5000, hold)
    with budget().hold() as hold, pytest.raises(error):
        unpack(body, "gzip", 5000, hold)


async def test_a_bomb_is_refused_also_where_no_task_is_yet() -> None:
    """A request's first step is taken in the turn that brought it."""
    with budget().hold() as hold:
        firsts = list[object]()
        work = unpack_by(FAR, gzip.compress(bytes(8 << 20)), "gzip", 1 << 20, hold)
        asyncio.get_running_loop().call_soon(lambda: firsts.append(take_first_step(work)))
        await asyncio.sleep(0)
        (first,) = firsts
        assert isinstance(first, Unfinished)
        with pytest.raises(BodyTooLarge):
            await first


async def test_a_budget_that_is_full_ends_it() -> None:
    with Budget(1 << 20).hold() as hold, pytest.raises(BodiesFull):
        await unpack_by(FAR, gzip.compress(bytes(8 << 20)), "gzip", LIMIT, hold)


async def test_a_small_body_that_holds_a_large_one_does_not_keep_the_event_loop() -> None:
    """62 KB hold 64 MB, which take a fifth of a second to unpack: it is the thread's."""
    packed = gzip.compress(bytes(LIMIT))
    assert len(packed) <= 1 << 16
    here = threading.get_ident()

    class Hold:
        """Tells on which thread how much was unpacked at most."""

        most = 0

        def reach(self, size: int) -> None:
            if threading.get_ident() == here:
                self.most = size

    for work in brief(0.1):
        told = Hold()
        with work.measured():
            whole = await unpack_by(FAR, packed, "gzip", LIMIT, told)  # type: ignore[arg-type]
        assert LIMIT == len(whole)
        assert told.most <= len(packed) + (1 << 18)


async def test_who_is_late_is_told_so_and_the_thread_ends_with_its_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces, go_on, ended = [0], threading.Event(), threading.Event()

    class Slow(Unpacking):
        """One that takes its time for the second piece."""

        def whole(self) -> bytes:
            try:
                self.go_on(1 << 22)
                pieces[0] += 1
                assert go_on.wait(PATIENCE)
                return super().whole()
            finally:
                ended.set()

    monkeypatch.setattr(unpacking, "Unpacking", Slow)
    body, room = gzip.compress(random.Random(1).randbytes(100_000) * 400, 1), budget()
    deadline = asyncio.get_running_loop().time() + LATER
    with room.hold() as hold:
        late = asyncio.ensure_future(unpack_by(deadline, body, "gzip", LIMIT, hold))
        await until(lambda: pieces[0])
        put_forward(monkeypatch)
        with pytest.raises(DeadlineExceeded, match="before the request was unpacked"):
            await late
    assert (1, 0) == (pieces[0], room.held), "what it held is given back at once"
    go_on.set()
    assert await asyncio.to_thread(ended.wait, PATIENCE)
    assert 0 == room.held, "the thread could take no more"
