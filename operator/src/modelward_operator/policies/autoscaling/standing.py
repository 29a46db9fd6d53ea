"""The number of replicas that stands on a Deployment, also while a denial or a bound holds it lower. Asked by `rule.py` and `plan/`."""

import re

from modelward_operator.facts import Json
from modelward_operator.plan import names


def held_replicas(live: Json, default: int = 1) -> int:
    """Return the number that was last asked for on a Deployment, also while a denial holds it at zero; `default` where there is none."""
    held = live.get("metadata", {}).get("annotations", {}).get(names.HELD_REPLICAS)
    return int(live.get("spec", {}).get("replicas", default)) if held is None else _remembered(held)


def _remembered(held: str) -> int:
    """Read the annotation, which a hand may have edited: what is no number of replicas counts as one."""
    return int(held) if re.fullmatch("[0-9]{1,9}", held) else 1
