"""One reconcile pass, top to bottom: the only conductor. It decides nothing itself.

    gather facts ─▶ read the spec ─▶ ask the rooms ─▶ draw the plan ─▶ apply it ─▶ tell the status

Called by the workers of `main.py` with a key from the work queue; never by an event. Everything between `gather` and `apply`
is pure, so that a pass can be replayed from its `Given`.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from modelward_operator.api.parse import Invalid, parse
from modelward_operator.facts import Applied, Given, Json, Key, Plan
from modelward_operator.plan.draw import draw
from modelward_operator.plan.standdown import stand_down
from modelward_operator.policies.rooms import rule, rule_unread
from modelward_operator.rulings import Ruling
from modelward_operator.status.news import News, news
from modelward_operator.status.summarise import look_again_after, summarise, summarise_invalid, summarise_unread


class Cluster(Protocol):
    """The Kubernetes API as one pass sees it. `cluster/` implements it; nothing else does I/O."""

    async def gather(self, key: Key) -> Given | None:
        """Return all facts about `key`, or None when the object is gone."""

    async def apply(self, plan: Plan, given: Given) -> Applied:
        """Make the children what the plan says; write nothing where they already are."""

    async def write_status(self, given: Given, status: Json) -> bool:
        """Write the status when it differs from the live one; say whether it was written."""

    async def tell(self, given: Given, items: list[News]) -> None:
        """Post Events."""


async def reconcile(key: Key, cluster: Cluster) -> float | None:
    """Bring one ModelDeployment to its spec; return the seconds after which to look again, None for not before an event.

    Raises `errors.OperatorError` when a fact could not be read or a write lost a race: the queue retries with back-off.
    """
    # 1. Facts. An object that is gone needs nothing: owner references collect its children.
    given = await cluster.gather(key)
    if given is None:
        return None

    # 2. The spec, or every field error at once.
    spec = parse(given.raw)
    if isinstance(spec, Invalid):
        ruling = rule_unread(given)
        return await _hold(given, ruling, partial(summarise_invalid, given, spec, ruling), cluster)

    # 3. The rooms rule; their order cannot matter. What a policy that cannot be read would say, none of them knows.
    ruling = rule(given, spec)
    if given.around.unread or given.around.unread_policies:
        return await _hold(given, ruling, partial(summarise_unread, given, ruling), cluster)

    # 4. The children that shall exist.
    plan = draw(given, spec, ruling)

    # 5. Make it so, where it is not so yet.
    applied = await cluster.apply(plan, given)

    # 6. Say what is, in one write, and tell what is new.
    status = summarise(given, spec, ruling, plan, applied)
    await cluster.write_status(given, status)
    await cluster.tell(given, news(given, status))
    return look_again_after(given, status, applied, plan.again)


async def _hold(given: Given, ruling: Ruling, said: Callable[[Applied], Json], cluster: Cluster) -> float | None:
    """Let what runs run on as it is, because nobody can draw what shall run, unless a room denies it."""
    applied = await cluster.apply(stand_down(given), given) if ruling.denied else Applied()
    status = said(applied)
    await cluster.write_status(given, status)
    await cluster.tell(given, news(given, status))
    return look_again_after(given, status, applied)
