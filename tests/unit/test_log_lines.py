"""Lines of the access log are written together at the end of the loop's turn, none is lost, and none overtakes another."""

import asyncio
import io
import json
import logging
import threading
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from modelward_runtime import accesslog
from modelward_runtime.log import JsonFormatter, LineHandler


class Stream(io.StringIO):
    """Counts writes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


@pytest.fixture(params=["the only handler", "one of several"])
def stream(request: pytest.FixtureRequest) -> Iterator[Stream]:
    made = Stream()
    handler = LineHandler(made)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    level, others = root.level, root.handlers[:]
    root.handlers[:] = [handler] if request.param == "the only handler" else [*others, handler]
    root.setLevel(logging.INFO)
    yield made
    root.handlers[:] = others
    root.setLevel(level)


def answered(path: str = "/v2") -> None:
    accesslog.record("rest", "GET", path, "200", 0.1, 1, 2)


async def test_a_turn_s_lines_are_one_write(stream: Stream) -> None:
    for number in range(5):
        answered(f"/{number}")
    assert 0 == stream.writes
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    lines = stream.getvalue().splitlines()
    assert (1, 5) == (stream.writes, len(lines))
    assert all(f'"path":"/{number}"' in line for number, line in enumerate(lines))
    answered()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 2 == stream.writes


async def test_a_line_that_may_not_wait_takes_those_before_it_along(stream: Stream) -> None:
    answered()
    logging.getLogger("modelward.test").warning("now")
    assert ["request", "now"] == [line.split('"message":"')[1].split('"')[0] for line in stream.getvalue().splitlines()]
    await asyncio.sleep(0)
    assert 1 == stream.writes


def test_without_a_loop_a_line_is_written_at_once(stream: Stream) -> None:
    answered()
    assert 1 == len(stream.getvalue().splitlines())


def test_a_line_says_what_was_asked_and_how_it_ended(stream: Stream) -> None:
    began = time.time()
    accesslog.record("grpc", "POST", '/v2/models/"x"/infer', "OK", 0.00001234, 10, 2)
    told = json.loads(stream.getvalue())
    assert began - 0.001 <= datetime.fromisoformat(told.pop("time")).timestamp() <= time.time()
    expected = {
        "level": "info",
        "logger": "modelward.access",
        "message": "request",
        "transport": "grpc",
        "method": "POST",
        "path": '/v2/models/"x"/infer',
        "code": "OK",
        "seconds": 0.000012,
        "requestBytes": 10,
        "responseBytes": 2,
    }
    assert (expected, list(expected)) == (told, list(told))


def test_a_level_keeps_the_log_out(stream: Stream) -> None:
    logging.getLogger().setLevel(logging.WARNING)
    answered()
    assert not stream.getvalue()


async def test_lines_of_other_threads_are_whole(stream: Stream) -> None:
    def many() -> None:
        for _ in range(200):
            answered()

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        answered()
        await asyncio.sleep(0)
    for thread in threads:
        await asyncio.to_thread(thread.join)
    logging.getLogger("modelward.test").warning("last")
    lines = stream.getvalue().splitlines()
    assert 1001 == len(lines)
    assert all(line.startswith("{") and line.endswith("}") for line in lines)
