"""Whether all is at rest: the versions of a model's children, and passes of the operator that change none of them.

Used by the cases about what others do to our objects. A pass that wrote would be seen by the resourceVersion, whatever it wrote.
"""

import json
import re
import time
from functools import partial
from typing import Final

import httpx

from e2e.cases.case import OPERATOR, OPERATOR_NAMESPACE, PATIENCE, Case, pod_ready
from e2e.cases.kube import wait
from e2e.cases.manifests import NAME

Versions = dict[tuple[str, str], str]
KINDS: Final = (
    "deployments,services,serviceaccounts,networkpolicies,configmaps,poddisruptionbudgets,roles,rolebindings,"
    "endpointslices,controllerrevisions,horizontalpodautoscalers"
)
_QUIET: Final = 3.0  # seconds without a change: the controllers of others are done
_PASSES: Final = 3
_METRICS: Final = 9090


def children(case: Case, name: str = NAME) -> Versions:
    """Kind and name of each child with its resourceVersion."""
    selector = f"modelward.dev/model={name}"
    told = json.loads(case.kube.kubectl("get", KINDS, "-n", case.namespace, "-l", selector, "-o", "json"))
    found = {(one["kind"], one["metadata"]["name"]): one["metadata"]["resourceVersion"] for one in told["items"]}
    assert ("Deployment", name) in found
    return found


def stand_still(case: Case, name: str = NAME) -> None:
    """See that the children are as they were after passes that are asked for, and after those of an operator that begins anew."""
    before = _settled(case, name)
    _ask_for_passes(case, name, "before")
    assert before == _settled(case, name), "a pass wrote"
    where = ("-n", OPERATOR_NAMESPACE, f"deployment/{OPERATOR}")
    case.kube.kubectl("rollout", "restart", *where)
    case.kube.kubectl("rollout", "status", *where, "--timeout=120s", within=150)
    _ask_for_passes(case, name, "after")
    assert before == _settled(case, name), "an operator that begins anew wrote"


def _ask_for_passes(case: Case, name: str, when: str) -> None:
    for turn in range(_PASSES):
        passes = wait("somebody leads", partial(_passes, case), within=PATIENCE)
        mark = {"metadata": {"annotations": {"cases.example/turn": f"{when}-{turn}"}}}
        case.kube.patch("ModelDeployment", name, mark, case.namespace)
        wait("a pass was made", partial(_have_passed, case, passes), within=PATIENCE)


def _have_passed(case: Case, passes: float) -> bool:
    return _passes(case) > passes


def _settled(case: Case, name: str) -> Versions:
    """The versions once nobody changes them any more."""
    seen: list[tuple[float, Versions]] = [(time.monotonic(), children(case, name))]

    def quiet() -> Versions | None:
        now = children(case, name)
        if now != seen[-1][1]:
            seen.append((time.monotonic(), now))
        return now if time.monotonic() - seen[-1][0] > _QUIET else None

    return wait("the children rest", quiet, within=PATIENCE, last=lambda: str(seen[-2:]))


def _operators(case: Case) -> list[str]:
    """The addresses of the operator's pods that are ready."""
    pods = case.kube.list("Pod", OPERATOR_NAMESPACE, f"app.kubernetes.io/name={OPERATOR}")
    return [pod["status"]["podIP"] for pod in pods if pod_ready(pod)]


def _passes(case: Case) -> float:
    """How many passes the operator has made, of whatever result."""
    told = "".join(
        httpx.get(f"http://{address}:{_METRICS}/metrics", timeout=10, trust_env=False).text
        for address in _operators(case)
    )
    return sum(map(float, re.findall(r"^modelward_reconcile_seconds_count\{[^}]*\} (\S+)$", told, re.MULTILINE)))
