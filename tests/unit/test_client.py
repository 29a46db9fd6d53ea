"""The API client: every failure has a type that says what may be concluded from it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import yaml
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from modelward_operator.cluster import client as client_module
from modelward_operator.cluster.client import (
    Client,
    Expired,
    NotFound,
    Rejected,
)
from modelward_operator.cluster.configuration import load_configuration
from modelward_operator.cluster.kinds import DEPLOYMENT, POD
from modelward_operator.cluster.tokenbucket import TokenBucket
from modelward_operator.errors import Conflict, OperatorError, Unreadable

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[tuple[Client, list[tuple[str, str, int]]]]:
    """A client of a server that answers everything with `handler`, and what the client counted."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    counted: list[tuple[str, str, int]] = []
    configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    made = Client(configuration, count=lambda *what: counted.append(what))
    try:
        yield made, counted
    finally:
        await made.close()
        await runner.cleanup()


def answering(status: int, body: object) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=body if isinstance(body, str) else json.dumps(body))

    return handler


READS: list[tuple[str, int, object, type[OperatorError]]] = [
    ("not there", 404, {"message": "pods x not found"}, NotFound),
    ("too old", 410, {"message": "too old"}, Expired),
    ("server error", 500, {"message": "etcd"}, Unreadable),
    ("busy", 429, {"message": "slow down"}, Unreadable),
    ("token expired", 401, {"message": "Unauthorized"}, Unreadable),
    ("may not read", 403, {"message": "forbidden"}, Unreadable),
    ("a proxy's page", 502, "<html>bad gateway</html>", Unreadable),
    ("not JSON", 200, "{", Unreadable),
]


@pytest.mark.parametrize(("reason", "status", "body", "error"), READS, ids=[case[0] for case in READS])
async def test_a_failed_read_has_its_type(reason: str, status: int, body: object, error: type[OperatorError]) -> None:
    async with serving(answering(status, body)) as (client, counted):
        with pytest.raises(error):
            await client.get(POD, "ns", "x")
        assert counted == [("get", "Pod", status)], reason


WRITES: list[tuple[str, int, type[OperatorError]]] = [
    ("lost a race", 409, Conflict),
    ("invalid", 422, Rejected),
    ("not allowed, as by a quota or a namespace that ends", 403, Rejected),
    ("server error", 503, Unreadable),
]


@pytest.mark.parametrize(("reason", "status", "error"), WRITES, ids=[case[0] for case in WRITES])
async def test_a_failed_write_has_its_type_and_says_what_the_server_said(
    reason: str, status: int, error: type[OperatorError]
) -> None:
    async with serving(answering(status, {"message": "because of this"})) as (client, _):
        with pytest.raises(error, match="because of this"):
            await client.apply(DEPLOYMENT, {"metadata": {"name": "x", "namespace": "n"}}, manager="m", force=False)


async def test_no_answer_is_unreadable_and_counted(unused_tcp_port: int) -> None:
    counted: list[int] = []
    configuration = Configuration(host=f"http://127.0.0.1:{unused_tcp_port}")
    client = Client(configuration, count=lambda _verb, _kind, code: counted.append(code))
    with pytest.raises(Unreadable):
        await client.get(POD, "ns", "x")
    assert counted == [0]
    await client.close()


async def test_an_apply_is_what_the_api_calls_one() -> None:
    seen: list[web.Request] = []
    bodies: list[object] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        bodies.extend((await request.json(), yaml.safe_load(await request.text())))
        return web.json_response({"ok": True})

    body = {"metadata": {"name": "x", "namespace": "n"}, "data": {"k": "\x7f\u2028\ufeff \U0001f600 \\ud83d"}}
    async with serving(handler) as (client, _):
        await client.apply(DEPLOYMENT, body, manager="modelward", force=True)
    (request,) = seen
    assert request.method == "PATCH"
    assert request.path == "/apis/apps/v1/namespaces/n/deployments/x"
    assert dict(request.query) == {"fieldManager": "modelward", "force": "true"}
    assert request.content_type == "application/apply-patch+yaml"
    assert bodies == [body, body], "JSON and YAML at once"


@pytest.mark.parametrize("name", ["../../secrets/x", "..", ".", "a/b", "a?dryRun=All", "a#b", "a%2fb"])
async def test_no_name_leads_out_of_its_place(name: str) -> None:
    seen: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request.raw_path)
        return web.json_response({})

    async with serving(handler) as (client, _):
        await client.get(POD, "n", name)
        await client.get(POD, name, "p")
    first, second = (path.split("/") for path in seen)
    assert (first[:-1], len(first)) == (["", "api", "v1", "namespaces", "n", "pods"], 7)
    assert (second[:4], second[5:]) == (["", "api", "v1", "namespaces"], ["pods", "p"])
    assert not {".", "..", name} & {first[6], second[4]}


async def test_a_page_that_is_too_large_is_asked_for_in_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may make Deployments may make a hundred of a megabyte each, and one page of them would be the end of the operator's memory."""
    monkeypatch.setattr(client_module, "PAGE_BYTES", 100_000)
    sizes = [10] * 120 + [60_000] * 5 + [300_000] + [10] * 60
    limits: list[tuple[int, int]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        begin, limit = int(request.query.get("continue", 0)), int(request.query["limit"])
        limits.append((begin, limit))
        end = min(begin + limit, len(sizes))
        items = [{"metadata": {"name": str(n), "annotations": {"x": "y" * sizes[n]}}} for n in range(begin, end)]
        more = {"continue": str(end)} if end < len(sizes) else {}
        return web.Response(text=json.dumps({"metadata": {"resourceVersion": "7", **more}, "items": items}))

    async with serving(handler) as (client, _):
        pages = [items async for items, _ in client.pages(DEPLOYMENT)]
    assert [str(number) for number in range(len(sizes))] == [
        item["metadata"]["name"] for page in pages for item in page
    ]
    assert limits[:2] == [(0, 100), (100, 100)]
    assert max(sum(sizes[int(item["metadata"]["name"])] for item in page) for page in pages if len(page) > 1) <= 100_000
    assert len(limits) < 40
    assert (limits[-1][1], len(pages[-1])) > (1, 1), "small ones come in larger pages again"


async def test_a_listing_goes_through_all_pages() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        page = int(request.query.get("continue", "0"))
        items = [{"metadata": {"name": f"p{page}"}}]
        meta = {"resourceVersion": "7", "continue": str(page + 1) if page < 2 else ""}
        assert (request.query["labelSelector"], request.query["limit"]) == ("a=b", str(POD.page))
        return web.json_response({"items": items, "metadata": meta})

    async with serving(handler) as (client, _):
        pages = [page async for page in client.pages(POD, labels="a=b")]
    assert [item["metadata"]["name"] for items, _ in pages for item in items] == ["p0", "p1", "p2"]
    assert pages[0][0][0]["kind"] == "Pod"
    assert {version for _, version in pages} == {"7"}


def streaming(*chunks: bytes, then: float = 0.0) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0)
        await asyncio.sleep(then)
        return response

    return handler


def event(name: str, size: int = 0) -> bytes:
    obj = {"metadata": {"name": name, "resourceVersion": "1"}, "data": "x" * size}
    return json.dumps({"type": "ADDED", "object": obj}).encode() + b"\n"


async def test_watch_lines_may_be_cut_anywhere_and_be_as_large_as_an_object() -> None:
    text = event("a") + event("b", size=6_000_000) + event("c")
    cuts = [text[i : i + 65_521] for i in range(0, len(text), 65_521)]
    async with serving(streaming(*cuts)) as (client, _):
        events = [e async for e in client.watch(POD, "", labels="", since="1")]
    assert [e["object"]["metadata"]["name"] for e in events] == ["a", "b", "c"]


ECHOES: list[tuple[str, str, int, str]] = [
    ("news of what is known", "MODIFIED", 6, "MODIFIED"),
    ("news of what is not", "ADDED", 0, "ADDED"),
    ("the echo of an answer", "MODIFIED", 7, "BOOKMARK"),
    ("older than an answer", "ADDED", 8, "BOOKMARK"),
    ("an end is never an echo", "DELETED", 8, "DELETED"),
    ("a bookmark is of no object", "BOOKMARK", 0, "BOOKMARK"),
]


@pytest.mark.parametrize(("reason", "told", "version", "expected"), ECHOES, ids=[case[0] for case in ECHOES])
async def test_an_event_that_tells_no_more_than_is_known_is_a_bookmark(
    reason: str, told: str, version: int, expected: str
) -> None:
    def known(namespace: str, name: str) -> int:
        return version if (namespace, name) == ("ns", "a") else 0

    obj = {"metadata": {"resourceVersion": "7", "name": "a", "namespace": "ns"}, "spec": {}}
    async with serving(streaming(json.dumps({"type": told, "object": obj}).encode() + b"\n")) as (client, _):
        (event,) = [e async for e in client.watch(POD, "", labels="", since="1", known=known)]
    assert (expected, "7") == (event["type"], event["object"]["metadata"]["resourceVersion"]), reason
    assert ("spec" in event["object"]) == (told == expected), reason


async def test_a_watch_that_is_too_old_says_so() -> None:
    error = json.dumps({"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}).encode()
    async with serving(streaming(error + b"\n")) as (client, _):
        with pytest.raises(Expired):
            async for _ in client.watch(POD, "", labels="", since="1"):
                pass


async def test_a_watch_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SILENCE", 0.1)
    async with serving(streaming(event("a"), then=3.0)) as (client, _):
        watch = client.watch(POD, "", labels="", since="1")
        assert (await anext(watch))["type"] == "ADDED"
        with pytest.raises(Unreadable):
            await anext(watch)


async def test_a_rotated_token_is_used() -> None:
    seen: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization", ""))
        return web.json_response({})

    tokens = iter(["bearer one", "bearer two"])

    def refresh(configuration: Configuration) -> None:
        configuration.api_key["BearerToken"] = next(tokens)

    async with serving(handler) as (client, _):
        client.configuration.api_key["BearerToken"] = "bearer none"
        client.configuration.refresh_api_key_hook = refresh
        await client.get(POD, "ns", "x")
        await client.get(POD, "ns", "x")
    assert seen == ["bearer one", "bearer two"]


async def test_no_cluster_is_said_plainly() -> None:
    with pytest.raises(Unreadable, match="no way to reach"):
        await load_configuration({"KUBECONFIG": "/nonexistent"})


async def test_writes_wait_for_their_token_in_order_and_reads_do_not() -> None:
    now = 0.0
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    bucket = TokenBucket(rate=10, burst=2, clock=lambda: now, sleep=sleep)
    for _ in range(4):
        await bucket.take()
    assert slept == pytest.approx([0.1, 0.2])
    now = 10.0
    slept.clear()
    await bucket.take()
    assert slept == [], "an idle bucket fills up"
