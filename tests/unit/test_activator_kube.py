"""The watch's order of events, step by step; against a real API server it is in tests/integration/test_activator_watch.py."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Any, cast

import pytest

from modelward_runtime.access.identity import Unreachable
from modelward_runtime.activator.kube import Api, Gone, Watcher
from modelward_runtime.activator.table import ConfigMap


class Script:
    """An API that says what it is told to, one step after the other."""

    def __init__(self, *steps: Any) -> None:
        self.steps, self.asked = list(steps), list[str]()
        self.over = asyncio.Event()

    def _next(self, path: str) -> Any:
        self.asked.append(path)
        if not self.steps:
            self.over.set()
            raise asyncio.CancelledError
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    async def get(self, path: str) -> bytes:
        return json.dumps(self._next(path)).encode()

    async def lines(self, path: str, _silence: float) -> AsyncIterator[bytes]:
        for line in self._next(path):
            if isinstance(line, Exception):
                raise line
            yield json.dumps(line).encode()


class Sink:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def reset(self, objects: Iterable[ConfigMap]) -> None:
        self.seen.append(("reset", [one.metadata.name for one in objects]))

    def put(self, one: ConfigMap) -> None:
        self.seen.append(("put", one.metadata.name))

    def drop(self, one: ConfigMap) -> None:
        self.seen.append(("drop", one.metadata.name))


def named(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def page(version: int, *names: str, more: str = "") -> dict[str, Any]:
    return {"metadata": {"resourceVersion": str(version), "continue": more}, "items": [named(n, 1) for n in names]}


async def followed(monkeypatch: pytest.MonkeyPatch, *steps: Any) -> tuple[Script, list[Any]]:
    async def at_once(_seconds: float, _sleep: Callable[[float], Any] = asyncio.sleep) -> None:
        await _sleep(0)

    monkeypatch.setattr("modelward_runtime.activator.kube.asyncio.sleep", at_once)
    script, sink = Script(*steps), Sink()
    watcher = Watcher(cast("Api", script), "/things", "a=b", ConfigMap, sink, lambda: None, page=2)
    with suppress(asyncio.CancelledError):
        await watcher.run()
    return script, sink.seen


async def test_a_list_is_read_to_its_end_and_watched_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [
        {"type": "ADDED", "object": named("c", 11)},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "15"}}},
        {"type": "DELETED", "object": named("a", 16)},
    ]
    script, seen = await followed(monkeypatch, page(9, "a", more="x"), page(10, "b"), events, [])
    assert [("reset", ["a", "b"]), ("put", "c"), ("drop", "a")] == seen
    assert "continue=x" in script.asked[1]
    assert "resourceVersion=10&" in script.asked[2]
    assert "resourceVersion=16&" in script.asked[3], "it goes on from where it was"
    assert all("labelSelector=a%3Db" in path for path in script.asked)


@pytest.mark.parametrize(
    "lost", [[{"type": "ERROR", "object": {"code": 410}}], Gone()], ids=["an event says so", "the answer says so"]
)
async def test_a_lost_thread_is_taken_up_by_a_new_list(monkeypatch: pytest.MonkeyPatch, lost: Any) -> None:
    script, seen = await followed(monkeypatch, page(10, "a"), lost, page(20, "b"), [])
    assert [("reset", ["a"]), ("reset", ["b"])] == seen
    assert "resourceVersion=20&" in script.asked[3]


async def test_an_api_that_is_away_or_says_nonsense_leaves_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    broken: list[Any] = [{"type": "ADDED", "object": named("b", 11)}, Unreachable("silent")]
    script, seen = await followed(monkeypatch, Unreachable("away"), page(10, "a"), broken, [["nonsense"]], [])
    assert [("reset", ["a"]), ("put", "b")] == seen
    assert "resourceVersion=11&" in script.asked[3]
    assert "resourceVersion=11&" in script.asked[4]
