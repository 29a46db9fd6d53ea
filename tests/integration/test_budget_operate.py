"""A budget over time that the test moves, on a real API server: it clamps, falls to the floor or to zero, recovers, and forgets nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modelward_operator.cluster.kinds import BUDGET, BY_KIND, EVENT, MODEL
from modelward_operator.errors import Unreadable
from modelward_operator.facts import Json
from modelward_operator.ledger.book import Book
from modelward_operator.ledger.sighting import Sighting
from modelward_operator.pricing.facts import Rate, Unpriced
from modelward_operator.pricing.money import NANO
from modelward_operator.pricing.reasons import Why
from tests.integration.rig import Rig

START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
PRICE = Rate(6 * NANO, "USD")
FIVE = {"scaling": {"replicas": 5}}
HOURLY = {"limit": "20", "currency": "USD", "period": "Hour", "burnWindowSeconds": 600}


class Budgeted:
    """A rig whose model has pods that cost money, as many as its Deployment asks for."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.pods: list[Sighting] = []
        rig.costs.now, rig.costs.price = START, PRICE

    async def budget(self, name: str = "team", **spec: Any) -> None:
        body = {
            "apiVersion": BUDGET.api_version,
            "kind": BUDGET.kind,
            "metadata": {"name": name, "namespace": self.rig.namespace},
            "spec": HOURLY | spec,
        }
        made = await self.rig.admin.create(BUDGET, body, manager="user")
        await self.rig.heard(BUDGET.kind, name, int(made["metadata"]["resourceVersion"]))

    async def change(self, spec: Json, name: str = "team") -> None:
        made = await self.rig.admin.patch(BUDGET, self.rig.namespace, name, {"spec": spec}, manager="user")
        await self.rig.heard(BUDGET.kind, name, int(made["metadata"]["resourceVersion"]))

    async def remove(self, kind: str, name: str) -> None:
        live = await self.rig.get(kind, name)
        await self.rig.admin.delete(BY_KIND[kind], self.rig.namespace, name, uid=live["metadata"]["uid"])
        await self.rig.unknown(kind, name)

    @property
    def replicas(self) -> int:
        return int(self.rig.live("Deployment").get("spec", {}).get("replicas", 0))

    async def settle(self) -> int:
        """Evaluate and reconcile until nothing changes; return the replicas."""
        for _ in range(4):
            before = self.replicas
            await self.rig.costs.look(self.rig.namespace)
            try:
                await self.rig.reconcile()
            except Unreadable:
                continue
            self._pay()
            if self.replicas == before:
                break
        return self.replicas

    async def advance(self, minutes: int) -> int:
        """Let time pass, a minute at a time; return the replicas."""
        for _ in range(minutes):
            self.rig.costs.now += timedelta(minutes=1)
            self._pay()
            await self.settle()
        return self.replicas

    def _pay(self) -> None:
        now = int(self.rig.costs.now.timestamp())
        del self.pods[self.replicas :]
        while len(self.pods) < self.replicas:
            self.pods.append(Sighting(f"pod-{now}-{len(self.pods)}", "fraud", "node-a", now, None, PRICE))
        self.rig.costs.book.observe("fraud", self.pods, now)

    async def status(self, name: str = "team") -> Json:
        found: Json = (await self.rig.get(BUDGET.kind, name)).get("status", {})
        return found

    async def said(self, type_: str, name: str = "team") -> tuple[str, str]:
        conditions = (await self.status(name))["conditions"]
        (found,) = (c for c in conditions if c["type"] == type_)
        return found["status"], found["reason"]

    async def events(self) -> list[str]:
        found: list[Json] = []
        async for page, _ in self.rig.admin.pages(EVENT, self.rig.namespace, fields="involvedObject.kind=CostBudget"):
            found += page
        return [event["reason"] for event in found]


@pytest.fixture
def budgeted(rig: Rig) -> Budgeted:
    return Budgeted(rig)


async def test_it_lets_a_burst_pass_then_clamps_then_keeps_the_floor_and_recovers_in_the_next_period(
    budgeted: Budgeted,
) -> None:
    await budgeted.budget(limit="17")
    await budgeted.rig.create(FIVE)
    assert await budgeted.settle() == 5
    assert await budgeted.said("WithinBudget") == ("True", "ForecastExceedsLimit")
    assert await budgeted.advance(15) == 5
    assert 1 < await budgeted.advance(7) < 5
    condition = await budgeted.rig.condition("WithinBudget")
    assert ("False", "BudgetClamped") == (condition["status"], condition["reason"])
    assert "CostBudget team (17.00 USD in the hour that ends 2026-11-25 13:00 UTC)" in condition["message"]
    assert await budgeted.advance(20) == 1
    assert (await budgeted.rig.condition("WithinBudget"))["reason"] == "BudgetAtFloor"
    assert (await budgeted.status())["lastAction"]["action"] == "ScaleToFloor"
    assert await budgeted.advance(17) >= 1
    spent = budgeted.rig.costs.book.spent("fraud", int(START.timestamp()), int(START.timestamp()) + 3600)
    assert 16 * NANO <= spent["USD"] <= 17 * NANO
    assert await budgeted.advance(2) == 5
    assert await budgeted.said("WithinBudget") == ("True", "ForecastExceedsLimit")
    assert (await budgeted.status())["periodStart"] == "2026-11-25T13:00:00Z"
    assert {"ClampMaxReplicas", "ScaleToFloor", "PeriodBegan"} <= set(await budgeted.events())


async def test_a_ledger_that_cannot_be_read_is_said_by_the_budget_and_changes_nothing(budgeted: Budgeted) -> None:
    await budgeted.budget()
    await budgeted.rig.create(FIVE)
    assert await budgeted.settle() == 5
    evaluator = budgeted.rig.costs.evaluator
    assert evaluator is not None
    readable = evaluator.book

    def broken(namespace: str) -> Book:
        raise Unreadable(f"CostLedger {namespace}/costs-2026-11-25-0: spec.rows: no such field")

    evaluator.book = broken
    assert await budgeted.settle() == 5
    assert await budgeted.said("Evaluated") == ("True", "Evaluated"), (
        "an operator that starts anew says nothing at once"
    )
    budgeted.rig.costs.now += timedelta(minutes=2)
    assert await budgeted.settle() == 5
    assert await budgeted.said("Evaluated") == ("Unknown", "LedgerUnreadable")
    evaluator.book = readable
    await budgeted.settle()
    assert await budgeted.said("Evaluated") == ("True", "Evaluated")


async def test_a_spec_that_asks_for_more_waits_for_the_budget_and_starts_no_pod_before(budgeted: Budgeted) -> None:
    await budgeted.budget()
    await budgeted.rig.create({"scaling": {"replicas": 1}})
    assert await budgeted.settle() == 1
    await budgeted.rig.change({"scaling": {"replicas": 500}})
    with pytest.raises(Unreadable, match="not evaluated since the model may ask for more"):
        await budgeted.rig.reconcile()
    assert budgeted.replicas == 1
    assert 1 < await budgeted.settle() < 30


async def test_the_floor_of_a_suspended_model_is_set_aside_from_nobody(budgeted: Budgeted) -> None:
    await budgeted.budget(limit="11", floor=1)
    await budgeted.rig.create({"scaling": {"replicas": 1}})
    await budgeted.rig.create({"scaling": {"replicas": 1}, "suspend": True}, name="rest")
    assert await budgeted.settle() == 1
    await budgeted.rig.reconcile("rest")
    assert await budgeted.settle() == 1
    assert ("True", "WithinBudget") == await budgeted.said("WithinBudget"), "two floors would cost 12 an hour"
    await budgeted.rig.change({"suspend": False}, name="rest")
    with pytest.raises(Unreadable):
        await budgeted.rig.reconcile("rest")
    assert await budgeted.settle() == 1
    await budgeted.rig.reconcile("rest")
    assert ("False", "FloorExceedsLimit") == await budgeted.said("WithinBudget")


@pytest.mark.parametrize(("ladder", "denied"), [("ScaleToZero", False), ("Suspend", True)])
async def test_deleting_and_creating_anew_resets_nothing(ladder: str, denied: bool, budgeted: Budgeted) -> None:
    await budgeted.budget(onExceeded=ladder, floor=5, allowBelowFloor=True)
    await budgeted.rig.create(FIVE)
    await budgeted.settle()
    assert await budgeted.advance(50) == 0
    for condition in ("Ready", "WithinBudget"):
        said = await budgeted.rig.condition(condition)
        assert ("False", "BudgetExceeded") == (said["status"], said["reason"])
    assert await budgeted.said("WithinBudget") == ("False", "BudgetExceeded")
    assert (await budgeted.status())["lastAction"]["action"] == ladder

    await budgeted.remove("CostBudget", "team")
    await budgeted.budget(onExceeded=ladder, floor=5, allowBelowFloor=True)
    assert await budgeted.settle() == 0, "the budget was deleted and created anew"

    for (kind, name), _ in (await budgeted.rig.children()).items():
        await budgeted.remove(kind, name)  # no garbage collector runs here
    await budgeted.remove("ModelDeployment", "fraud")
    await budgeted.rig.create(FIVE)
    assert await budgeted.settle() == 0, "the model was deleted and created anew"

    evaluator = budgeted.rig.costs.evaluator
    assert evaluator is not None
    evaluator.budgets._evaluated.clear()  # as an operator that starts anew
    assert await budgeted.settle() == 0, "the operator started anew"
    assert await budgeted.advance(11) > 0, "the next period"


async def test_an_override_brings_replicas_back_until_it_expires_and_is_kept_in_the_ledger(budgeted: Budgeted) -> None:
    await budgeted.budget(onExceeded="ScaleToZero", floor=0)
    await budgeted.rig.create(FIVE)
    await budgeted.settle()
    assert await budgeted.advance(50) == 0
    override = {"extraLimit": "20", "reason": "INC-1", "expires": "2026-11-25T13:54:00+01:00"}
    await budgeted.change({"override": override})
    assert await budgeted.settle() > 0
    assert (await budgeted.status())["limit"] == "40"
    assert await budgeted.advance(5) == 0
    (kept,) = budgeted.rig.costs.book.overrides
    assert ("team", "20", "USD", "INC-1", "2026-11-25T12:54:00Z") == (
        kept.budget,
        kept.extra_limit,
        kept.currency,
        kept.reason,
        kept.expires,
    )


async def test_of_two_budgets_the_tighter_holds_and_all_say_so(budgeted: Budgeted) -> None:
    await budgeted.budget("tight", limit="9", burnWindowSeconds=3600)
    await budgeted.budget("wide", limit="2000")
    await budgeted.rig.create(FIVE)
    assert await budgeted.settle() == 1
    message = (await budgeted.rig.condition("WithinBudget"))["message"]
    assert message.index("CostBudget tight") < message.index("CostBudget wide")
    for name, other in (("tight", "wide"), ("wide", "tight")):
        (evaluated,) = (c for c in (await budgeted.status(name))["conditions"] if c["type"] == "Evaluated")
        assert f"under several budgets, of which the tightest holds: fraud (also {other})" in evaluated["message"]


async def test_a_budget_that_selects_others_leaves_the_model_alone(budgeted: Budgeted) -> None:
    await budgeted.budget(limit="1", selector={"matchLabels": {"team": "other"}})
    await budgeted.rig.create(FIVE)
    assert await budgeted.settle() == 5
    assert await budgeted.rig.condition("WithinBudget") == {}
    assert (await budgeted.status())["models"] == 0


async def test_a_time_zone_that_does_not_exist_lets_nothing_grow_and_says_so(budgeted: Budgeted) -> None:
    await budgeted.rig.create({"scaling": {"replicas": 2}})
    assert await budgeted.settle() == 2
    await budgeted.budget(timeZone="Mars/Olympus")
    await budgeted.rig.change(FIVE)
    assert await budgeted.settle() == 2
    assert await budgeted.said("Evaluated") == ("False", "BudgetInvalid")
    said = await budgeted.rig.condition("WithinBudget")
    assert ("False", "BudgetInvalid") == (said["status"], said["reason"])
    assert "there is no time zone Mars/Olympus" in said["message"]
    await budgeted.change({"timeZone": "Europe/Berlin", "limit": "2000"})
    assert await budgeted.settle() == 5
    assert await budgeted.said("Evaluated") == ("True", "Evaluated")


UNKNOWN = [
    # why this row, what prices say, the budget, replicas, the reason
    ("no price", Unpriced(Why.MISSING, "no PriceBook has a price for node a"), {}, 1, "CostUnknown"),
    ("no price, and no floor", Unpriced(Why.MISSING, "no PriceBook"), {"floor": 0}, 0, "CostUnknown"),
    ("another currency", Rate(NANO, "EUR"), {}, 1, "CurrencyMismatch"),
    ("no price, allowed", Unpriced(Why.MISSING, "no PriceBook"), {"onUnknownCost": "Allow"}, 5, "WithinBudget"),
]


@pytest.mark.parametrize(("reason", "price", "spec", "runs", "word"), UNKNOWN, ids=[row[0] for row in UNKNOWN])
async def test_what_cannot_be_counted_runs_at_the_floor_unless_allowed(
    reason: str, price: Rate | Unpriced, spec: Json, runs: int, word: str, budgeted: Budgeted
) -> None:
    budgeted.rig.costs.price = price
    await budgeted.budget(**spec)
    await budgeted.rig.create(FIVE)
    await budgeted.rig.costs.look(budgeted.rig.namespace)
    await budgeted.rig.reconcile()
    assert budgeted.replicas == runs, reason
    assert (await budgeted.rig.condition("WithinBudget"))["reason"] == word
    assert (await budgeted.said("Evaluated"))[0] == "False"


async def test_before_it_is_evaluated_nothing_is_concluded(budgeted: Budgeted) -> None:
    await budgeted.rig.create(FIVE)
    await budgeted.settle()
    await budgeted.budget(limit="0.000001", floor=0, onExceeded="ScaleToZero")
    with pytest.raises(Unreadable, match="CostBudget team was not evaluated yet"):
        await budgeted.rig.reconcile()
    assert budgeted.replicas == 5
    assert await budgeted.settle() == 0


async def test_figures_that_move_are_written_once_a_minute_and_an_action_at_once(budgeted: Budgeted) -> None:
    await budgeted.budget()
    await budgeted.rig.create(FIVE)
    await budgeted.settle()
    before = budgeted.rig.writes["patch", BUDGET.kind]
    for _ in range(5):
        budgeted.rig.costs.now += timedelta(seconds=10)
        await budgeted.rig.costs.look(budgeted.rig.namespace)
    assert budgeted.rig.writes["patch", BUDGET.kind] == before
    await budgeted.change({"limit": "7"})
    await budgeted.rig.costs.look(budgeted.rig.namespace)
    assert budgeted.rig.writes["patch", BUDGET.kind] == before + 1


async def test_a_pass_under_a_budget_that_moves_writes_nothing(budgeted: Budgeted) -> None:
    await budgeted.budget()
    await budgeted.rig.create(FIVE)
    await budgeted.advance(3)
    await budgeted.rig.heard_all()
    before = await budgeted.rig.versions()
    await budgeted.advance(3)
    assert before == await budgeted.rig.versions()


async def test_a_changed_allowance_rings_for_the_model(budgeted: Budgeted) -> None:
    await budgeted.budget()
    await budgeted.rig.create(FIVE)
    await budgeted.settle()
    budgeted.rig.rung.clear()
    await budgeted.rig.costs.look(budgeted.rig.namespace)
    assert budgeted.rig.key() not in budgeted.rig.rung
    await budgeted.change({"limit": "7"})
    await budgeted.rig.costs.look(budgeted.rig.namespace)
    assert budgeted.rig.key() in budgeted.rig.rung
    budgeted.rig.rung.clear()
    await budgeted.remove("CostBudget", "team")
    await budgeted.rig.costs.look(budgeted.rig.namespace)
    assert budgeted.rig.key() in budgeted.rig.rung, "what the budget denied may serve again"


async def test_what_a_deleted_model_spent_stays_under_the_budget_that_selected_it(budgeted: Budgeted) -> None:
    """A name is no way out: a model that is deleted and made anew under another name begins where the first one ended."""
    await budgeted.budget("mine", selector={"matchLabels": {"team": "mine"}})
    await budgeted.budget("other", selector={"matchLabels": {"team": "other"}})
    await budgeted.rig.create(FIVE)
    labels = {"metadata": {"labels": {"team": "mine"}}}
    made = await budgeted.rig.admin.patch(MODEL, budgeted.rig.namespace, "fraud", labels, manager="user")
    await budgeted.rig.heard(MODEL.kind, "fraud", int(made["metadata"]["resourceVersion"]))
    await budgeted.settle()
    await budgeted.advance(10)
    await budgeted.remove("ModelDeployment", "fraud")
    await budgeted.rig.costs.look(budgeted.rig.namespace)
    budgets = budgeted.rig.costs.budgets
    assert budgets is not None
    mine, other = (budgets.last(budgeted.rig.namespace, name) for name in ("mine", "other"))
    assert mine is not None
    assert other is not None
    assert (mine.spent > 0, other.spent) == (True, 0)
    assert budgeted.rig.costs.book.labels == {"fraud": {"team": "mine"}}
