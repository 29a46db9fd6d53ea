"""The soak's own judgement: it finds leaks, wrong answers and ends where there are some, and none where there are none."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from e2e.soak import grpc_messages, rest_bytes
from e2e.soak.judge import Seen, cut, judge
from e2e.soak.model import Questions
from e2e.soak.tally import Tally
from e2e.soak.watch import Sample
from e2e.soak.wire import Answer, Gone, Wire

MIB = 1 << 20


def look(requests: int, *, rss: float = 100, own: float = 50, descriptors: int = 40, threads: int = 11) -> Sample:
    return Sample(requests, requests / 1000, round(rss * MIB), round(own * MIB), descriptors, threads, requests / 2000)


def seen(samples: list[Sample], **changes: object) -> Seen:
    idle = look(0, descriptors=22)
    sound = Seen(idle, samples, idle, Tally(), alive=True, in_flight=0, waiting=0, traces=[])
    return replace(sound, **changes)  # type: ignore[arg-type]


STEADY = [look(n * 1000, rss=100 + n % 3) for n in range(101)]


def held(found: Seen) -> dict[str, bool]:
    return {verdict.what.split(" ")[0] + " " + verdict.what.split(" ")[1]: verdict.held for verdict in judge(found)}


def test_a_steady_server_holds() -> None:
    assert all(held(seen(STEADY)).values())
    assert 10 == len(cut(STEADY))


@pytest.mark.parametrize(
    ("reason", "failing", "found"),
    [
        ("80 bytes a request leak", "resident memory", seen([look(n * 1000, rss=100 + n * 0.08) for n in range(101)])),
        ("our own memory grows, pages of files go", "anonymous memory", seen([look(n * 1000, own=50 + n * 0.08) for n in range(101)])),
        ("it sinks, and grows again", "resident memory", seen([look(n * 1000, rss=100 + abs(n - 50) * 0.2) for n in range(101)])),
        ("sockets stay open", "no descriptor", seen(STEADY, after=look(10**5, descriptors=23))),
        ("ever more under load", "no descriptor", seen([look(n * 1000, descriptors=40 + n) for n in range(101)])),
        ("threads stay", "threads do", seen(STEADY, after=look(10**5, descriptors=22, threads=16))),
        ("it died", "the process", seen(STEADY, alive=False)),
        ("somebody is still being answered", "the process", seen(STEADY, in_flight=1)),
        ("somebody waits for ever", "the process", seen(STEADY, waiting=1)),
        ("a traceback", "its log", seen(STEADY, traces=["Traceback …"])),
        ("one wrong answer", "every answer", seen(STEADY, tally=Tally(found=1))),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_said(reason: str, failing: str, found: Seen) -> None:
    assert [failing] == [what for what, holds in held(found).items() if not holds], reason


def test_an_answer_with_anothers_row_is_wrong() -> None:
    questions = Questions(1, 0, 2)
    mine = next(one for one in iter(questions.draw, None) if len(one.k) == 1)
    other = next(one for one in iter(questions.draw, None) if len(one.k) == 1)
    for given, expected in ((mine, True), (other, False)):
        outputs = [
            {"name": "y", "datatype": "FP32", "shape": [1, 3], "data": given.y.ravel().tolist()},
            {"name": "z", "datatype": "FP32", "shape": [1, 4], "data": given.z.ravel().tolist()},
        ]
        body = rest_bytes._encode({"outputs": outputs})
        assert expected == rest_bytes.is_right(Answer(200, b"", body), mine)
        message = pb.ModelInferResponse()
        for output in outputs:
            tensor = message.outputs.add(name=output["name"], datatype="FP32", shape=output["shape"])
            tensor.contents.fp32_contents.extend(output["data"])
        assert expected == grpc_messages.is_right(message, mine)
    assert not rest_bytes.is_right(Answer(500, b"", b"{}"), mine)


def test_rows_are_told_apart_by_number() -> None:
    one, two = Questions(1, 0, 2), Questions(1, 1, 2)
    numbers = np.concatenate([questions.draw().x[:, 0] for questions in (one, two) for _ in range(500)])
    assert len(numbers) == len(set(numbers.tolist()))


async def test_answers_that_come_in_pieces_or_together_are_read_apart() -> None:
    first = b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: 1\r\nContent-Length: 5\r\n\r\nhello"
    second = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in (first[:30], first[30:] + second + second[:9], second[9:]):
            writer.write(part)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    wire = await Wire.open(server.sockets[0].getsockname()[1])
    assert [(200, b"hello"), (503, b""), (503, b"")] == [
        (one.status, one.body) for one in [await wire.answer() for _ in range(3)]
    ]
    with pytest.raises(Gone, match="closed without an answer"):
        await wire.answer()
    wire.close()
    server.close()
    await server.wait_closed()
