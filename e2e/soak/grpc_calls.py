"""Visitors over gRPC, unary and streaming: sound, wrong, cancelled and hasty calls, and connections that are no gRPC at all.

Called by `visitors.py`, in a process of its own. The client is gRPC's own; the messages are those that tritonclient was generated from.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from tritonclient.grpc import service_pb2_grpc

from e2e.soak import grpc_messages
from e2e.soak.grpc_messages import BAD, OVERSIZE, Bad, Message
from e2e.soak.model import Questions, Sound
from e2e.soak.tally import Tally, Wrong

PATIENCE = 60.0
_METHOD = "/inference.GRPCInferenceService/"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
_RUDE_BYTES = [
    b"",
    _PREFACE[:10],
    _PREFACE,
    _PREFACE + _SETTINGS,
    _PREFACE + _SETTINGS + b"\0\0\4\0\0\0\0\0\1\0\0\0\0",  # DATA on a stream that nobody opened
    _PREFACE + _SETTINGS + b"\xff\xff\xff\1\4\0\0\0\1" + b"\xff" * 64,  # HEADERS of 16 MiB, not of HPACK
    _PREFACE + _SETTINGS + b"\0\0\4\1\5\0\0\0\1\xff\xff\xff\xff",  # HEADERS that do not decode
    b"GET / HTTP/1.1\r\nHost: soak\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


def connect(port: int) -> grpc.aio.Channel:
    """A channel with a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)


class Visitor:
    """One caller, on a channel that others may use as well."""

    def __init__(self, port: int, channel: grpc.aio.Channel, questions: Questions, tally: Tally, seed: str) -> None:
        self._port = port
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        self._garbage = channel.unary_unary(_METHOD + "ModelInfer")
        self._unknown = channel.unary_unary(_METHOD + "ModelGuess")
        self._questions = questions
        self._tally = tally
        self._random = random.Random(seed)

    async def visit(self) -> int:
        """Do one thing; return how many requests it was."""
        draw = self._random.random()
        work: Callable[[], Awaitable[int]]
        if draw < 0.62:
            work = self._sound
        elif draw < 0.78:
            work = self._wrong
        elif draw < 0.86:
            work = self._stream
        else:
            work = self._random.choice([self._cancelled, self._cancelled, self._hasty, self._broken, self._no_grpc])
        kind = f"gRPC, {work.__name__.strip('_')}"
        try:
            return await work()
        except grpc.RpcError as error:
            self._tally.find(kind, f"{error.code().name}: {error.details()}")
        except (Wrong, OSError, TimeoutError) as error:
            self._tally.find(kind, error)
        return 1

    def _make(self, sound: Sound) -> tuple[Message, str]:
        form = self._random.choice([grpc_messages.raw, grpc_messages.raw, grpc_messages.typed])
        return form(sound), form.__name__

    async def _sound(self) -> int:
        sound = self._questions.draw()
        message, form = self._make(sound)
        answer = await self._stub.ModelInfer(message, timeout=PATIENCE)
        self._tally.count(f"sound, {form}", "gRPC OK")
        self._hold(answer, sound)
        return 1

    def _hold(self, answer: Message, sound: Sound) -> None:
        if not grpc_messages.is_right(answer, sound):
            raise Wrong(f"{str(answer)[:300]} for x={sound.x.tolist()} k={sound.k.tolist()}")

    async def _wrong(self) -> int:
        bad = self._random.choice(BAD)
        await self._refused(bad.name, bad.says, self._stub.ModelInfer(bad.message, timeout=PATIENCE), bad.code)
        return 1

    async def _refused(self, name: str, says: str, call: Awaitable[Any], *codes: str) -> None:
        try:
            answer = await call
        except grpc.RpcError as error:
            self._tally.count(f"wrong, {name}", f"gRPC {error.code().name}")
            if error.code().name not in codes or not str(error.details()).startswith(says):
                raise Wrong(f"{name}: expected {codes} {says!r}, got {error.code().name} {error.details()}") from None
        else:
            raise Wrong(f"{name}: expected {codes}, got {str(answer)[:300]}")

    async def _broken(self) -> int:
        """Bytes that are no message, a message over the limit, a method that does not exist."""
        draw = self._random.random()
        if draw < 0.5:
            sent = grpc_messages.raw(self._questions.draw()).SerializeToString()[: self._random.randrange(5, 9)]
            call = self._garbage(sent + b"\xff\xff", timeout=PATIENCE)
            await self._refused("no message", "", call, "INVALID_ARGUMENT")
        elif draw < 0.6:
            call = self._stub.ModelInfer(OVERSIZE, timeout=PATIENCE)
            await self._refused("oversize", "", call, "RESOURCE_EXHAUSTED")
        else:
            await self._refused("no method", "", self._unknown(b"", timeout=PATIENCE), "UNIMPLEMENTED")
        return 1

    async def _stream(self) -> int:
        """Some requests on one stream, wrong ones among them: each gets its own answer, in order."""
        asked = [self._random.choice(BAD) if self._random.random() < 0.3 else self._questions.draw() for _ in range(5)]
        leaves_after = self._random.choice([None, None, None, 1, 3])

        async def requests() -> AsyncIterator[Message]:
            for one in asked:
                yield one.message if isinstance(one, Bad) else self._make(one)[0]

        call = self._stub.ModelStreamInfer(requests(), timeout=PATIENCE)
        number = 0
        async for answer in call:
            one = asked[number]
            self._tally.count("stream", "gRPC OK" if not answer.error_message else "gRPC error in a stream")
            if isinstance(one, Bad):
                if not answer.error_message.startswith(one.says):
                    raise Wrong(f"{one.name}: expected {one.says!r}, got {str(answer)[:300]}")
            else:
                self._hold(answer.infer_response, one)
            number += 1
            if number == leaves_after:
                call.cancel()
                self._tally.count("stream left", "gRPC none")
                return number + 1
        if number != len(asked):
            raise Wrong(f"{number} answers to {len(asked)} requests of a stream")
        return number

    async def _cancelled(self) -> int:
        """Cancelled at a random moment: its rows may be in a batch with others'."""
        call = self._stub.ModelInfer(self._make(self._questions.draw())[0], timeout=PATIENCE)
        await asyncio.sleep(self._random.choice([0, 0.0003, 0.001, 0.003]))
        call.cancel()
        self._tally.count("rude, cancelled", "gRPC none")
        return 1

    async def _hasty(self) -> int:
        """A deadline of a millisecond or so: the right answer, or none."""
        sound = self._questions.draw()
        try:
            answer = await self._stub.ModelInfer(
                self._make(sound)[0], timeout=self._random.choice([0.0005, 0.002, 0.01])
            )
        except grpc.RpcError as error:
            self._tally.count("rude, hasty", f"gRPC {error.code().name}")
            if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
                raise Wrong(f"expected DEADLINE_EXCEEDED, got {error.code().name} {error.details()}") from None
        else:
            self._tally.count("rude, hasty", "gRPC OK")
            self._hold(answer, sound)
        return 1

    async def _no_grpc(self) -> int:
        """A connection that says something else, or stops in the middle."""
        _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(self._random.choice(_RUDE_BYTES))
        await asyncio.sleep(self._random.choice([0, 0.001, 0.05]))
        self._random.choice([writer.close, writer.transport.abort])()
        self._tally.count("rude, no gRPC", "gRPC none")
        return 1


async def loiter(port: int, tally: Tally, chance: random.Random) -> None:
    """Half-open connections, again and again until cancelled."""
    while True:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(chance.choice(_RUDE_BYTES[:4]))
            await asyncio.sleep(chance.uniform(0.2, 2.0))
            tally.count("half-open, dropped", "gRPC none")
        finally:
            writer.transport.abort()
