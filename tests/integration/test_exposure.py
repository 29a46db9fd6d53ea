"""A model is exposed on a real API server with the Gateway API's own CustomResourceDefinitions and the operator's own rights.

There is no gateway in this ring: its controller's words are written by hand, as the API wants them. A real one is in
e2e/cases/test_exposure.py.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelward_operator.cluster import watch
from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.kinds import BY_KIND, GATEWAY, Resource
from modelward_operator.errors import Unreadable
from modelward_operator.facts import Json
from tests.integration.apiserver import ApiServer
from tests.integration.conftest import CRD, GATEWAY_KINDS, install_gateway_api
from tests.integration.rest import apply
from tests.integration.rig import INSTALLATION, Rig, ServiceAccountClient, make_rig

PAGE = Path(__file__).parents[2] / "operator" / "tasks" / "expose.md"
MANIFESTS = Path(__file__).parents[2] / "helm" / "manifests" / "modelward.yaml"
RBAC = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
ROUTES = ("HTTPRoute", "GRPCRoute")
PARENT: Json = {"group": GATEWAY.group, "kind": "Gateway", "name": "public", "sectionName": "https"}


def exposure(gateways: str, host: str, **more: Any) -> Json:
    ref = {"name": "public", "namespace": gateways, "sectionName": "https"}
    return {"exposure": {"hostnames": [f"{host}.example.com"], "gateway": {"parentRefs": [ref]}, **more}}


@pytest.fixture(scope="module")
def granted(server: ApiServer, gateway_api: None) -> ApiServer:
    """The server with the Gateway API and the chart's RBAC."""
    apply(
        server, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": INSTALLATION.namespace}}, dry_run=False
    )
    for item in yaml.safe_load_all(MANIFESTS.read_text()):
        if item and item["kind"] in RBAC:
            apply(server, item, dry_run=False)
    return server


@pytest.fixture
async def gateways(granted: ApiServer, client: Client, namespace: str) -> str:
    """A namespace of the platform team's."""
    name = f"{namespace}-gateways"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await client.create(BY_KIND["Namespace"], body, manager="test")
    return name


@pytest.fixture
async def operator(gateways: str, client: Client, namespace: str) -> AsyncIterator[Rig]:
    """The operator's parts with the operator's rights, on all namespaces."""
    async with make_rig(client, namespace, clusterwide=True, client_type=ServiceAccountClient) as made:
        yield made


async def make_gateway(rig: Rig, gateways: str, **spec: Any) -> None:
    listeners = [{"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "cert"}]}}]
    body = {
        "apiVersion": GATEWAY.api_version,
        "kind": GATEWAY.kind,
        "metadata": {"name": "public", "namespace": gateways},
        "spec": {"gatewayClassName": "test", "listeners": listeners, **spec},
    }
    await rig.admin.create(GATEWAY, body, manager="platform")
    status = {"addresses": [{"type": "IPAddress", "value": "192.0.2.10"}]}
    await rig.admin.patch(GATEWAY, gateways, "public", {"status": status}, manager="gateway", subresource="status")
    await rig.until(lambda: bool(rig.store.read(GATEWAY.kind, gateways, "public").get("status", {}).get("addresses")))


async def decide(rig: Rig, kind: str, gateways: str, name: str = "fraud", **refusal: str) -> None:
    """Write what a gateway's controller writes."""
    route = await rig.get(kind, name)
    meta: Json = {"observedGeneration": route["metadata"]["generation"], "lastTransitionTime": "2026-01-01T00:00:00Z"}
    accepted = {"status": "True", "reason": "Accepted", "message": "", **refusal}
    conditions = [
        {"type": "Accepted", **accepted, **meta},
        {"type": "ResolvedRefs", "status": "True", "reason": "ResolvedRefs", "message": "", **meta},
    ]
    ref = {**PARENT, "namespace": gateways}
    entry = {"controllerName": "example.com/gateway", "conditions": conditions}
    field, named = ("ancestors", "ancestorRef") if kind == "BackendTLSPolicy" else ("parents", "parentRef")
    await rig.admin.patch(
        BY_KIND[kind],
        rig.namespace,
        name,
        {"status": {field: [{named: ref, **entry}]}},
        manager="gateway",
        subresource="status",
    )
    await rig.heard_all()


async def said(rig: Rig, name: str = "fraud") -> tuple[str, str]:
    await rig.reconcile(name)
    found = await rig.condition("EndpointExposed", name)
    return found.get("status", "absent"), found.get("reason", "")


async def test_routes_are_made_decided_told_repaired_and_taken_back(operator: Rig, gateways: str) -> None:
    rig = operator
    await make_gateway(rig, gateways)
    await rig.create(exposure(gateways, "whole", grpcHostnames=["whole-grpc.example.com"], timeoutSeconds=60))
    assert await said(rig) == ("Unknown", "RoutePending")
    for kind in ROUTES:
        await decide(rig, kind, gateways)
    assert await said(rig) == ("True", "Exposed")
    status = (await rig.get("ModelDeployment"))["status"]
    assert status["url"] == "https://whole.example.com"
    assert status["address"]["http"] == f"http://fraud.{rig.namespace}.svc:8080"
    assert status["exposure"] == {
        "url": "https://whole.example.com",
        "grpc": "whole-grpc.example.com:443",
        "addresses": ["192.0.2.10"],
    }
    policy = await rig.get("NetworkPolicy")
    doors = [
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for peer in policy["spec"]["ingress"][0]["from"]
    ]
    assert sorted([rig.namespace, gateways]) == sorted(doors)

    before = await rig.versions()
    await rig.heard_all()
    await rig.reconcile()
    assert before == await rig.versions(), "nothing is written where nothing changed"

    stray = {"spec": {"hostnames": ["elsewhere.example.com"]}}
    await rig.admin.patch(BY_KIND["HTTPRoute"], rig.namespace, "fraud", stray, manager="hand")
    await rig.heard_all()
    assert await said(rig) == ("Unknown", "RoutePending"), "what was decided was about an earlier generation"
    assert (await rig.get("HTTPRoute"))["spec"]["hostnames"] == ["whole.example.com"]

    await rig.heard_all()
    await rig.change({"exposure": None})
    assert await said(rig) == ("absent", "")
    assert await rig.is_gone("HTTPRoute")
    assert await rig.is_gone("GRPCRoute")
    assert (await rig.get("ModelDeployment"))["status"]["url"] == f"http://fraud.{rig.namespace}.svc:8080"


async def test_a_gateway_that_is_not_there_is_waited_for_and_its_no_is_told(operator: Rig, gateways: str) -> None:
    rig = operator
    await rig.create(exposure(gateways, "waits"))
    assert await said(rig) == ("False", "GatewayNotFound")
    rig.rung.clear()
    await make_gateway(rig, gateways)
    assert rig.key() in rig.rung
    assert await said(rig) == ("Unknown", "RoutePending")
    await decide(rig, "HTTPRoute", gateways, status="False", reason="NotAllowedByListeners", message="not from here")
    assert await said(rig) == ("False", "RouteRefused")
    message = (await rig.condition("EndpointExposed"))["message"]
    assert message == (
        f"Gateway {gateways}/public at its listener https refuses HTTPRoute fraud: NotAllowedByListeners: not from here"
    )
    assert (await rig.condition("Ready"))["reason"] == "RouteRefused"


async def test_the_gateway_is_told_of_a_managed_certificate(operator: Rig, gateways: str) -> None:
    rig = operator
    await make_gateway(rig, gateways)
    await rig.create({**exposure(gateways, "tls"), "security": {"tls": {"mode": "Managed"}}})
    await rig.reconcile()
    await rig.heard_all()
    await decide(rig, "HTTPRoute", gateways)
    assert await said(rig) == ("Unknown", "RoutePending")
    validation = (await rig.get("BackendTLSPolicy"))["spec"]["validation"]
    assert validation["hostname"] == f"fraud.{rig.namespace}.svc"
    (bundle,) = validation["caCertificateRefs"]
    assert "BEGIN CERTIFICATE" in (await rig.get("ConfigMap", bundle["name"]))["data"]["ca.crt"]
    await decide(rig, "BackendTLSPolicy", gateways)
    assert await said(rig) == ("True", "Exposed")


async def test_of_two_models_with_one_hostname_the_later_one_is_told_and_rung_for(operator: Rig, gateways: str) -> None:
    rig = operator
    await make_gateway(rig, gateways)
    for name in ("fraud", "other"):
        await rig.create(exposure(gateways, "contested"), name=name)
        await rig.reconcile(name)
        await decide(rig, "HTTPRoute", gateways, name)
    assert await said(rig, "fraud") == ("True", "Exposed")
    assert await said(rig, "other") == ("False", "RouteConflict")
    assert f"{rig.namespace}/fraud" in (await rig.condition("EndpointExposed", "other"))["message"]

    rig.rung.clear()
    await rig.change(exposure(gateways, "free"), name="fraud")
    await rig.reconcile("fraud")
    assert rig.key("other") in rig.rung, "though the watch says nothing new of what the operator wrote itself"
    assert await said(rig, "other") == ("True", "Exposed")

    await rig.change(exposure(gateways, "contested"), name="fraud")
    await rig.reconcile("fraud")
    assert await said(rig, "other") == ("False", "RouteConflict")
    rig.rung.clear()
    await rig.change({"exposure": None}, name="fraud")
    await rig.reconcile("fraud")
    assert rig.key("other") in rig.rung
    assert await said(rig, "other") == ("True", "Exposed")

    await rig.change({"exposure": {"routing": "ModelName"}}, name="other")
    await rig.change(exposure(gateways, "contested", routing="ModelName"), name="fraud")
    for name in ("fraud", "other"):
        await rig.reconcile(name)
        await decide(rig, "HTTPRoute", gateways, name)
    assert {await said(rig, name) for name in ("fraud", "other")} == {("True", "Exposed")}, "their paths differ"


async def test_an_ingress_is_made_and_says_its_address(operator: Rig) -> None:
    rig = operator
    entrance = {"ingressClassName": "nginx", "annotations": {"cert-manager.io/cluster-issuer": "letsencrypt"}}
    hosts = {"hostnames": ["ingress.example.com"], "allowFrom": [{"namespace": "ingress-nginx"}]}
    await rig.create({"exposure": {**hosts, "ingress": entrance}})
    assert await said(rig) == ("Unknown", "RoutePending")
    lead = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.11"}]}}}
    await rig.admin.patch(BY_KIND["Ingress"], rig.namespace, "fraud", lead, manager="nginx", subresource="status")
    await rig.heard_all()
    assert await said(rig) == ("True", "Exposed")
    assert (await rig.get("ModelDeployment"))["status"]["url"] == "http://ingress.example.com"
    made = await rig.get("Ingress")
    assert made["metadata"]["annotations"]["cert-manager.io/cluster-issuer"] == "letsencrypt"

    await rig.change({"exposure": {"ingress": {"annotations": None}}})
    await rig.reconcile()
    assert "cert-manager.io/cluster-issuer" not in (await rig.get("Ingress"))["metadata"]["annotations"]


async def test_a_route_of_somebody_else_is_not_taken_over(operator: Rig, gateways: str) -> None:
    rig = operator
    await make_gateway(rig, gateways)
    theirs = {"hostnames": ["theirs.example.com"]}
    route = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "spec": theirs}
    meta = {"name": "fraud", "namespace": rig.namespace}
    await rig.admin.create(BY_KIND["HTTPRoute"], {**route, "metadata": meta}, manager="somebody")
    await rig.create(exposure(gateways, "mine"))
    assert await said(rig) == ("False", "ChildNotOwned")
    assert (await rig.get("HTTPRoute"))["spec"]["hostnames"] == ["theirs.example.com"]


@pytest.mark.parametrize("block", re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))
@pytest.mark.usefixtures("gateway_api")
async def test_the_manifests_of_the_page_are_taken(block: str, client: Client, namespace: str) -> None:
    manifest = yaml.safe_load(block)
    manifest["metadata"]["namespace"] = namespace
    await client.create(BY_KIND[manifest["kind"]], manifest, manager="user", dry_run=True)


# ---- the Gateway API comes and goes; last, because it takes other tests' routes away


@pytest.fixture
async def bare(gateways: str, client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    """The operator's parts on a cluster without the Gateway API."""
    monkeypatch.setattr(watch, "ABSENCE", 0.2)
    await uninstall(client)
    try:
        async with make_rig(client, namespace, clusterwide=True) as rig:
            yield rig
    finally:
        await install_gateway_api(client)


async def uninstall(client: Client) -> None:
    for resource in GATEWAY_KINDS:
        live = await client.get(CRD, "", f"{resource.plural}.{resource.group}")
        await client.delete(CRD, "", live["metadata"]["name"], uid=live["metadata"]["uid"])
    async with asyncio.timeout(60):
        while any([await served(client, resource) for resource in GATEWAY_KINDS]):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def served(client: Client, resource: Resource) -> bool:
    try:
        async for _ in client.pages(resource):
            break
    except NotFound:
        return False
    except Unreadable:  # on its way out
        return True
    return True


async def test_the_gateway_api_is_waited_for_taken_up_and_survived(bare: Rig, gateways: str) -> None:
    rig = bare
    await rig.create(name="other")
    await rig.create(exposure(gateways, "late"))
    assert await said(rig) == ("False", "GatewayAPINotInstalled")
    assert not await rig.is_gone("Deployment"), "it serves inside"

    rig.rung.clear()
    await install_gateway_api(rig.admin)
    await rig.until(lambda: rig.key() in rig.rung and not rig.store.unserved)
    assert rig.key("other") not in rig.rung, "whom it does not concern is left alone"
    await make_gateway(rig, gateways)
    assert await said(rig) == ("Unknown", "RoutePending")
    await decide(rig, "HTTPRoute", gateways)
    assert await said(rig) == ("True", "Exposed")

    rig.rung.clear()
    await uninstall(rig.admin)
    await rig.until(lambda: len(rig.store.unserved) == len(GATEWAY_KINDS) and rig.key() in rig.rung)
    assert await said(rig) == ("False", "GatewayAPINotInstalled")
    assert (await rig.get("ModelDeployment"))["status"]["url"] == f"http://fraud.{rig.namespace}.svc:8080"
