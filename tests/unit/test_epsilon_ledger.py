"""One process's ledger: blocks, refusals that are remembered, clocks that jump, an API that is away."""

import asyncio
from pathlib import Path

import pytest

from modelward_runtime.epsilon import ledger as module
from modelward_runtime.epsilon import period
from modelward_runtime.epsilon.account import MOST_ROWS, Row, Shard, Terms
from modelward_runtime.epsilon.clock import TOLERANCE
from modelward_runtime.epsilon.config import LedgerPlace
from modelward_runtime.epsilon.ledger import FULL_SECONDS, SILENCE, Clocks, Ledger
from modelward_runtime.epsilon.shards import Seen
from modelward_runtime.epsilon.subjects import EVERYBODY, Everybody, Named, subjects_of
from modelward_runtime.errors import EpsilonRefused, EpsilonUnavailable
from modelward_runtime.hmackey import KeyUnusable
from tests.ledgers import MIDNIGHT, NOON, Clock, Memory
from tests.until import PATIENCE

BUDGET = 3200
PLACE = LedgerPlace(
    namespace="risk", policy="standard", server="https://api", token_file="t", ca_file="c", key_file="key"
)
NAMED = Named(PLACE, b"k" * 32)


def ledger(store: Memory, clock: Clock, *, everybody: bool = True, budget: int = BUDGET) -> Ledger:
    clocks = Clocks(lambda: clock.wall, lambda: clock.passed)
    return Ledger(store, Everybody() if everybody else NAMED, Terms(budget, "Day"), clocks)


def store_with(clock: Clock) -> Memory:
    return Memory(lambda: clock.wall)


async def test_what_is_spent_was_written_before_and_a_block_spares_the_api() -> None:
    clock = Clock()
    store = store_with(clock)
    books = ledger(store, clock)
    await books.take("alice", 10)
    assert store.spent(EVERYBODY, EVERYBODY) == 10 + (BUDGET - 10) // 32
    for _ in range(9):
        await books.take("bob", 10)
    assert (1, 1) == (store.reads, store.writes)
    assert (100, 9) == (books.spent, books.reserved)


async def test_a_call_is_never_paid_from_two_periods() -> None:
    clock = Clock()
    store = store_with(clock)
    books = ledger(store, clock)
    await books.take("", 10)
    clock.sleep(12 * 3600)
    await books.take("", 10)
    assert store.shards[EVERYBODY].rows[EVERYBODY] == Row(10 + (BUDGET - 10) // 32, MIDNIGHT + 86_400)


async def test_the_end_of_the_budget_is_told_with_its_reset_and_costs_the_api_nothing_more() -> None:
    clock = Clock()
    store = store_with(clock)
    books = ledger(store, clock)
    await books.take("", BUDGET - 5)
    for _ in range(3):
        with pytest.raises(EpsilonRefused) as refused:
            await books.take("", 10)
    assert (
        refused.value.message
        == "policy: epsilon-spent: the privacy budget is spent, it begins anew at 2026-11-26T00:00:00Z"
    )
    assert refused.value.retry_after == 12 * 3600
    assert (2, 1) == (store.reads, store.writes)
    await books.take("", 5)  # what is left still answers a smaller call
    assert BUDGET == books.spent


async def test_a_call_beyond_any_budget_is_told_that_waiting_does_not_help() -> None:
    clock = Clock()
    with pytest.raises(EpsilonRefused, match="epsilon-call-too-large") as refused:
        await ledger(store_with(clock), clock).take("", BUDGET + 1)
    assert refused.value.retry_after == 0


async def test_while_the_api_is_away_blocks_go_on_and_then_calls_are_refused() -> None:
    clock = Clock()
    store = store_with(clock)
    books = ledger(store, clock)
    await books.take("", 10)
    store.away = True
    for _ in range(9):
        await books.take("", 10)
    with pytest.raises(EpsilonUnavailable) as refused:
        await books.take("", 10)
    assert refused.value.status == 503
    assert "away" not in refused.value.message
    assert books.failure == "away"
    store.away = False
    with pytest.raises(EpsilonUnavailable):
        await books.take("", 10)  # not asked again at once
    clock.sleep(SILENCE)
    await books.take("", 10)
    assert books.failure == ""


async def test_a_ledger_that_is_back_is_found_though_nobody_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.01)
    clock = Clock()
    store = store_with(clock)
    books = ledger(store, clock)
    store.away = True
    with pytest.raises(EpsilonUnavailable):
        await books.take("", 10)
    await asyncio.sleep(0.1)
    assert "away" == books.failure
    store.away = False
    await asyncio.wait_for(books._looking or asyncio.sleep(0), PATIENCE)
    assert "" == books.failure
    reads = store.reads
    await asyncio.sleep(0.1)
    assert (reads, 0) == (store.reads, store.writes), "it is looked at no more, and nothing was reserved"


async def test_a_ledger_that_is_let_go_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.01)
    store = store_with(clock := Clock())
    books = ledger(store, clock)
    store.away = True
    with pytest.raises(EpsilonUnavailable):
        await books.take("", 10)
    books.close()
    await asyncio.sleep(0.05)
    assert 1 == store.reads


async def test_a_write_whose_answer_is_lost_counts_as_spent_and_is_not_spent_from() -> None:
    clock = Clock()
    store = store_with(clock)
    store.lost_answers = 1
    books = ledger(store, clock)
    with pytest.raises(EpsilonUnavailable):
        await books.take("", 10)
    assert (0, 0) == (books.spent, books.reserved)
    assert store.spent(EVERYBODY, EVERYBODY) > 0


async def test_a_call_that_the_model_has_not_seen_is_put_back_in_its_period_only() -> None:
    clock = Clock()
    store = store_with(clock)
    books = ledger(store, clock)
    early = await books.take("", 10)
    before = books.reserved
    books.put_back(early)
    assert (0, before + 10) == (books.spent, books.reserved)
    late = await books.take("", 10)
    clock.sleep(12 * 3600)
    await books.take("", 10)
    before = books.reserved
    books.put_back(late)
    assert before == books.reserved


@pytest.mark.parametrize("jump", [-86_400.0, -301.0, 301.0, 86_400.0])
async def test_a_clock_that_jumps_alone_frees_nothing(jump: float) -> None:
    node, server = Clock(), Clock()
    store = Memory(lambda: server.wall)
    books = ledger(store, node)
    await books.take("", BUDGET)
    for clock in (node, server):
        clock.wall += jump
        with pytest.raises((EpsilonUnavailable, EpsilonRefused)):
            await ledger(store, node).take("", 10)
        clock.wall -= jump
    assert BUDGET == store.spent(EVERYBODY, EVERYBODY)


async def test_clocks_that_jump_forth_and_back_together_free_one_period_once() -> None:
    clock = Clock()
    store = store_with(clock)
    await ledger(store, clock).take("", BUDGET)
    clock.wall += 86_400
    await ledger(store, clock).take("", BUDGET)  # both clocks say that it is tomorrow: nobody can know better
    clock.wall -= 86_400
    books = ledger(store, clock)
    with pytest.raises(EpsilonUnavailable):
        await books.take("", 1)
    assert books.failure == (
        "the ledger's time is 86399 s ahead of every clock: nothing is reserved before it has come"
    )
    clock.sleep(86_400)  # and that budget was tomorrow's
    with pytest.raises(EpsilonRefused, match="2026-11-27T00:00:00Z"):
        await books.take("", 1)


@pytest.mark.parametrize("rows", [{}, {EVERYBODY: Row(BUDGET, MIDNIGHT)}])
@pytest.mark.parametrize("observed", [MIDNIGHT, MIDNIGHT + 86_400, period.FOR_EVER])
async def test_a_ledger_that_somebody_moved_ahead_grants_nothing_until_its_time_has_come(
    rows: dict[str, Row], observed: int
) -> None:
    clock = Clock()
    store = store_with(clock)
    moved = Shard(observed, "all", rows)
    store.shards[EVERYBODY] = moved
    books = ledger(store, clock)
    for _ in range(3):
        with pytest.raises(EpsilonUnavailable):
            await books.take("", 1)
        assert "s ahead of every clock" in books.failure
        clock.sleep(3600)
    assert moved == store.shards[EVERYBODY]
    clock.sleep(max(observed - TOLERANCE - 10 - clock.wall, 0))
    with pytest.raises(EpsilonUnavailable):
        await books.take("", 1)
    assert store.writes == 0


async def test_a_ledger_ahead_within_the_tolerance_grants_the_next_period_and_not_this_one_again() -> None:
    clock = Clock(wall=MIDNIGHT - TOLERANCE + 1)
    store = store_with(clock)
    store.shards[EVERYBODY] = Shard(MIDNIGHT, "all", {})
    receipt = await ledger(store, clock).take("", BUDGET)
    assert MIDNIGHT + 86_400 == receipt.reset
    clock.sleep(TOLERANCE + 10)
    with pytest.raises(EpsilonRefused, match="2026-11-27T00:00:00Z"):
        await ledger(store, clock).take("", 1)


async def test_the_end_of_a_period_is_written_before_what_it_takes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    store = store_with(clock)
    await ledger(store, clock).take("", BUDGET)
    clock.sleep(12 * 3600 + 10)
    seen: list[Shard] = []
    written = store.write

    async def write(shard: str, wanted: Shard, before: Seen) -> None:
        seen.append(wanted)
        await written(shard, wanted, before)

    monkeypatch.setattr(store, "write", write)
    await ledger(store, clock).take("", 32)
    spent = Row(BUDGET, MIDNIGHT)
    assert [{EVERYBODY: spent}, {EVERYBODY: Row(32 + 99, MIDNIGHT + 86_400)}] == [shard.rows for shard in seen]
    assert [MIDNIGHT + 10] * 2 == [shard.observed for shard in seen]


async def test_a_block_is_not_spent_beyond_its_period_even_when_the_wall_clock_is_set_back() -> None:
    clock = Clock()
    store = store_with(clock)
    books = ledger(store, clock)
    await books.take("", 10)
    clock.passed += 12 * 3600  # midnight has come, whatever the wall clock says
    assert books.reserved == 0


async def test_between_two_periods_nothing_is_reserved_until_both_clocks_are_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    node, server = Clock(), Clock()
    store = Memory(lambda: server.wall)
    node.wall, server.wall = MIDNIGHT - 100.0, MIDNIGHT + 100.0
    books = ledger(store, node)
    with pytest.raises(EpsilonUnavailable) as refused:
        await books.take("", 10)
    assert refused.value.why == "one period ends and the next has not begun by every clock"
    assert store.writes == 0
    node.sleep(100)
    await books.take("", 10)
    assert MIDNIGHT + 86_400 == store.shards[EVERYBODY].rows[EVERYBODY].reset


async def test_a_full_shard_refuses_newcomers_and_serves_those_it_knows() -> None:
    clock = Clock()
    store = store_with(clock)
    alice = NAMED.name("alice")
    shard = NAMED.shard(alice)
    others = {f"{shard}{number:031x}": Row(1, MIDNIGHT) for number in range(MOST_ROWS - 1)}
    store.shards[shard] = Shard(NOON, NAMED.check, {alice: Row(1, MIDNIGHT), **others})
    books = ledger(store, clock, everybody=False)
    stranger = next(name for name in map(str, range(1000)) if NAMED.shard(NAMED.name(name)) == shard)
    with pytest.raises(EpsilonRefused, match="epsilon-ledger-full"):
        await books.take(stranger, 10)
    await books.take("alice", 10)
    assert set(others) | {alice} == set(store.shards[shard].rows)
    clock.sleep(12 * 3600 + FULL_SECONDS)
    await books.take(stranger, 10)
    assert {NAMED.name(stranger)} == set(store.shards[shard].rows)


async def test_another_key_is_refused_because_everybody_would_begin_anew() -> None:
    clock = Clock()
    store = store_with(clock)
    await ledger(store, clock, everybody=False).take("alice", 10)
    other = Named(PLACE, b"o" * 32)
    for shard in "0123456789abcdef":
        store.shards.setdefault(shard, Shard(NOON, NAMED.check, {}))
    with pytest.raises(EpsilonUnavailable) as refused:
        await Ledger(store, other, Terms(BUDGET, "Day"), Clocks(lambda: clock.wall, lambda: clock.passed)).take(
            "alice", 1
        )
    assert "another key" in refused.value.why


async def test_sixteen_replicas_that_want_one_shard_all_get_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 2 * PATIENCE)
    clock = Clock()
    store = store_with(clock)
    replicas = [ledger(store, clock, budget=2 * BUDGET) for _ in range(16)]
    await asyncio.gather(*(books.take("", 100) for books in replicas for _ in range(2)))
    spent = sum(books.spent for books in replicas)
    assert 32 * 100 == spent
    assert store.spent(EVERYBODY, EVERYBODY) == spent + sum(books.reserved for books in replicas) <= 2 * BUDGET


def test_subjects_are_told_apart_by_policy_and_namespace_and_by_nobody_without_the_key(tmp_path: Path) -> None:
    elsewhere = Named(
        LedgerPlace(**{**{n: getattr(PLACE, n) for n in PLACE.__struct_fields__}, "policy": "other"}), b"k" * 32
    )
    assert NAMED.name("alice") != elsewhere.name("alice")
    assert NAMED.name("alice") != Named(PLACE, b"o" * 32).name("alice")
    assert len(NAMED.name("alice")) == 32
    short = tmp_path / "key"
    short.write_bytes(b"short")
    for file in (short, tmp_path / "absent"):
        place = LedgerPlace(**{**{n: getattr(PLACE, n) for n in PLACE.__struct_fields__}, "key_file": str(file)})
        with pytest.raises(KeyUnusable):
            subjects_of(place)
