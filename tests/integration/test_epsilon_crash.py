"""Kill -9 of real processes that spend, against a real API server: what was answered is never more than the ledger says.

Twice: small processes that do nothing but spend, killed often, and the whole runtime, which answers real requests. Both act as the pods'
own service account, with the Role that the operator makes, under the chart's admission policy. How much too much is counted is bounded as
well: a process that dies takes one block with it, and the call that it was about to pay for.
"""

import http.client
import json
import random
import select
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelward_runtime.epsilon import period
from modelward_runtime.epsilon.account import SHARE
from modelward_runtime.epsilon.config import LedgerPlace
from tests.integration.apiserver import ApiServer
from tests.integration.guard import guard
from tests.integration.rest import RBAC, apply, request
from tests.integration.test_privacy_ledger import folder_of, ledger
from tests.onnx_models import linear, save
from tests.processes import POLICY, Process, run

ROUNDS, SPENDERS = 30, 4
SERVER_ROUNDS, SERVERS, CLIENTS = 5, 2, 4
BUDGET = 20_000_000
QUOTA = 20_000
"""What a process spends at most, however fast the machine is: with the blocks that are lost the budget outlasts all of them."""


@pytest.fixture
def place(server: ApiServer, namespace: str, tmp_path: Path) -> LedgerPlace:
    """An empty ledger, and the account of the pods that may spend from it."""
    guard(server)
    request(server, "POST", folder_of(namespace), ledger("standard"))
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "fraud", "namespace": namespace}}
    role = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "Role",
        "metadata": {"name": "fraud-spend", "namespace": namespace},
        "rules": [
            rule("privacyledgers", ["get", "spend"]),
            rule("privacyledgers/status", ["update"]),
        ],
    }
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "fraud-spend", "namespace": namespace},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "fraud-spend"},
        "subjects": [{"kind": "ServiceAccount", "name": "fraud", "namespace": namespace}],
    }
    for item in (account, role, binding):
        apply(server, item, dry_run=False)
    wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = request(server, "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/fraud/token", wanted)
    (tmp_path / "token").write_text(token["status"]["token"])
    return LedgerPlace(
        namespace=namespace,
        policy="standard",
        server=server.url,
        token_file=str(tmp_path / "token"),
        ca_file=str(server.folder / "certificates/apiserver.crt"),
    )


def rule(resource: str, verbs: list[str]) -> dict[str, Any]:
    return {"apiGroups": ["modelward.dev"], "resources": [resource], "resourceNames": ["standard-all"], "verbs": verbs}


def row(server: ApiServer, namespace: str) -> tuple[int, int]:
    """When the ledger's period ends, and what was reserved in it."""
    found = request(server, "GET", f"{folder_of(namespace)}/standard-all").get("status", {}).get("rows", {}).get("all")
    return (period.parse(found["resetTime"]), found["spent"]) if found else (0, 0)


def test_spenders_that_are_killed_never_spent_more_than_the_ledger_says(
    server: ApiServer, namespace: str, place: LedgerPlace
) -> None:
    answered: Counter[int] = Counter()
    counted: Counter[int] = Counter()
    lost: Counter[int] = Counter()
    dice = random.Random(20261125)
    for number in range(ROUNDS):
        seeds = [f"{number}-{which}" for which in range(SPENDERS)]
        spenders = [start(place, seed) for seed in seeds]
        if number % 4:  # else some die while they start, or in the middle of their first reservation
            await_answers(spenders)
        time.sleep(dice.random() * 0.4)
        for spender in dice.sample(spenders, SPENDERS):
            spender.kill()
            time.sleep(dice.random() / 50)
        for spender in spenders:
            collect(spender, answered)
        reset, spent = row(server, namespace)
        assert answered[reset] <= spent, f"round {number}: the ledger has counted too little"
        # What is lost with a process: one block, which is a SHARE of what was left, and what its four callers were about to pay.
        # One more is for a write whose answer did not come in time: it counts as done.
        most = (SPENDERS + 1) * ((BUDGET - counted[reset]) // SHARE + 4 * 50)
        assert spent - answered[reset] - lost[reset] <= most, f"round {number}: the ledger has counted too much"
        counted[reset], lost[reset] = spent, spent - answered[reset]
    assert answered.total() > 50 * ROUNDS, "they hardly spent, so that nothing is proved"


def start(place: LedgerPlace, seed: str) -> "subprocess.Popen[bytes]":
    arguments = [msgspec.json.encode(place).decode(), str(BUDGET), str(QUOTA), seed]
    command = [sys.executable, "-m", "tests.ledger_spender", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def await_answers(spenders: "list[subprocess.Popen[bytes]]") -> None:
    """Return when each has answered something: how long a process takes to start, the machine says."""
    silent = {spender.stdout for spender in spenders if spender.stdout}
    while silent:
        heard, _, _ = select.select(list(silent), [], [], 60)
        assert heard, "a spender is silent"
        silent -= set(heard)


def collect(spender: "subprocess.Popen[bytes]", answered: Counter[int]) -> None:
    """Count whole lines only: what was cut off was not answered."""
    out, error = spender.communicate(timeout=30)
    assert spender.returncode == -9, error.decode()
    assert b"Traceback" not in error, error.decode()
    for line in out.split(b"\n")[:-1]:
        reset, cost = line.split()
        answered[int(reset)] += int(cost)


def test_runtimes_that_are_killed_never_answered_more_rows_than_the_ledger_says(
    server: ApiServer, namespace: str, place: LedgerPlace, tmp_path: Path
) -> None:
    save(linear(), tmp_path / "m/model.onnx")
    policy = json.dumps(POLICY | {"privacy": privacy(place)})
    rows, before, period_end = 0, 0, period.end_of("Month", int(time.time()))
    dice = random.Random(5)
    for number in range(SERVER_ROUNDS):
        with ExitStack() as stack:
            folders = [tmp_path / f"{number}-{which}" for which in range(SERVERS)]
            source = {"directory": str(tmp_path / "m")}
            servers = [stack.enter_context(run(folder, source, policy=policy)) for folder in folders]
            for one in servers:
                one.until_ready()
            clients = [Client(one, number) for one in servers for _ in range(CLIENTS)]
            servers[0].until(lambda: sum(client.rows for client in clients) > 20)  # noqa: B023  waited for here
            time.sleep(dice.random() * 0.6)
            for one in servers:
                one.child.kill()
            rows += sum(client.end() for client in clients)
        reset, spent = row(server, namespace)
        if reset != period_end:  # a month has begun, and nobody says which answers are whose
            period_end, before = reset, rows
            continue
        assert (rows - before) * 1000 <= spent, f"round {number}: the ledger has counted too little"
    assert rows > 20 * SERVER_ROUNDS, "each round has answers"


def privacy(place: LedgerPlace) -> dict[str, Any]:
    section = {
        "name": "y",
        "mechanism": "Laplace",
        "lower": "-10",
        "upper": "10",
        "epsilon": "0.001",
        "budget": {"epsilon": "10000", "period": "Month", "scope": "All"},  # no machine is fast enough to use it up
        "ledger": msgspec.to_builtins(place),
    }
    return {"policy": "standard", "policyGeneration": 1, "output": {"differentialPrivacy": section}}


class Client:
    """Asks one server until it is gone, and counts the rows that were answered."""

    def __init__(self, process: Process, seed: int) -> None:
        self.rows = 0
        self._thread = threading.Thread(target=self._ask, args=(process, random.Random(seed)))
        self._thread.start()

    def _ask(self, process: Process, dice: random.Random) -> None:
        with suppress(OSError, http.client.HTTPException):
            while True:
                count = dice.randint(1, 12)
                status, _, answer = process.infer("m", [[1.0, 2.0, 3.0, 4.0]] * count)
                assert status == 200, answer
                self.rows += count

    def end(self) -> int:
        """Wait until it has noticed; the rows."""
        self._thread.join(30)
        return self.rows
