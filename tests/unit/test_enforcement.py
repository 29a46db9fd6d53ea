"""Whether the network plug-in enforces the policy: what is tried, when, and for how long an answer stands. Real sockets on loopback."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from modelward_operator.cluster.enforcement import BELIEVED, SETTLED, EnforcementProbe, connects
from modelward_operator.facts import Given, Json, Pod
from tests.makers import NOW, READY_REPORT, drawn, make_given, make_pod
from tests.ports import free_ports

ALLOWED = ["risk"]


def ready_pod(*, seconds: float = 60, report: Json = READY_REPORT, is_ending: bool = False) -> Pod:
    """Return a pod that has been ready for so long."""
    since = {
        "type": "Ready",
        "status": "True",
        "lastTransitionTime": (NOW - timedelta(seconds=seconds)).isoformat(),
    }
    pod = make_pod(report=report, podIP="10.0.0.5", is_ending=is_ending)
    return replace(pod, raw={**pod.raw, "status": {**pod.raw["status"], "conditions": [since]}})


def given(*pods: Pod) -> Given:
    made = make_given(pods=pods)
    return replace(made, children=(drawn(made).find("NetworkPolicy"),))


class Network:
    """Lets connections through or not, and counts them."""

    def __init__(self, *, lets_through: bool) -> None:
        self.lets_through, self.tried = lets_through, list[tuple[str, int]]()
        self.time = 0.0
        self.probe = EnforcementProbe(lambda: self.time, self._connect)

    async def _connect(self, address: str, port: int) -> bool:
        self.tried.append((address, port))
        return self.lets_through


@pytest.mark.parametrize("lets_through", [True, False])
async def test_a_forbidden_connection_tells_and_is_not_tried_again_for_minutes(lets_through: bool) -> None:
    network = Network(lets_through=lets_through)
    for network.time in (0.0, BELIEVED - 1):
        assert (not lets_through, None) == await network.probe.read(given(ready_pod()), ALLOWED)
    assert network.tried == [("10.0.0.5", 8080)]
    network.time = BELIEVED + 1
    network.lets_through = not lets_through
    assert (lets_through, None) == await network.probe.read(given(ready_pod()), ALLOWED)


async def test_what_is_known_stands_while_there_is_nobody_to_ask() -> None:
    network = Network(lets_through=True)
    await network.probe.read(given(ready_pod()), ALLOWED)
    network.time = BELIEVED + 1
    assert (False, None) == await network.probe.read(given(), ALLOWED)


SILENT: list[tuple[str, Given, list[str], float | None]] = [
    ("the operator's namespace may connect", given(ready_pod()), ["modelward-system"], None),
    ("no policy is there yet", replace(given(ready_pod()), children=()), ALLOWED, None),
    ("no pod is ready", given(make_pod()), ALLOWED, None),
    ("a pod that is about to end", given(ready_pod(is_ending=True)), ALLOWED, None),
    ("the plug-in needs a moment for a new pod", given(ready_pod(seconds=3)), ALLOWED, SETTLED.total_seconds()),
    ("the pod cannot be reached at all", given(ready_pod(report={})), ALLOWED, SETTLED.total_seconds()),
]


@pytest.mark.parametrize(("reason", "facts", "allowed", "again"), SILENT, ids=[case[0] for case in SILENT])
async def test_nothing_is_tried_where_it_would_tell_nothing(
    reason: str, facts: Given, allowed: list[str], again: float | None
) -> None:
    network = Network(lets_through=True)
    assert (None, again) == await network.probe.read(facts, allowed), reason
    assert network.tried == []


async def test_a_listener_lets_through_and_hears_nothing() -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heard.put_nowait(await reader.read())
        except ConnectionResetError:
            heard.put_nowait(b"")
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        assert await connects("127.0.0.1", server.sockets[0].getsockname()[1])
        async with asyncio.timeout(5):
            assert await heard.get() == b""


async def test_nobody_there_does_not() -> None:
    (port,) = free_ports(1)
    assert not await connects("127.0.0.1", port)


async def test_an_address_that_is_none_does_not() -> None:
    assert not await connects("", 1)
