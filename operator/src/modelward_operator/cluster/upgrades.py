"""Whose turn it is to be rolled to the serving image of an upgraded operator, so that thousands of models do not roll at once.

    Wanted ─▶ a place is free ──▶ taken, until the Deployment is complete, the spec changes or the model goes
            └ none is free ─────▶ waits in line; the next one is rung for when a place is given back

One whose new pods do not become ready keeps its place: after `places` of them an image that does not work goes no further.
Looked at in every pass by gather.py. After a restart the Deployments say which upgrades are under way (`plan/upgrade.py`). No I/O.
"""

from collections.abc import Callable

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.cluster.kinds import DEPLOYMENT
from modelward_operator.cluster.store import Store, key_of
from modelward_operator.facts import Given, Key
from modelward_operator.plan.names import UPGRADED_FROM
from modelward_operator.plan.upgrade import Upgrade, is_upgrading, upgrade_of


class Upgrades:
    """The places, and the line. `ring` asks for a pass of a model."""

    def __init__(self, store: Store, places: int, ring: Callable[[Key], None]) -> None:
        self._store, self._places, self._ring = store, places, ring
        self._taken: set[Key] = set()
        self._line: dict[Key, None] = {}  # insertion order is the line
        self._remembers = False

    def look(self, given: Given, spec: ModelDeploymentSpec) -> bool:
        """Return whether the model may be rolled now."""
        step = upgrade_of(given, spec)
        if step is Upgrade.SETTLED:
            self.forget(given.key)
            return False
        if step is Upgrade.RUNNING:
            self._take(given.key)
            return False
        self._remember()
        if given.key in self._taken or len(self._taken) < self._places:
            self._take(given.key)
            return True
        self._line[given.key] = None
        return False

    def forget(self, key: Key) -> None:
        """Give back the place of a model that has none to be in any more, and ring for who comes next."""
        self._line.pop(key, None)
        if key not in self._taken:
            return
        self._taken.discard(key)
        while self._line and len(self._taken) < self._places:
            following = next(iter(self._line))
            self._take(following)
            self._ring(following)

    def counts(self) -> dict[str, int]:
        """Return how many are rolled now, and how many wait."""
        return {"running": len(self._taken), "waiting": len(self._line)}

    def _take(self, key: Key) -> None:
        self._line.pop(key, None)
        self._taken.add(key)

    def _remember(self) -> None:
        """Once, before the first place is given: what a process before this one began."""
        if not self._remembers:
            self._remembers = True
            self._taken |= {
                key_of(live) for live in self._store.mentioning(DEPLOYMENT.kind, UPGRADED_FROM) if is_upgrading(live)
            }
