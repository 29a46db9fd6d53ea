"""What a pod is charged for is what the scheduler reserves for it, by the formula of KEP-753 written down plainly."""

from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modelward_operator.facts import Json
from modelward_operator.pricing.requests import requests_of

NAMES = ("cpu", "memory", "nvidia.com/gpu")
LISTS = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 9))
CONTAINERS = st.builds(lambda asked: {"resources": {"requests": written(asked)}}, LISTS)
SIDECARS = st.builds(lambda container: {**container, "restartPolicy": "Always"}, CONTAINERS)
PODS = st.fixed_dictionaries(
    {"containers": st.lists(CONTAINERS, min_size=1, max_size=3)},
    optional={"initContainers": st.lists(CONTAINERS | SIDECARS, max_size=5), "overhead": st.builds(dict, LISTS)},
)


def written(asked: dict[str, int]) -> dict[str, str]:
    return {name: str(number) for name, number in asked.items()}


def reserved(pod: Json, name: str) -> int:
    """Max(each InitContainerUse, Sum(sidecars) + Sum(containers)) + overhead; InitContainerUse(i) = Sum(sidecars before i) + i."""

    def asked(container: Json) -> int:
        return int(container["resources"]["requests"].get(name, "0"))

    inits = pod.get("initContainers", [])
    sidecars = [c.get("restartPolicy") == "Always" for c in inits]
    uses = [
        asked(inits[i]) + sum(asked(inits[j]) for j in range(i) if sidecars[j])
        for i in range(len(inits))
        if not sidecars[i]
    ]
    running = sum(asked(c) for c, stays in zip(inits, sidecars, strict=True) if stays)
    running += sum(map(asked, pod["containers"]))
    return max([*uses, running]) + int(pod.get("overhead", {}).get(name, 0))


@given(PODS)
def test_a_pod_is_charged_for_what_the_scheduler_reserves(pod: dict[str, Any]) -> None:
    found = requests_of(pod)
    assert Fraction(reserved(pod, "cpu")) == found.cpu
    assert Fraction(reserved(pod, "memory")) == found.memory
    assert reserved(pod, "nvidia.com/gpu") == found.devices.get("nvidia.com/gpu", 0)
