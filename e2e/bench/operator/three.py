"""Our operator, of whose children three are written: Deployment, Service and HorizontalPodAutoscaler, as the others write them.

No spec of ours yields so few, so the comparison needs this program. A pass does all that it does: it gathers the same facts, asks every
room, draws and hashes the whole plan, computes the whole status. Only what the others have no counterpart of is left out of the writes.
"""

import sys
from dataclasses import replace
from typing import Final

from modelward_operator import main
from modelward_operator.cluster.adapter import KubernetesCluster
from modelward_operator.facts import Applied, Given, Plan

WRITTEN: Final = frozenset({"Deployment", "Service", "HorizontalPodAutoscaler"})

_whole = KubernetesCluster.apply


async def _three(self: KubernetesCluster, plan: Plan, given: Given) -> Applied:
    """Of the whole plan three objects are written."""
    return await _whole(self, replace(plan, objects=tuple(o for o in plan.objects if o["kind"] in WRITTEN)), given)


if __name__ == "__main__":
    KubernetesCluster.apply = _three  # type: ignore[method-assign]
    sys.exit(main.run())
