"""Carries one gRPC call to a pod and its answer back, piece by piece, as they come: nothing of a message is gathered.

Used by `grpc_proxy.py`. A call is put on a connection that stands; what fails from then on is told to the caller and never tried again. A
pod's own word (any status, with its trailers) is repeated as it is; that its stream or connection ended is said in our words.
"""

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from modelward_runtime.activator.calling import Call
from modelward_runtime.activator.errors import PodLost
from modelward_runtime.activator.framing import Sizes
from modelward_runtime.activator.pods import Pod
from modelward_runtime.activator.tunnel import PATIENCE, SILENCE
from modelward_runtime.errors import ApiError, DeadlineExceeded
from modelward_runtime.grpc_head import ANSWER, OK
from modelward_runtime.http2.client import Exchange
from modelward_runtime.http2.hpack import Fields
from modelward_runtime.http2.pieces import Lost

T = TypeVar("T")
_OURS: Final = frozenset({b":authority", b"te", b"grpc-timeout", b"content-length", b"host"})
_TE: Final = (b"te", b"trailers")


async def carry(pod: Pod, call: Call, limit: int, *, several: bool) -> bytes:
    """Put a call on a pod's connection and bring the answer; the pod's grpc-status.

    Raises `ConnectFailed` before anything is sent, `ApiError`; `Lost` where the caller has gone. Of a call of one message both sides are
    to do something now and then; of `several`, nobody knows when the next one comes.
    """
    path = call.head.path.encode("latin-1")
    begins: Fields = ((b":method", b"POST"), (b":scheme", pod.grpc.scheme), (b":path", path))
    connection = await pod.grpc.connect()
    upstream = connection.request(begins, _passed(call))
    rising = _Rising(call, upstream, Sizes(limit), None if several else PATIENCE)
    try:
        return await _fall(call, upstream, None if several else SILENCE)
    except Lost:
        if call.closed:
            raise
        raise rising.failure or PodLost() from None
    finally:
        rising.end()
        upstream.close()


def _passed(call: Call) -> Fields:
    """All that a caller says but what belongs to its connection; of its deadline, what is left."""
    said = dict(call.fields)
    fields = [(b":authority", said.get(b":authority") or said.get(b"host") or b"model"), _TE]
    fields += [field for field in call.fields if field[0] not in _OURS and not field[0].startswith(b":")]
    if call.deadline is not None:
        left = max(1, round(1000 * (call.deadline - asyncio.get_running_loop().time())))
        fields.append((b"grpc-timeout", b"%dm" % left if left < 10**8 else b"%dS" % min(left // 1000, 10**8 - 1)))
    return tuple(fields)


class _Rising:
    """What the caller sends, on its way up. `failure` is why it ended too soon."""

    def __init__(self, call: Call, upstream: Exchange, sizes: Sizes, patience: float | None) -> None:
        self.failure: ApiError | None = None
        self._call, self._upstream, self._sizes = call, upstream, sizes
        self._patience = patience
        self._task = asyncio.ensure_future(self._rise())

    def end(self) -> None:
        """Nobody wants the rest."""
        self._task.cancel()

    async def _rise(self) -> None:
        call, upstream = self._call, self._upstream
        try:
            while piece := await _in_time(
                call.piece(), self._patience, "the deadline passed before the call's message arrived"
            ):
                self._sizes.check(piece)
                call.received_bytes += len(piece)
                await upstream.write(piece)
            upstream.end()
        except ApiError as error:
            self.failure = error
            upstream.close()
        except Lost:
            upstream.close()


async def _fall(call: Call, upstream: Exchange, silence: float | None) -> bytes:
    """The answer, on its way down."""
    silent = f"the pod said nothing for {silence:g} s" if silence else ""
    head = await _in_time(upstream.head(), silence, silent)
    if upstream.bare:
        call.finish(head[:1], head[1:])
        return _status(head)
    known = ANSWER if head[:2] == ANSWER else head[:1]
    call.begin(known, head[len(known) :])
    while piece := await _in_time(upstream.piece(), silence, silent):
        call.sent_bytes += len(piece)
        await _in_time(call.write(piece), SILENCE, f"the caller read nothing for {SILENCE:g} s")
    if upstream.trailers == OK:
        call.finish(OK)
    else:
        call.finish((), upstream.trailers)
    return _status(upstream.trailers)


def _status(fields: Fields) -> bytes:
    return dict(fields).get(b"grpc-status", b"2")


async def _in_time(step: Awaitable[T], seconds: float | None, late: str) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await step
    except TimeoutError:
        raise DeadlineExceeded(late) from None
