"""The ledger against a real API server: what its schema refuses, what sixteen writers do to it, and what kill -9 leaves of it."""

import asyncio
import time
from pathlib import Path

import pytest

from modelward_runtime.epsilon.account import MOST_ROWS, Row, Shard, Terms
from modelward_runtime.epsilon.clock import agree
from modelward_runtime.epsilon.config import LedgerPlace
from modelward_runtime.epsilon.ledger import PATIENCE, Ledger
from modelward_runtime.epsilon.period import show
from modelward_runtime.epsilon.shards import Conflict, Shards
from modelward_runtime.epsilon.subjects import EVERYBODY, Everybody, Named
from modelward_runtime.errors import EpsilonUnavailable
from tests.integration.apiserver import TOKEN, ApiServer
from tests.integration.rest import Json, Refused, request
from tests.ledgers import MIDNIGHT, NOON

LATER = show(MIDNIGHT + 86_400)


def folder_of(namespace: str) -> str:
    return f"/apis/modelward.dev/v1alpha1/namespaces/{namespace}/privacyledgers"


def ledger(policy: str, shard: str = EVERYBODY) -> Json:
    return {
        "apiVersion": "modelward.dev/v1alpha1",
        "kind": "PrivacyLedger",
        "metadata": {"name": f"{policy}-{shard}"},
        "spec": {"policy": policy, "shard": shard},
    }


@pytest.fixture
def place(server: ApiServer, namespace: str, tmp_path: Path) -> LedgerPlace:
    """An empty ledger of scope All, and how to reach it."""
    request(server, "POST", folder_of(namespace), ledger("standard"))
    (tmp_path / "token").write_text(TOKEN)
    return LedgerPlace(
        namespace=namespace,
        policy="standard",
        server=server.url,
        token_file=str(tmp_path / "token"),
        ca_file=str(server.folder / "certificates/apiserver.crt"),
    )


def status_of(server: ApiServer, namespace: str, name: str = "standard-all") -> Json:
    return dict(request(server, "GET", f"{folder_of(namespace)}/{name}").get("status", {}))


def write(server: ApiServer, namespace: str, status: Json | None, name: str = "standard-all") -> Json:
    """Replace the status, as an administrator may."""
    live = request(server, "GET", f"{folder_of(namespace)}/{name}")
    live.pop("status", None)
    body = live if status is None else live | {"status": status}
    return request(server, "PUT", f"{folder_of(namespace)}/{name}/status", body)


def status(observed: int, key: str = "k", **rows: tuple[int, int]) -> Json:
    listed = {name: {"spent": spent, "resetTime": show(reset)} for name, (spent, reset) in rows.items()}
    return {"observedTime": show(observed), "keyCheck": key, "rows": listed}


FORGETFUL: list[tuple[str, Json | None, str]] = [
    ("less spent within the period", status(NOON, a=(9, MIDNIGHT)), "what was reserved in a period stays"),
    ("an earlier reset", status(NOON, a=(10, MIDNIGHT - 1)), "what was reserved in a period stays"),
    ("a row taken away", status(NOON), "what was reserved in a period stays"),
    ("everything taken away", None, "what was reserved is never forgotten"),
    ("time that runs backwards", status(NOON - 1, a=(10, MIDNIGHT)), "time in a ledger never runs backwards"),
    ("a row taken away by the write that moves the time", status(MIDNIGHT), "what was reserved in a period stays"),
    ("a row begun anew by it", status(MIDNIGHT, a=(1, MIDNIGHT + 9)), "what was reserved in a period stays"),
    ("another key", status(NOON, "other", a=(10, MIDNIGHT)), "under another every caller would have a new budget"),
    ("a negative amount", status(NOON, a=(-1, MIDNIGHT)), "should be greater than or equal to 0"),
    ("a time that is none", status(NOON, a=(10, MIDNIGHT)) | {"observedTime": "9999-99-99T00:00:00Z"}, "date-time"),
    ("a status without rows", {"observedTime": show(NOON), "keyCheck": "k"}, "rows"),
]


@pytest.mark.parametrize(("reason", "after", "message"), FORGETFUL, ids=[case[0] for case in FORGETFUL])
def test_the_api_server_itself_forgets_nothing(
    server: ApiServer, namespace: str, place: LedgerPlace, reason: str, after: Json | None, message: str
) -> None:
    write(server, namespace, status(NOON, a=(10, MIDNIGHT)))
    with pytest.raises(Refused, match=message):
        write(server, namespace, after)
    assert status(NOON, a=(10, MIDNIGHT)) == status_of(server, namespace), reason


def test_a_row_goes_when_its_time_has_come(server: ApiServer, namespace: str, place: LedgerPlace) -> None:
    write(server, namespace, status(NOON, a=(10, MIDNIGHT), b=(5, MIDNIGHT + 1)))
    write(server, namespace, status(MIDNIGHT, a=(10, MIDNIGHT), b=(5, MIDNIGHT + 1)))
    write(server, namespace, status(MIDNIGHT + 1, b=(6, MIDNIGHT + 1)))
    write(server, namespace, status(MIDNIGHT + 1, a=(1, MIDNIGHT + 9), b=(0, MIDNIGHT + 9)))


async def test_a_process_writes_the_end_of_a_period_and_then_reserves(
    server: ApiServer, namespace: str, place: LedgerPlace
) -> None:
    """The rules that the API server keeps do not stand in the way of the runtime's own writes."""
    past = int(time.time()) - 90 * 86_400
    write(server, namespace, status(past, EVERYBODY, all=(320, past + 86_400)))
    shards = Shards(place)
    await Ledger(shards, Everybody(), Terms(320, "Month")).take("", 10)
    shards.close()
    assert status_of(server, namespace)["rows"]["all"]["spent"] == 19


@pytest.mark.parametrize("rows", [{}, {"all": (320, MIDNIGHT)}], ids=["rows gone", "rows kept"])
async def test_a_ledger_that_was_moved_ahead_gives_no_budget_but_an_outage(
    server: ApiServer, namespace: str, place: LedgerPlace, rows: dict[str, tuple[int, int]]
) -> None:
    ahead = int(time.time()) + 86_400
    moved = status(ahead, EVERYBODY, **rows)
    write(server, namespace, moved)
    shards = Shards(place)
    books = Ledger(shards, Everybody(), Terms(320, "Day"))
    with pytest.raises(EpsilonUnavailable, match="epsilon-ledger-unavailable"):
        await books.take("", 1)
    shards.close()
    assert "s ahead of every clock" in books.failure
    assert moved == status_of(server, namespace)


def test_which_ledger_it_is_never_changes_and_its_name_says_it(
    server: ApiServer, namespace: str, place: LedgerPlace
) -> None:
    live = request(server, "GET", f"{folder_of(namespace)}/standard-all")
    with pytest.raises(Refused, match="which ledger this is never changes"):
        request(
            server,
            "PUT",
            f"{folder_of(namespace)}/standard-all",
            live | {"spec": {"policy": "standard-al", "shard": "l"}},
        )
    wrong = ledger("standard", "0") | {"metadata": {"name": "standard-1"}}
    with pytest.raises(Refused, match=r"metadata.name must be spec.policy"):
        request(server, "POST", folder_of(namespace), wrong)


async def test_shards_are_written_whole_and_once_for_each_version(place: LedgerPlace) -> None:
    shards = Shards(place)
    empty = await shards.read(EVERYBODY)
    assert Shard(0, "", {}) == empty.shard
    assert agree(empty.date, time.time())
    full = Shard(NOON, "k", {f"{number:032x}": Row(10**15, MIDNIGHT) for number in range(MOST_ROWS)})
    await shards.write(EVERYBODY, full, empty)
    assert full == (await shards.read(EVERYBODY)).shard
    with pytest.raises(Conflict):
        await shards.write(EVERYBODY, full, empty)
    shards.close()


async def test_sixteen_replicas_in_a_conflict_storm_all_get_through_in_bounded_time(
    server: ApiServer, namespace: str, place: LedgerPlace
) -> None:
    """Each of 16 replicas reserves for four callers of its own, who all lie in one shard: 64 writes, one at a time."""
    request(server, "POST", folder_of(namespace), ledger("standard", "7"))
    subjects = Named(place, b"k" * 32)
    callers = [name for name in map(str, range(5000)) if subjects.shard(subjects.name(name)) == "7"][:64]
    shards = [Shards(place) for _ in range(16)]
    replicas = [Ledger(one, subjects, Terms(320, "Month")) for one in shards]
    waited = await asyncio.gather(*(timed(replicas[n % 16], caller) for n, caller in enumerate(callers)))
    rows = status_of(server, namespace, "standard-7")["rows"]
    assert {subjects.name(caller): 19 for caller in callers} == {name: row["spent"] for name, row in rows.items()}
    assert max(waited) < PATIENCE
    for one in shards:
        one.close()


async def timed(books: Ledger, caller: str) -> float:
    began = time.monotonic()
    await books.take(caller, 10)
    return time.monotonic() - began
