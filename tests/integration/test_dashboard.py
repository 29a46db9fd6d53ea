"""The dashboard and the alert rules against what the programs export: a real Prometheus scrapes a real operator, activator and serving
process while load is on them, and is asked every query. A metric or label that is renamed anywhere fails here.
"""

import asyncio
import functools
import re
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from helm.panels import queries
from modelward_operator.cluster.client import Client
from modelward_operator.cluster.configuration import load_configuration
from modelward_operator.cluster.kinds import BUDGET, NODE, POD, PRICES, Resource
from modelward_operator.plan.names import ADMIN_PORT, selector
from modelward_runtime.admin import App
from modelward_runtime.config import Boot, ModelSource
from modelward_runtime.listen import HttpListener
from modelward_runtime.meter import Meter
from modelward_runtime.report import Report, State
from tests.activators import Stage, call, stage
from tests.integration.apiserver import ApiServer
from tests.integration.prometheus import Prometheus, Target, prometheus
from tests.integration.running import Json, Running, create, exists, run_pod, running, until
from tests.onnx_models import linear, save
from tests.processes import run
from tests.serving_certificates import Authority, mount

ROOT = Path(__file__).parents[2]
RULES = ROOT / "helm" / "modelward" / "files" / "alerts.yaml"
CASES = Path(__file__).parent / "alerts" / "cases.yaml"
NAMESPACE = "seen"
ADDRESS, DEAF = "127.81.0.1", "127.81.0.2"  # of the loopback, and nobody else's; nobody listens at the second
SPACE = Resource("Namespace", "", "v1", "namespaces")
BOOT = Boot(api_version="runtime/v1", kind="Boot", model=ModelSource(name="fraud", version="1", uri="pvc://claim/m"))
SCALED: Json = {"scaling": {"minReplicas": 1, "maxReplicas": 5, "targetConcurrency": "2"}}
SCRAPES = 6
OF_THE_SCRAPE = {"job", "instance", "pod", "le"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prometheus]:
    """A Prometheus that has watched a burst, a cold start and a bill."""
    folder = tmp_path_factory.mktemp("seen")
    client = Client(await load_configuration({"KUBECONFIG": str(server.kubeconfig)}))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        await client.create(
            SPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, manager="t"
        )
        operator = await stack.enter_async_context(running(server, folder, NAMESPACE, clusterwide=True))
        below = stack.enter_context(ExitStack())
        scene = below.enter_context(stage(folder / "stage", save(linear(), folder / "m/model.onnx").parent))
        pod = scene.begin_pod()
        pod.process.until(lambda: 200 == call("GET", pod.address, scene.pod_ports[2], "/readyz")[0])
        issued = Authority().issue()
        mount(folder / "tls", issued.certificate, issued.key)
        model = {"directory": str(folder / "m")}
        secured = below.enter_context(
            run(folder / "secured", model, access={"tls": {"directory": str(folder / "tls")}})
        )
        targets = [
            Target("modelward", f"127.0.0.1:{operator.metrics}", {}, honor_labels=True),
            Target("activator", f"127.0.0.1:{scene.activator.ports[2]}", {}, honor_labels=True),
            Target(
                "models",
                f"{pod.address}:{scene.pod_ports[2]}",
                {"namespace": NAMESPACE, "model": "m"},
                honor_labels=False,
            ),
            Target(
                "secured",
                f"127.0.0.1:{secured.ports[2]}",
                {"namespace": NAMESPACE, "model": "secured"},
                honor_labels=False,
            ),
        ]
        watching = below.enter_context(prometheus(folder / "prometheus", targets, RULES))
        await _all_scraped(watching, targets, 1)
        await asyncio.gather(_cost_and_scale(stack, client, operator), asyncio.to_thread(_serve, scene))
        await _all_scraped(watching, targets, SCRAPES)
        yield watching


async def _all_scraped(watching: Prometheus, targets: Sequence[Target], times: int) -> None:
    """Wait until every target has answered once more so often: Prometheus begins some seconds after it is ready."""
    before = {target.job: await asyncio.to_thread(watching.scraped, target.job) for target in targets}

    async def enough() -> bool:
        counts = [await asyncio.to_thread(watching.scraped, job) - done for job, done in before.items()]
        return min(counts) >= times

    await until(enough, 120)


async def _cost_and_scale(stack: AsyncExitStack, client: Client, operator: Running) -> None:
    """A priced model with a budget whose pod is under load, and another whose pod says nothing."""
    await _price(client)
    report, meter = Report(BOOT, "0123456789ab"), Meter()
    report.enter(State.READY)
    listener = HttpListener(App(report, bytes, meter), ADDRESS, ADMIN_PORT)
    await listener.start()
    stack.push_async_callback(listener.stop, 1)
    stack.callback(meter.close)
    for name, address in (("fraud", ADDRESS), ("deaf", DEAF)):
        await create(client, NAMESPACE, name, SCALED)
        await until(exists(client, "Deployment", NAMESPACE, name))
        await run_pod(client, NAMESPACE, name, address)
        await _place(client, name)
    for metric in ("modelward_replicas_wanted", "modelward_model_cost_per_hour", "modelward_budget_left"):
        await until(functools.partial(_exports, operator, metric), 60)
    for _ in range(12):
        meter.enter()
    await until(lambda: _exports(operator, "modelward_scaling_decisions_total{"), 60)
    await until(lambda: _exports(operator, "modelward_errors_total{"), 60)
    await create(client, NAMESPACE, "managed", {"security": {"tls": {"mode": "Managed"}}})
    await until(lambda: _exports(operator, "modelward_authority_expiry_timestamp_seconds{"), 60)


async def _exports(operator: Running, metric: str) -> bool:
    _, text = await operator.http(operator.metrics, "/metrics")
    return any(line.startswith(metric) for line in text.splitlines())


async def _price(client: Client) -> None:
    labels = {"pool": NAMESPACE}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAMESPACE, "labels": labels}}
    await client.create(NODE, node, manager="t")
    has = {"cpu": "4", "memory": "8Gi"}
    status = {"status": {"allocatable": has, "capacity": has}}
    await client.patch(NODE, "", NAMESPACE, status, manager="t", subresource="status")
    nodes = [{"name": "any", "matchLabels": labels, "price": {"node": "3.6"}}]
    for resource, name, spec in (
        (PRICES, NAMESPACE, {"currency": "USD", "nodes": nodes}),
        (BUDGET, "month", {"limit": "500", "currency": "USD"}),
    ):
        meta = {"name": name} if resource is PRICES else {"name": name, "namespace": NAMESPACE}
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta, "spec": spec}
        await client.create(resource, body, manager="t")


async def _place(client: Client, model: str) -> None:
    """A pod of the model that holds its place on the priced node, and waits there for its image."""
    containers = [{"name": "runtime", "image": "i", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}]
    spec = {"nodeName": NAMESPACE, "automountServiceAccountToken": False, "containers": containers}
    name = f"{model}-placed"
    meta = {"name": name, "namespace": NAMESPACE, "labels": selector(model)}
    await client.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}, manager="t")
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    bound = {"type": "PodScheduled", "status": "True", "lastTransitionTime": since}
    status = {"status": {"conditions": [bound]}}
    await client.patch(POD, NAMESPACE, name, status, manager="t", subresource="status")


def _serve(scene: Stage) -> None:
    """Calls that reach a pod and one that is held for seconds, because the model's only other pod is not there yet."""
    scene.route()
    (pod,) = scene.pods.values()
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[[1.0,2.0,3.0,4.0]]}]}'
    headers = {"Content-Type": "application/json"}
    for _ in range(40):
        assert 200 == call("POST", pod.address, scene.pod_ports[0], "/v2/models/m/infer", body, headers)[0]
    scene.forget_pod(pod)
    scene.until_heard()
    caller = threading.Thread(
        target=call, args=("POST", "127.0.0.1", scene.ports[0], "/v2/models/m/infer", body, headers)
    )
    caller.start()
    caller.join(4)  # several scrapes
    assert caller.is_alive(), "nothing is held"
    scene.pods[pod.uid] = pod
    scene.list_pod(pod)
    caller.join(30)
    assert not caller.is_alive()


def plain(query: str) -> str:
    """A query as Grafana sends it, with everything chosen."""
    return query.replace("$__rate_interval", "10s").replace("$namespace", ".*").replace("$model", ".*")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("query", list(queries()))
async def test_every_query_of_the_dashboard_has_an_answer(query: str, seen: Prometheus) -> None:
    found = await asyncio.to_thread(seen.samples, plain(query))
    assert found, "no program exports this any more, or not with these labels"


@pytest.mark.asyncio(loop_scope="module")
async def test_every_alert_rule_is_evaluated_without_an_error(seen: Prometheus) -> None:
    groups = (await asyncio.to_thread(seen.get, "rules"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == RULES.read_text().count("- alert: ")
    assert [] == [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"]


def metrics_of_alerts() -> list[str]:
    return sorted(set(re.findall(r"modelward_[a-z_]+", RULES.read_text())))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("metric", metrics_of_alerts())
async def test_every_metric_of_the_alert_rules_is_exported(metric: str, seen: Prometheus) -> None:
    assert await asyncio.to_thread(seen.labels, metric)


def series_of_cases() -> list[tuple[str, frozenset[str]]]:
    """Metrics and labels of the series that promtool's tests of the alerts are made of."""
    cases: Any = yaml.safe_load(CASES.read_text())
    texts = [one["series"] for case in cases["tests"] for one in case["input_series"]]
    return sorted({(text.split("{")[0], frozenset(re.findall(r"(\w+)=", text))) for text in texts}, key=str)


@pytest.mark.asyncio(loop_scope="module")
async def test_the_alerts_are_tested_with_series_that_there_are(seen: Prometheus) -> None:
    for metric, labels in series_of_cases():
        real = await asyncio.to_thread(seen.labels, metric)
        assert labels - OF_THE_SCRAPE <= real, metric


@pytest.mark.asyncio(loop_scope="module")
async def test_a_metric_that_nobody_exports_has_no_answer(seen: Prometheus) -> None:
    """The control of all of the above."""
    assert not await asyncio.to_thread(seen.samples, "sum(modelward_model_cost_by_hour)")
    assert not await asyncio.to_thread(seen.labels, "modelward_model_cost_by_hour")
