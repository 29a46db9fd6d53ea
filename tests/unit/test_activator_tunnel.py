"""One request's way: what goes on of its headers, and whose silence ends it."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from modelward_runtime.activator import tunnel
from modelward_runtime.activator.pods import Pod
from modelward_runtime.activator.tunnel import Tunnel
from modelward_runtime.connection import Connection
from modelward_runtime.errors import DeadlineExceeded
from modelward_runtime.request import Header, Request
from tests.unit.test_activator_upstream import pod
from tests.wire import Wire, head_of

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-hop, close\r\nX-Hop: 1\r\nX-End: 2\r\n\r\nok"


class Unread(Wire):
    """A caller who takes no answer."""

    def write(self, data: Any) -> None:
        super().write(data)
        self.connection.pause_writing()


def request(headers: list[Header], body: bytes = b"", kind: type[Wire] = Wire) -> tuple[Request, Wire]:
    """One that has come so far, and its caller."""
    got: list[Request] = []

    async def take(request: Request) -> None:
        got.append(request)
        await asyncio.Event().wait()

    wire = kind(take)
    wire.feed(head_of("POST", "/v2", {name.decode(): value.decode() for name, value in headers}) + body)
    return got[0] if got else wire.connection._current, wire  # type: ignore[return-value]


async def passed(request: Request, answer: bytes = ANSWER) -> int:
    async with pod(answer, ends=False) as pool:
        return await Tunnel(request, 1000).through(cast("Pod", SimpleNamespace(rest=pool)))


def test_headers_of_one_connection_end_here_and_no_others() -> None:
    sent = [
        (b"connection", b"keep-alive, x-mine, Authorization, content-length"),
        (b"x-mine", b"1"),
        (b"authorization", b"Bearer t"),
        (b"content-length", b"2"),
        (b"te", b"trailers"),
        (b"expect", b"100-continue"),
        (b"x-theirs", b"2"),
    ]
    head = Tunnel(Request(cast("Connection", None), "POST", b"/v2", sent), 1000)._head()
    expected = (
        b"POST /v2 HTTP/1.1\r\nauthorization: Bearer t\r\ncontent-length: 2\r\nx-theirs: 2\r\nhost: model\r\n\r\n"
    )
    assert expected == head


async def test_an_answer_is_passed_on_without_its_connection_and_closes_ours() -> None:
    asked, wire = request([])
    assert 200 == await passed(asked)
    assert b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-End: 2\r\nconnection: close\r\n\r\nok" == wire.sent
    assert wire.closed


async def test_who_never_sends_the_body_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "PATIENCE", 0.05)
    with pytest.raises(DeadlineExceeded, match="before the request's body arrived"):
        await asyncio.wait_for(passed(request([(b"content-length", b"10")])[0]), 40)


async def test_who_never_reads_the_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "SILENCE", 0.05)
    with pytest.raises(DeadlineExceeded, match="the caller did nothing"):
        await asyncio.wait_for(passed(request([], kind=Unread)[0], ANSWER[:-1]), 40)


async def test_a_pod_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "SILENCE", 0.05)
    async with pod(ends=False) as pool:
        with pytest.raises(DeadlineExceeded, match="the pod did nothing"):
            await asyncio.wait_for(Tunnel(request([])[0], 1000).through(cast("Pod", SimpleNamespace(rest=pool))), 40)
