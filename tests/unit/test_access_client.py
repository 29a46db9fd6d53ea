"""The client that asks for reviews and keys, against a server that says exactly what a test wants, over TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from modelward_runtime.access.apiserver import ApiReviews
from modelward_runtime.access.client import Client
from modelward_runtime.access.config import ApiServer, Authorization
from modelward_runtime.access.identity import Identity, Refusal, Unreachable
from modelward_runtime.access.permission import PredictPermission
from modelward_runtime.access.tokenreview import TokenReviewer
from tests.loop_clock import LATER, put_forward
from tests.serving_certificates import Authority
from tests.until import PATIENCE, until

AUTHORITY = Authority()
REVIEW = b'{"kind": "TokenReview", "status": {"authenticated": true}}'


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status} words", f"content-length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


Step = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]] | None  # None: hang up


class Server:
    """Answers one request after the other with what `script` says next."""

    def __init__(self) -> None:
        self.script: list[Step] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                step = self.script.pop(0)
                if step is None:
                    break
                if callable(step):
                    await step(writer)
                else:
                    writer.write(step)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    pair = AUTHORITY.issue()
    (tmp_path / "both.pem").write_bytes(pair.key + pair.certificate)
    (tmp_path / "ca.crt").write_bytes(AUTHORITY.pem)
    (tmp_path / "token").write_text("own-token\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "both.pem")
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield made
    listening.close()
    await asyncio.sleep(0.01)


@pytest.fixture
async def client(server: Server, tmp_path: Path) -> AsyncIterator[Client]:
    made = Client(server.url, tmp_path / "ca.crt", only_ca=True)
    yield made
    made.close()


async def drip(writer: asyncio.StreamWriter) -> None:
    """A byte now and then, for longer than a test may take."""
    for byte in answer(200, b"x" * 1_000_000):
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.01)


async def silence(_: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("reason", "step", "expected"),
    [
        ("a length", answer(201, b"yes"), (201, b"yes")),
        ("nothing", answer(204), (204, b"")),
        (
            "in pieces",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nye\r\n1\r\ns\r\n0\r\n\r\n",
            (200, b"yes"),
        ),
        ("a hint first", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + answer(200, b"yes"), (200, b"yes")),
        ("a redirect, not followed", answer(302, b"", "location: https://evil.example"), (302, b"")),
    ],
)
async def test_answers_are_read_whole(client: Client, server: Server, reason: str, step: Step, expected: Any) -> None:
    for _ in range(2):
        server.script.append(step)
        found = await client.call("GET", {}, seconds=PATIENCE)
        assert expected == (found.status, found.body), reason
    assert 1 == server.connections, "the connection is kept"


async def test_an_answer_without_a_length_ends_with_its_connection(client: Client, server: Server) -> None:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nyes")
        await writer.drain()
        writer.close()

    server.script.append(say)
    assert b"yes" == (await client.call("GET", {}, seconds=PATIENCE)).body


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("it hangs up", None),
        ("no HTTP", b"\x00\x01\x02\x03 hello\r\n\r\n"),
        ("cut off", answer(200, b"x" * 100)[:-50]),
        ("more than anybody needs", answer(200, b"x" * (5 << 20))),
    ],
)
async def test_what_is_no_answer_is_an_unreachable_server(
    client: Client, server: Server, reason: str, step: Step
) -> None:
    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(step)  # type: ignore[arg-type]  # bytes, by the table
        writer.close()

    server.script.append(cut if reason == "cut off" else step)
    with pytest.raises(Unreachable):
        pytest.fail(f"{reason}: {await client.call('GET', {}, seconds=PATIENCE)}")


async def test_a_server_that_drips_is_given_up_in_time(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script.append(drip)
    asked = asyncio.ensure_future(client.call("GET", {}, seconds=LATER))
    await until(lambda: server.requests)
    await asyncio.sleep(0.1)
    assert not asked.done(), "it is being answered"
    put_forward(monkeypatch)
    with pytest.raises(Unreachable, match="did not answer within"):
        await asked


async def test_a_kept_connection_that_died_is_replaced(client: Client, server: Server) -> None:
    server.script = [answer(200, b"1"), None, answer(200, b"2")]
    assert b"1" == (await client.call("GET", {}, seconds=PATIENCE)).body
    assert b"2" == (await client.call("GET", {}, seconds=PATIENCE)).body
    assert 2 == server.connections


async def test_kept_connections_to_a_machine_that_is_gone_cost_one_attempt(
    reviews: ApiReviews, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.script = [answer(201, REVIEW)] * 2
    first = [asyncio.ensure_future(ask(reviews)) for _ in range(2)]
    await asyncio.gather(*first)
    assert 2 == len(reviews._api._client._idle)
    server.script = [silence, answer(201, REVIEW)]
    asked = asyncio.ensure_future(ask(reviews))
    await until(lambda: len(server.requests) == 3)
    put_forward(monkeypatch)
    assert {"authenticated": True} == await asked
    assert 3 == server.connections


async def test_another_ca_than_the_given_one_is_not_trusted(server: Server, tmp_path: Path) -> None:
    (tmp_path / "other.crt").write_bytes(Authority("other").pem)
    client = Client(server.url, tmp_path / "other.crt", only_ca=True)
    with pytest.raises(Unreachable, match="certificate"):
        await client.call("GET", {}, seconds=PATIENCE)
    (tmp_path / "other.crt").write_bytes(AUTHORITY.pem)
    server.script.append(answer(200, b"yes"))
    assert b"yes" == (await client.call("GET", {}, seconds=PATIENCE)).body, "and the file is read again when it changes"
    client.close()


# ── the API server ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def reviews(server: Server, tmp_path: Path) -> AsyncIterator[ApiReviews]:
    api = ApiServer(server=server.url, token_file=str(tmp_path / "token"), ca_file=str(tmp_path / "ca.crt"))
    made = ApiReviews(api, seconds=LATER)
    yield made
    made._api.close()


async def ask(reviews: ApiReviews) -> Any:
    return await reviews.ask("/path", "TokenReview", "v1", spec={"token": "theirs"})


@pytest.mark.parametrize(
    ("reason", "first"),
    [
        ("too many requests", answer(429, b"", "retry-after: 1")),
        ("without a time", answer(429)),
        ("a strange time", answer(429, b"", "retry-after: Wed, 21 Oct 2015 07:28:00 GMT")),
        ("an error", answer(500)),
        ("a proxy in between", answer(503, b"<html>")),
    ],
)
async def test_what_is_transient_is_asked_once_more(
    reviews: ApiReviews, server: Server, monkeypatch: pytest.MonkeyPatch, reason: str, first: bytes
) -> None:
    server.script = [first, answer(201, REVIEW)]
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("modelward_runtime.access.apiserver.asyncio.sleep", sleep)
    assert {"authenticated": True} == await ask(reviews), reason
    (first_pause, pause) = pauses
    assert first_pause == 0
    assert 0 < pause <= 1, reason


@pytest.mark.parametrize(
    ("reason", "script", "words"),
    [
        ("twice", [answer(500), answer(502)], "answers 502"),
        ("our token is refused", [answer(401)], "answers 401"),
        ("no right to ask", [answer(403)], "answers 403"),
        ("another API", [answer(404)], "answers 404"),
        ("no JSON", [answer(201, b"<html>")], "no review"),
        ("a list", [answer(201, b"[]")], "no review"),
        ("no status", [answer(201, b"{}")], "no review"),
    ],
)
async def test_who_cannot_be_asked_has_not_refused(
    reviews: ApiReviews, server: Server, reason: str, script: list[Step], words: str
) -> None:
    server.script = script
    with pytest.raises(Unreachable, match=words):
        pytest.fail(f"{reason}: {await ask(reviews)}")
    assert [] == server.script, "what is not transient is not asked again"


async def test_the_pods_token_is_read_for_each_question(reviews: ApiReviews, server: Server, tmp_path: Path) -> None:
    server.script = [answer(201, REVIEW)] * 2
    await ask(reviews)
    (tmp_path / "token").write_text("renewed")
    await ask(reviews)
    assert [b"own-token", b"renewed"] == [found.split(b"Bearer ")[1].split(b"\r\n")[0] for found in server.requests]
    (tmp_path / "token").unlink()
    with pytest.raises(Unreachable, match="cannot be read"):
        await ask(reviews)


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("an older server that knows no audiences", b'{"authenticated": true, "user": {"username": "ada"}}'),
        ("for others", b'{"authenticated": true, "user": {"username": "ada"}, "audiences": ["api"]}'),
        ("not true", b'{"authenticated": "true", "user": {"username": "ada"}, "audiences": ["modelward.dev"]}'),
        ("nobody", b'{"authenticated": true, "user": {}, "audiences": ["modelward.dev"]}'),
    ],
)
async def test_an_authentication_that_is_not_for_us_is_none(
    reviews: ApiReviews, server: Server, reason: str, status: bytes
) -> None:
    server.script = [answer(201, b'{"status": %b}' % status)]
    with pytest.raises(Refusal):
        pytest.fail(f"{reason}: {await TokenReviewer(reviews, 'modelward.dev').authenticate(b'opaque')}")


@pytest.mark.parametrize(
    ("reason", "status", "expected"),
    [
        ("allowed", b'{"allowed": true}', True),
        ("not allowed", b'{"allowed": false}', False),
        ("said nothing", b"{}", False),
        ("allowed and denied", b'{"allowed": true, "denied": true}', False),
        ("not true", b'{"allowed": "true"}', False),
    ],
)
async def test_only_a_plain_yes_permits(
    reviews: ApiReviews, server: Server, reason: str, status: bytes, expected: bool
) -> None:
    server.script = [answer(201, b'{"status": %b}' % status)]
    permission = PredictPermission(reviews, Authorization(namespace="risk", name="fraud"))
    extra = {"authentication.kubernetes.io/pod-name": ["p"]}
    assert expected is await permission.permits(Identity("ada", "u1", ("staff",), extra)), reason
    for part in (b"/namespaces/risk/localsubjectaccessreviews", b'"user":"ada"', b'"uid":"u1"', b'["staff"]', b"pod-name",
                 b'"group":"modelward.dev","resource":"modeldeployments","subresource":"predict","verb":"create"'):  # fmt: skip
        assert part in server.requests[0]
