"""What gather asks pods and events, and what it makes of no answer or a strange one."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from modelward_operator.cluster.client import Client
from modelward_operator.cluster.gather import Gatherer, is_stuck
from modelward_operator.cluster.store import Store
from modelward_operator.errors import Unreadable
from modelward_operator.facts import Json, Key
from tests.makers import INSTALLATION, NOW, make_model
from tests.until import PATIENCE

KEY = Key("risk", "fraud")


def stamp(age: float) -> str:
    return (NOW - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(*, age: float = 20.0, phase: str = "Pending", **status: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {
            "name": "fraud-a",
            "namespace": "risk",
            "uid": "pod-1",
            "resourceVersion": "2",
            "creationTimestamp": stamp(age),
            "labels": {"modelward.dev/model": "fraud"},
        },
        "status": {"phase": phase, **status},
    }


def container(state: Json) -> list[Json]:
    return [{"name": "runtime", "state": state}]


WAITING = container({"waiting": {"reason": "ContainerCreating"}})
STUCK: list[tuple[str, dict[str, Any], bool]] = [
    ("waits in silence", pod(containerStatuses=WAITING), True),
    ("no container status yet", pod(), True),
    ("only just made", pod(age=2.0), False),
    ("runs", pod(phase="Running", containerStatuses=container({"running": {}})), False),
    ("says why", pod(containerStatuses=container({"waiting": {"reason": "ErrImagePull"}})), False),
    ("cannot be scheduled, and its condition says why",
     pod(conditions=[{"type": "PodScheduled", "status": "False"}]), False),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "raw", "expected"), STUCK, ids=[case[0] for case in STUCK])
def test_is_stuck(reason: str, raw: Json, expected: bool) -> None:
    assert expected == is_stuck(raw, NOW), reason


class Events:
    """A client that only knows events; all else cannot be read."""

    def __init__(self, *events: Json) -> None:
        self.events = list(events)
        self.asked: list[str] = []

    async def pages(self, _resource: object, _namespace: str, *, fields: str) -> AsyncIterator[tuple[list[Json], str]]:
        self.asked.append(fields)
        yield self.events, "1"

    async def get(self, resource: object, _namespace: str, _name: str) -> Json:
        raise Unreadable(f"{resource} is nobody's here")


def gatherer(store: Store, session: aiohttp.ClientSession, events: Events, port: int = 1) -> Gatherer:
    client = cast("Client", events)
    return Gatherer(client, store, INSTALLATION, session, now=lambda: NOW, admin_port=port)


def filled(*objects: Json) -> Store:
    store = Store()
    for obj in (make_model(resourceVersion="1"), *objects):
        store.feed(obj)
    return store


@pytest.fixture
async def session(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[aiohttp.ClientSession]:
    """Pods are waited for as long as a busy machine takes."""
    monkeypatch.setattr("modelward_operator.cluster.gather.REPORT_TIMEOUT", aiohttp.ClientTimeout(total=PATIENCE))
    async with aiohttp.ClientSession() as made:
        yield made


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[int]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve a pod's /report by a handler; returns the port. Ends with the test."""
    runners: list[web.AppRunner] = []

    async def start(report: Handler) -> int:
        app = web.Application()
        app.router.add_get("/report", report)
        runners.append(web.AppRunner(app))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], "127.0.0.1", 0).start()
        return int(runners[-1].addresses[0][1])

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_nothing_is_concluded_before_everything_was_listed(session: aiohttp.ClientSession) -> None:
    store = filled()
    store.expect("Service", "")
    with pytest.raises(Unreadable, match="Service"):
        await gatherer(store, session, Events()).gather(KEY)


async def test_a_model_that_is_gone_or_going_needs_nothing(session: aiohttp.ClientSession) -> None:
    assert await gatherer(Store(), session, Events()).gather(KEY) is None
    going = Store()
    going.feed(make_model(resourceVersion="1", deletionTimestamp=stamp(1)))
    assert await gatherer(going, session, Events()).gather(KEY) is None


async def test_the_newest_warning_of_a_stuck_pod_is_read_once_in_a_while(session: aiohttp.ClientSession) -> None:
    old = {"metadata": {}, "reason": "FailedMount", "message": "old", "lastTimestamp": stamp(60)}
    new = {
        "metadata": {},
        "reason": "FailedMount",
        "message": 'secret "x" not found',
        "series": {"lastObservedTime": stamp(1)},
    }
    events = Events(old, new)
    subject = gatherer(filled(pod(containerStatuses=WAITING)), session, events)
    for _ in range(3):
        given = await subject.gather(KEY)
        assert given is not None
        assert given.pods[0].warning == 'FailedMount: secret "x" not found'
    assert events.asked == ["involvedObject.uid=pod-1,type=Warning"]


async def test_an_event_that_gives_no_reason_is_read_all_the_same(session: aiohttp.ClientSession) -> None:
    events = Events({"metadata": {}, "message": "somebody's own"}, {"metadata": {}})
    given = await gatherer(filled(pod(containerStatuses=WAITING)), session, events).gather(KEY)
    assert given is not None
    assert given.pods[0].warning == "Warning: somebody's own"


REPORTS: list[tuple[str, int, bytes, Json]] = [
    ("a report", 200, b'{"state": "Ready", "model": {"name": "m"}}', {"state": "Ready", "model": {"name": "m"}}),
    ("not ready to report", 503, b"{}", {}),
    ("not JSON", 200, b"hello", {}),
    ("not an object", 200, b"[1]", {}),
    ("a model that is none", 200, b'{"model": "x"}', {}),
    ("an endless answer", 200, json.dumps({"x": "y" * 100_000}).encode(), {}),
    ("nested deeper than a parser goes", 200, b"[" * 60_000, {}),
    ("a redirect to somewhere else", 302, b"", {}),
]


@pytest.mark.parametrize(("reason", "status", "body", "expected"), REPORTS, ids=[case[0] for case in REPORTS])
async def test_reports(
    reason: str,
    status: int,
    body: bytes,
    expected: Json,
    session: aiohttp.ClientSession,
    serve: Serve,
) -> None:
    async def report(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body, headers={"Location": "/elsewhere"} if status == 302 else {})

    port = await serve(report)
    running = pod(phase="Running", podIP="127.0.0.1", containerStatuses=container({"running": {}}))
    given = await gatherer(filled(running), session, Events(), port).gather(KEY)
    assert given is not None
    assert given.pods[0].report == expected, reason


async def test_a_report_that_comes_in_pieces_is_read_to_its_end(session: aiohttp.ClientSession, serve: Serve) -> None:
    async def report(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b'{"state": ', b'"Ready"}'):
            await response.write(piece)
            await asyncio.sleep(0.05)
        return response

    port = await serve(report)
    running = pod(phase="Running", podIP="127.0.0.1", containerStatuses=container({"running": {}}))
    given = await gatherer(filled(running), session, Events(), port).gather(KEY)
    assert given is not None
    assert given.pods[0].report == {"state": "Ready"}


async def test_a_pod_that_does_not_answer_reports_nothing(session: aiohttp.ClientSession, unused_tcp_port: int) -> None:
    running = pod(phase="Running", podIP="127.0.0.1", containerStatuses=container({"running": {}}))
    given = await gatherer(filled(running), session, Events(), unused_tcp_port).gather(KEY)
    assert given is not None
    assert given.pods[0].report == {}


async def test_a_pod_whose_runtime_does_not_run_is_not_asked(session: aiohttp.ClientSession) -> None:
    waiting = pod(podIP="203.0.113.1", containerStatuses=container({"waiting": {"reason": "CrashLoopBackOff"}}))
    given = await gatherer(filled(waiting), session, Events()).gather(KEY)
    assert given is not None
    assert given.pods[0].report == {}


async def test_one_missed_answer_does_not_unsay_the_last_one(session: aiohttp.ClientSession, serve: Serve) -> None:
    """The pod speaks once and falls silent: its report stands for a moment, then not, and never for another container."""
    answers = iter([web.json_response({"state": "Fetching"})])
    time = 0.0

    async def report(_: web.Request) -> web.Response:
        return next(answers, web.Response(status=500))

    port = await serve(report)
    store = filled()
    client = cast("Client", Events())
    subject = Gatherer(client, store, INSTALLATION, session, now=lambda: NOW, clock=lambda: time, admin_port=port)

    async def said(container_id: str, version: str) -> Json:
        one = {**container({"running": {}})[0], "containerID": container_id}
        raw = pod(phase="Running", podIP="127.0.0.1", containerStatuses=[one])
        raw["metadata"]["resourceVersion"] = version
        store.feed(raw)
        given = await subject.gather(KEY)
        assert given is not None
        return given.pods[0].report

    assert await said("c1", "2") == {"state": "Fetching"}
    time = 5.0
    assert await said("c1", "3") == {"state": "Fetching"}
    assert await said("c2", "4") == {}
    time = 11.0
    assert await said("c1", "5") == {}


async def test_a_ready_pod_is_asked_in_vain_until_it_says_what_it_has_loaded_and_that_stays(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    now, answer = 0.0, dict[str, Any]()

    async def report(_: web.Request) -> web.StreamResponse:
        return web.json_response(answer) if answer else web.Response(status=503)

    ready = [{"type": "Ready", "status": "True"}]
    running = [{**container({"running": {}})[0], "containerID": "c-1"}]
    store = filled(pod(phase="Running", podIP="127.0.0.1", conditions=ready, containerStatuses=running))
    port, client = await serve(report), cast("Client", Events())
    subject = Gatherer(
        client, store, INSTALLATION, session, now=lambda: NOW, clock=lambda: now, admin_port=port, clusterwide=False
    )

    async def found() -> tuple[float, Json]:
        given = await subject.gather(KEY)
        assert given is not None
        return given.pods[0].mute, given.pods[0].loaded

    assert await found() == (0.0, {})
    now = 80.0
    assert await found() == (80.0, {})
    answer |= {"state": "Ready", "model": {"digest": "d"}}
    said = dict(answer)
    assert await found() == (0.0, said)
    answer.clear()
    now = 3600.0
    assert await found() == (0.0, said), "a container loads once"
