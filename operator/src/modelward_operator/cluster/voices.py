"""What each container has said that it has loaded, and for how long a ready pod has been asked in vain. Called by `gather.py`.

A container loads once, so what it said stays true however long it is silent: a network that fails makes no governed model end. A pod that
never says it, though the kubelet has called it Ready, is no runtime of ours, or one that nobody can hear; the room `governance` rules on
that. Kept in memory: after a restart of the operator the time begins anew, and what was said comes back from `status.heard`.
"""

import json
from collections.abc import Callable
from typing import Final, TypeVar

from modelward_operator.facts import Json

T = TypeVar("T")
REMEMBERED: Final = 10_000
"""Containers and pods that are kept at most; beyond, all are forgotten and heard again."""


class Voices:
    """The newest report that said Ready by container ID, and by pod since when it has been ready and no container of it has said so."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said: dict[str, bytes] = {}  # as JSON: a fifth of what it is parsed, and hardly ever asked for
        self._mute_since: dict[str, float] = {}

    def hear(
        self, pod: str, container: str, report: Json, *, is_ready: bool, before: Json | None = None
    ) -> tuple[Json, float]:
        """Take what a pod answered, and what is known of its container from `before` this process began.

        Return what its container last said that it has loaded, and the seconds of the pod's silence.
        """
        loads = report.get("state") == "Ready"
        if loads:
            _keep(self._said, container, json.dumps(report).encode())
        elif before and container not in self._said:
            _keep(self._said, container, json.dumps(before).encode())
        if said := self._said.get(container):
            self._mute_since.pop(pod, None)
            return report if loads else json.loads(said), 0.0
        if is_ready and pod not in self._mute_since:
            _keep(self._mute_since, pod, self._clock())
        since = self._mute_since.get(pod)  # not forgotten when it is unready in between: to flicker is no way out
        return {}, 0.0 if since is None else self._clock() - since


def _keep(kept: dict[str, T], key: str, value: T) -> None:
    if len(kept) >= REMEMBERED and key not in kept:
        kept.clear()
    kept[key] = value
