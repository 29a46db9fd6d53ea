"""Whether the network plug-in enforces the policy: what is tried, when, and for how long an answer stands. Real sockets on loopback."""

import asyncio
import contextlib
import resource
import socket
from dataclasses import replace
from datetime import timedelta

import pytest

from modelward_operator.cluster.enforcement import (
    BELIEVED,
    COUNTED,
    DOUBTED,
    SETTLED,
    EnforcementProbe,
    Shown,
    connects,
)
from modelward_operator.facts import Given, Json, Key, Pod
from modelward_operator.plan.names import ADMIN_PORT
from tests.makers import NOW, READY_REPORT, drawn, make_given, make_pod
from tests.ports import free_ports
from tests.until import PATIENCE

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


def given(*pods: Pod, policy_for: float = 60) -> Given:
    """Return the facts about a model whose policy has been there for so many seconds."""
    made = make_given(pods=pods)
    policy = drawn(made).find("NetworkPolicy")
    created = (NOW - timedelta(seconds=policy_for)).isoformat()
    return replace(made, children=({**policy, "metadata": {**policy["metadata"], "creationTimestamp": created}},))


class Network:
    """Lets connections to the forbidden port through or not, and counts them; those to the allowed one as long as pods are up."""

    def __init__(self, *, lets_through: bool | None) -> None:
        self.lets_through, self.tried = lets_through, list[tuple[str, int]]()
        self.is_up: bool | None = True
        self.time = 0.0
        self.probe = EnforcementProbe(lambda: self.time, self._connect)

    async def read(self, facts: Given, allowed: list[str] = ALLOWED) -> tuple[bool | None, float | None]:
        """Return whether it is enforced, and when to look again."""
        shown = await self.probe.read(facts, allowed)
        assert not shown.by_others
        return shown.enforced, shown.again

    async def _connect(self, address: str, port: int) -> bool | None:
        if port == ADMIN_PORT:
            return self.is_up
        self.tried.append((address, port))
        return self.lets_through


async def test_a_forbidden_connection_that_is_not_made_tells_and_is_not_tried_again_for_minutes() -> None:
    network = Network(lets_through=False)
    for network.time in (0.0, BELIEVED - 1):
        assert (True, None) == await network.read(given(ready_pod()))
    assert network.tried == [("10.0.0.5", 8080)]
    network.time, network.lets_through = BELIEVED + 1, True
    assert (False, DOUBTED[0]) == await network.read(given(ready_pod()))


async def test_what_went_through_is_tried_again_without_an_event_and_more_and_more_seldom() -> None:
    network, waits = Network(lets_through=True), []
    for _ in range(9):
        enforced, wait = await network.read(given(ready_pod()))
        assert (False, True) == (enforced, wait is not None)
        waits.append(wait or 0.0)
        network.time += waits[-1]
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert len(network.tried) == 9

    network.time, network.lets_through = network.time - 1, False
    assert (False, 1.0) == await network.read(given(ready_pod())), "an event in between"
    network.time += 1
    assert (True, None) == await network.read(given(ready_pod())), "a plug-in was installed"


@pytest.mark.parametrize(
    ("reason", "forbidden", "allowed"),
    [
        ("the pod is gone, or this process was stopped meanwhile", False, False),
        ("no file descriptor is left for the one", None, True),
        ("nor for the other", False, None),
        ("nor for both", None, None),
    ],
)
async def test_what_fails_here_or_fails_for_both_ports_tells_nothing_and_is_tried_again(
    reason: str, forbidden: bool | None, allowed: bool | None
) -> None:
    network = Network(lets_through=forbidden)
    network.is_up = allowed
    assert (None, DOUBTED[0]) == await network.read(given(ready_pod())), reason

    network.time, network.lets_through, network.is_up = DOUBTED[0], False, True
    assert (True, None) == await network.read(given(ready_pod())), reason

    network.time, network.lets_through, network.is_up = DOUBTED[0] + BELIEVED, forbidden, allowed
    assert (True, DOUBTED[0]) == await network.read(given(ready_pod())), "what was known stands"


async def test_a_policy_that_was_deleted_leaves_what_is_known_and_is_looked_at_when_it_is_back() -> None:
    """Its own write rings for no pass: without a look, what an operator that has just started does not know stayed unknown."""
    network = Network(lets_through=False)
    gone, back = replace(given(ready_pod()), children=()), given(ready_pod(), policy_for=3)
    assert (None, SETTLED.total_seconds()) == await network.read(gone)
    assert (None, SETTLED.total_seconds()) == await network.read(back)
    assert network.tried == [], "the plug-in needs a moment for a new policy, too"
    assert (True, None) == await network.read(given(ready_pod(), policy_for=10))
    assert (True, SETTLED.total_seconds()) == await network.read(gone)


async def test_what_is_known_stands_while_there_is_nobody_to_ask() -> None:
    network = Network(lets_through=True)
    await network.read(given(ready_pod()))
    network.time = BELIEVED + 1
    assert (False, None) == await network.read(given()), "pods that come are an event"


SILENT: list[tuple[str, Given, list[str], float | None]] = [
    ("no policy is there yet, nor a pod", replace(given(make_pod()), children=()), ALLOWED, None),
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
    assert (None, again) == await network.read(facts, allowed), reason
    assert network.tried == []


OPEN_TO = {"a network": ["risk", "10.0.0.0/8"], "the operator's namespace": ["modelward-system", "risk"]}


def named(name: str, facts: Given) -> Given:
    """The same facts, about another model."""
    meta = {**facts.raw["metadata"], "name": name, "uid": name}
    child = facts.children[0]
    children = ({**child, "metadata": {**child["metadata"], "name": name}},)
    return replace(facts, key=Key("risk", name), raw={**facts.raw, "metadata": meta}, children=children)


@pytest.mark.parametrize("who", OPEN_TO)
async def test_what_the_policy_lets_in_shows_nothing_and_is_looked_at_again_more_and_more_seldom(who: str) -> None:
    network, waits = Network(lets_through=True), []
    for _ in range(9):
        shown = await network.probe.read(given(ready_pod()), OPEN_TO[who])
        assert (None, False, True) == shown[:3]
        waits.append(shown.again or 0.0)
        network.time += waits[-1]
    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]


async def test_a_network_that_does_not_hold_the_operator_is_told_by_a_connection_that_is_not_made() -> None:
    network = Network(lets_through=False)
    assert (True, None) == await network.read(given(ready_pod()), OPEN_TO["a network"])
    assert network.tried == [("10.0.0.5", 8080)]


async def test_a_connection_into_the_operators_own_namespace_is_not_even_tried() -> None:
    """One that is let in and does not get through meets something else than this policy."""
    network = Network(lets_through=False)
    assert (None, 30.0) == await network.read(given(ready_pod()), OPEN_TO["the operator's namespace"])
    assert network.tried == []


@pytest.mark.parametrize("who", OPEN_TO)
@pytest.mark.parametrize("lets_through", [True, False])
async def test_what_cannot_be_tried_is_as_it_was_shown_of_another_model(who: str, lets_through: bool) -> None:
    network = Network(lets_through=lets_through)
    await network.read(named("other", given(ready_pod())))
    network.lets_through = True  # here, because the policy says so
    shown = await network.probe.read(given(ready_pod()), OPEN_TO[who])
    assert Shown(not lets_through, True, True, 30.0 if lets_through else None) == shown


async def test_it_is_not_known_while_other_models_differ_or_are_gone() -> None:
    network = Network(lets_through=False)
    await network.read(named("one", given(ready_pod())))
    network.lets_through = True
    await network.read(named("two", given(ready_pod())))
    shown = await network.probe.read(given(ready_pod()), OPEN_TO["a network"])
    assert Shown(None, False, True, 30.0, disagree=True) == shown, "somebody may have opened the second one's policy"
    network.probe.forget(Key("risk", "two"))
    assert (True, True) == (await network.probe.read(given(ready_pod()), OPEN_TO["a network"]))[:2]
    network.probe.forget(Key("risk", "one"))
    network.probe.forget(Key("risk", "one"))
    assert (None, False) == (await network.probe.read(given(ready_pod()), OPEN_TO["a network"]))[:2]


@pytest.mark.parametrize("lets_through", [True, False])
async def test_what_a_model_showed_counts_for_others_while_it_has_pods(lets_through: bool) -> None:
    network = Network(lets_through=lets_through)
    other = named("other", given(ready_pod()))
    await network.read(other)
    assert lets_through is not (await network.read(replace(other, pods=())))[0], "its own, which stands"
    network.lets_through = True
    shown = await network.probe.read(given(ready_pod()), OPEN_TO["a network"])
    assert (None, False, True) == shown[:3], "scaled to zero before a plug-in came, or went"


@pytest.mark.parametrize("lets_through", [True, False])
async def test_what_a_model_showed_long_ago_counts_no_more_for_others(lets_through: bool) -> None:
    network = Network(lets_through=lets_through)
    await network.read(named("old", given(ready_pod())))
    network.time, network.lets_through = COUNTED[not lets_through] - 1, True
    assert lets_through is not (await network.probe.read(given(ready_pod()), OPEN_TO["a network"])).enforced
    network.is_up = network.lets_through = False
    await network.read(named("old", given(ready_pod())))  # fails, and shows nothing new
    network.time, network.is_up, network.lets_through = COUNTED[not lets_through], True, not lets_through
    assert (None, False) == (await network.probe.read(given(ready_pod()), OPEN_TO["a network"]))[:2]
    await network.read(named("new", given(ready_pod())))
    shown = await network.probe.read(given(ready_pod()), OPEN_TO["a network"])
    assert (lets_through, True) == shown[:2], "what is fresh is not outweighed by what is not"


@pytest.mark.parametrize(("lets_through", "expected"), [(True, None), (False, True)])
async def test_until_its_own_was_tried_a_new_model_takes_only_the_good_of_others(
    lets_through: bool, expected: bool | None
) -> None:
    network = Network(lets_through=lets_through)
    await network.read(named("other", given(ready_pod())))
    young = given(ready_pod(), policy_for=3)
    shown = await network.probe.read(young, ALLOWED)
    assert Shown(expected, expected is True, False, SETTLED.total_seconds()) == shown
    assert (not lets_through) is (await network.probe.read(given(ready_pod()), ALLOWED)).enforced, "its own counts"


async def test_another_policy_and_another_model_of_the_name_are_tried_anew() -> None:
    network = Network(lets_through=True)
    await network.read(given(ready_pod()), OPEN_TO["a network"])
    network.lets_through = False
    assert (None, 30.0) == await network.read(given(ready_pod()), OPEN_TO["a network"]), "not before it is time"
    assert (True, None) == await network.read(given(ready_pod())), "the network was taken out of the spec"
    network.lets_through = True
    again = given(ready_pod())
    again = replace(again, raw={**again.raw, "metadata": {**again.raw["metadata"], "uid": "u-2"}})
    assert False is (await network.probe.read(again, ALLOWED)).enforced
    assert (False, True) == (await network.probe.read(named("b", given(ready_pod())), OPEN_TO["a network"]))[:2]


async def test_a_listener_lets_through_and_hears_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelward_operator.cluster.enforcement.PATIENCE", PATIENCE)
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
        async with asyncio.timeout(PATIENCE):
            assert await heard.get() == b""


async def test_one_that_is_turned_away_does_not_connect() -> None:
    (port,) = free_ports(1)
    assert await connects("127.0.0.1", port) is False


async def test_one_that_nobody_answers_does_not_connect() -> None:
    """A listener whose queue is full drops what comes, as a plug-in does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as queue:
        for _ in range(2):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        assert await connects(*full.getsockname()) is False


async def test_an_address_that_is_none_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelward_operator.cluster.enforcement.PATIENCE", PATIENCE)
    assert await connects("", 1) is None


async def test_a_process_without_file_descriptors_tells_nothing() -> None:
    (port,) = free_ports(1)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
        assert await connects("127.0.0.1", port) is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
