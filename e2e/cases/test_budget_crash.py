"""Kill -9 of serving pods' processes at random points: what was answered is never more than the ledger of the privacy budget says.

`tests/integration/test_epsilon_crash.py` does the same to processes, in many more rounds. Here they are pods, with the operator's Role, the
chart's admission policies and the Service between them and their callers. It ends processes of the embedded cluster's node, so it is
skipped where `CLUSTER=current`.
"""

import json
import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from e2e.cases.callers import token
from e2e.cases.case import PATIENCE, Case, pod_ready
from e2e.cases.clients import HTTP
from e2e.cases.kube import Object, wait
from e2e.cases.manifests import NAME
from e2e.cases.periods import lasting

pytestmark = [
    pytest.mark.core,
    pytest.mark.skipif(os.environ.get("CLUSTER") == "current", reason="processes of somebody else's node are not ours"),
]
ROUNDS, REPLICAS, CALLERS = 5, 2, 4
QUOTA = 5_000  # rows that are asked for in a round: a fast machine uses up no more of the budget than a slow one
MICRO = 1_000_000  # a row costs an epsilon of 1
BUDGET = 2 * ROUNDS * QUOTA
BLOCK = BUDGET // 32


def policy() -> Object:
    """Each row costs a part of a budget for all."""
    promise = {
        "name": "y",
        "mechanism": "Laplace",
        "lower": "0",
        "upper": "2",
        "epsilon": "1",
        "budget": {"epsilon": str(BUDGET), "period": lasting(), "scope": "All"},
    }
    return {
        "apiVersion": "modelward.dev/v1alpha1",
        "kind": "PrivacyPolicy",
        "metadata": {"name": "counted"},
        "spec": {"output": {"differentialPrivacy": promise}},
    }


@dataclass
class Crowd:
    """Callers that ask again and again, and count the rows that were answered; whatever else they get they ask anew."""

    url: str
    bearer: str
    rows: int = 0
    quota: int = 0
    refused: str = "no call was refused"
    over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def await_answers(self) -> None:
        """Let them ask for the next round's rows, and see that they are answered."""
        expected = self.rows + 40
        self.quota = self.rows + QUOTA
        wait("callers are answered", lambda: self.rows > expected, within=PATIENCE, last=lambda: self.refused)

    def call(self, seed: int) -> None:
        dice = random.Random(seed)
        headers = {"authorization": f"Bearer {self.bearer}", "connection": "close"}  # each call may meet another pod
        with httpx.Client(timeout=10, trust_env=False, headers=headers) as client:
            while not self.over.wait(0.02):  # so that the quota outlasts the pods
                if self.rows < self.quota:
                    self._ask(client, dice.randint(1, 20))

    def _ask(self, client: httpx.Client, rows: int) -> None:
        tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 4], "data": [0.5] * 4 * rows}
        try:
            answer = client.post(self.url, json={"inputs": [tensor]})
        except httpx.HTTPError as error:
            self.refused = repr(error)
            return
        if answer.status_code == 200:
            with self._lock:
                self.rows += rows
        else:
            self.refused = f"{answer.status_code} {answer.text}"


@contextmanager
def crowd(case: Case, bearer: str) -> Iterator[Crowd]:
    opened = Crowd(f"http://{case.service_address()}:{HTTP}/v2/models/{NAME}/infer", bearer)
    callers = [threading.Thread(target=opened.call, args=(seed,)) for seed in range(CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield opened
    finally:
        opened.over.set()
        for caller in callers:
            caller.join()


def processes(pod: Object) -> list[int]:
    """The serving processes of a pod, by the control group that the kubelet put them into."""
    uid = str(pod["metadata"]["uid"])
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            groups, command = (folder / "cgroup").read_text(), (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended
        if (uid in groups or uid.replace("-", "_") in groups) and b"modelward" in command:
            found.append(int(folder.name))
    return found


def kill(case: Case, pod: Object) -> None:
    """As a node without memory does; the pod goes at once as well, so that the next one need not wait for a back-off."""
    victims = processes(pod)
    assert victims, "the pod's process runs on this node"
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    case.kube.delete("Pod", pod["metadata"]["name"], case.namespace, grace=0)


def spent(case: Case) -> int:
    """Rows that the ledger counts."""
    told = case.kube.kubectl("get", "privacyledgers", "counted-all", "-n", case.namespace, "-o", "json")
    return int(json.loads(told).get("status", {}).get("rows", {}).get("all", {}).get("spent", 0)) // MICRO


def test_pods_that_are_killed_never_answered_more_rows_than_the_ledger_says(case: Case) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}}
    case.apply(account, policy())
    reader = {"kind": "ServiceAccount", "name": "reader", "namespace": case.namespace}
    case.serve(
        security={"authentication": {"mode": "TokenReview", "allowedSubjects": [reader]}},
        privacy={"policyRef": {"name": "counted"}},
        scaling={"replicas": REPLICAS},
    )
    dice = random.Random(20261126)

    def serving() -> list[Object]:
        found = [pod for pod in case.pods() if pod_ready(pod)]
        return found if len(found) == REPLICAS else []

    killed = 0
    with crowd(case, token(case.kube, case.namespace, "reader")) as callers:
        for number in range(ROUNDS):
            pods = wait("both pods serve", serving, within=PATIENCE, last=case.told)
            callers.await_answers()
            callers.over.wait(dice.random())
            for pod in dice.sample(pods, dice.randint(1, REPLICAS)):
                kill(case, pod)
                killed += 1
                callers.over.wait(dice.random() / 10)
            answered = callers.rows  # read before the ledger is: what is answered was reserved earlier
            assert answered <= spent(case), f"round {number}: the ledger has counted too little"
    assert callers.rows <= spent(case)
    assert callers.rows > 40 * ROUNDS, "they hardly asked, so that nothing is proved"
    # What is lost with a process: a block, which is a share of what was left, and what its callers were about to pay.
    assert spent(case) <= callers.rows + (killed + REPLICAS) * (BLOCK + CALLERS * 20)
