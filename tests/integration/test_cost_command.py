"""`kubectl modelward cost` through the real kubectl, on a real API server: the kinds are found, and what may not be read is said."""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.binaries import binary
from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import BUDGET, COSTS, MODEL, POD, PRICES, Resource
from modelward_operator.ledger import shards
from modelward_operator.ledger.book import Book
from modelward_operator.ledger.sighting import Sighting
from modelward_operator.plan.names import selector
from modelward_operator.plugin.cli import main
from modelward_operator.pricing.facts import Rate
from tests.integration.apiserver import ApiServer
from tests.integration.rest import RBAC, apply
from tests.onnx_models import linear, save
from tests.processes import run as run_process

Json = dict[str, Any]


async def settle(client: Client, namespace: str) -> datetime:
    """A model that has run for an hour at 2 USD, a budget, a price; and the ledger as the operator writes it. Returns when it ends."""
    made = datetime.now(UTC)
    now = int(made.timestamp())
    book = Book()
    book.observe("fraud", [Sighting("uid-1", "fraud", "node-1", now - 3600, rate=Rate(2 * 10**9, "USD"))], now)
    objects: list[tuple[Resource, Mapping[str, Any]]] = [
        (COSTS, one) for day in book.days() for one in _written(book, namespace, day)
    ]
    scaling = {"minReplicas": 1, "maxReplicas": 2}
    spec = {"model": {"uri": "s3://models/fraud/7/"}, "scaling": scaling}
    objects += [(MODEL, {"kind": MODEL.kind, "metadata": {"name": "fraud", "namespace": namespace}, "spec": spec})]
    limits = {"limit": "500", "currency": "USD", "period": "Day"}
    objects += [(BUDGET, {"kind": BUDGET.kind, "metadata": {"name": "day", "namespace": namespace}, "spec": limits})]
    prices = {"currency": "USD", "nodes": [{"name": "any", "matchLabels": {"a": "b"}, "price": {"node": "2"}}]}
    objects += [(PRICES, {"kind": PRICES.kind, "metadata": {"name": namespace}, "spec": prices})]
    for resource, item in objects:
        await client.create(resource, {"apiVersion": resource.api_version, **item}, manager="test")
    status = {"limit": "500", "spent": "2", "hourly": "2", "forecast": "40", "periodEnd": "2030-01-01T00:00:00Z"}
    await client.patch(BUDGET, namespace, "day", {"status": status}, manager="test", subresource="status")
    return made


def _written(book: Book, namespace: str, day: int) -> Sequence[Mapping[str, Any]]:
    places = shards.place(book, day, {})
    return list(shards.write(book, namespace, day, places, with_pods=day == book.days()[-1]))


@pytest.fixture
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{binary('kubectl').parent}:{os.environ['PATH']}")


async def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = await asyncio.to_thread(main, ["cost", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.mark.usefixtures("on_path")
async def test_cost_is_read_from_the_ledgers_of_the_cluster(
    server: ApiServer, client: Client, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = await settle(client, namespace)
    chosen = ["--kubeconfig", str(server.kubeconfig)]
    status, printed, _ = await run(capsys, "-n", namespace, *chosen, "--json")
    assert 0 == status
    found = json.loads(printed)
    (row,) = found["models"]
    assert ("fraud", "2", "USD") == (row["name"], row["hourly"], row["currency"])
    if (made - timedelta(hours=1)).month == datetime.now(UTC).month:  # the hour lies in this month
        assert "2" == row["spent"]
    assert ["498"] == [one["left"] for one in found["budgets"]]
    assert [] == found["notes"]
    _, everywhere, _ = await run(capsys, "-A", *chosen, "--json")
    assert (namespace, "fraud") in {(one["namespace"], one["name"]) for one in json.loads(everywhere)["models"]}
    _, page, _ = await run(capsys, "-n", namespace, *chosen, "--period", "Day", "--time-zone", "Europe/Berlin")
    assert "Day in Europe/Berlin" in page
    assert "498.00 USD" in page
    _, sheet, _ = await run(capsys, "-n", namespace, *chosen, "--csv")
    assert 2 == len(sheet.splitlines())


async def test_pods_say_how_long_nobody_has_called(
    server: ApiServer,
    client: Client,
    namespace: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The real serving process answers. There is no kubelet here to forward a port through, so that a script leads there."""
    await settle(client, namespace)
    for name in ("one", "two"):
        await _ready_pod(client, namespace, name)
    chosen = ["-n", namespace, "--kubeconfig", str(server.kubeconfig), "--json"]
    file = save(linear(), tmp_path / "m/model.onnx")
    with run_process(tmp_path / "p", {"directory": str(file.parent)}) as process:
        await asyncio.to_thread(process.until_ready)
        forward = f'case " $* " in *" port-forward "*) echo "Forwarding from 127.0.0.1:{process.ports[2]} -> 8082"; exec sleep 60;; esac'
        script = tmp_path / "bin" / "kubectl"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\n{forward}\nexec {binary("kubectl")} "$@"\n')
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
        _, printed, _ = await run(capsys, *chosen)
        (row,) = json.loads(printed)["models"]
        assert 0 <= row["idle"]["seconds"] < 300
        assert "0" == row["idle"]["saved"]
        _, printed, _ = await run(capsys, *chosen, "--no-idle")
        assert "idle" not in json.loads(printed)["models"][0]
    _, printed, _ = await run(capsys, *chosen)  # the process is gone
    found = json.loads(printed)
    assert "does not say it" in found["models"][0]["idle"]["unknown"]
    assert any("how long nobody has called is not known" in note for note in found["notes"])


async def _ready_pod(client: Client, namespace: str, name: str) -> None:
    containers = [{"name": "runtime", "image": "i"}]
    meta = {"name": name, "namespace": namespace, "labels": selector("fraud")}
    spec = {"automountServiceAccountToken": False, "containers": containers}
    await client.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}, manager="test")
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await client.patch(POD, namespace, name, {"status": status}, manager="test", subresource="status")


@pytest.mark.usefixtures("on_path")
async def test_what_may_not_be_read_is_a_note_and_nothing_at_all_an_error(
    server: ApiServer, client: Client, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await settle(client, namespace)
    for names, granted in ((["modeldeployments"], "models"), ([], "nothing")):
        rules = [{"apiGroups": ["modelward.dev"], "resources": names, "verbs": ["get", "list"]}]
        _grant(server, namespace, granted, rules if names else [])
        file = _as(server, granted, tmp_path)
        status, printed, wrong = await run(capsys, "-n", namespace, "--kubeconfig", str(file), "--json")
        if names:
            notes = json.loads(printed)["notes"]
            assert 0 == status
            assert any(note.startswith("CostLedgers cannot be read") for note in notes), notes
        else:
            assert (2, "") == (status, printed)
            assert "forbidden" in wrong


@pytest.mark.usefixtures("on_path")
async def test_a_zone_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, wrong = await run(capsys, "--time-zone", "Mars/Olympus")
    assert (2, True) == (status, "there is no time zone 'Mars/Olympus'" in wrong)


def _as(server: ApiServer, user: str, folder: Path) -> Path:
    """A kubeconfig with which an administrator acts as a user."""
    config = yaml.safe_load(server.kubeconfig.read_text())
    for one in config["users"]:
        one["user"]["as"] = user
    file = folder / f"{user}.kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return file


def _grant(server: ApiServer, namespace: str, user: str, rules: list[Json]) -> None:
    meta = {"metadata": {"name": user, "namespace": namespace}, "apiVersion": f"{RBAC}/v1"}
    subject = {"kind": "User", "name": user, "apiGroup": RBAC}
    reference = {"apiGroup": RBAC, "kind": "Role", "name": user}
    apply(server, {**meta, "kind": "Role", "rules": rules}, dry_run=False)
    binding = {**meta, "kind": "RoleBinding", "subjects": [subject], "roleRef": reference}
    apply(server, binding, dry_run=False)  # in force when this returns
