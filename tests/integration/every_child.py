"""Models that have every kind of child between them and set what can be set, and passes over them until nothing is left to write."""

import asyncio
import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from modelward_operator.cluster.kinds import CHILDREN, PRIVACY
from modelward_operator.errors import Conflict
from modelward_operator.plan import names
from tests.integration.rig import Rig
from tests.integration.test_apply import FULL
from tests.integration.test_handovers import SCALINGS
from tests.until import PATIENCE

EXAMPLES = Path(__file__).parents[2] / "crds" / "examples"
Json = dict[str, Any]

SUBJECTS = [{"kind": "User", "name": "alice"}, {"kind": "ServiceAccount", "name": "checkout", "namespace": "shop"}]
MODELS: Final[dict[str, Json]] = {
    "full": dict(FULL),
    "hpa": {
        "scaling": SCALINGS["HPA"],
        "resources": {"requests": {"cpu": "1"}},
        "security": {"tls": {"mode": "Managed"}, "authentication": {"allowedSubjects": SUBJECTS}},
    },
    "keda": {"scaling": SCALINGS["KEDA"], "resources": {"requests": {"cpu": "1"}}},
    "zero": {
        "scaling": {"minReplicas": 0, "maxReplicas": 3},
        "security": {"authentication": {"mode": "None"}},
        "model": {"uri": "pvc://claim/sub/folder"},
    },
    "sealed": {
        "model": {
            "uri": "oci://registry.example/risk/fraud:7",
            "digest": "sha256:" + "ab" * 32,
            "storage": {"secretRef": {"name": "pull"}},
            "cache": {"claimName": "shared", "sizeLimit": "1Gi"},
        },
        "privacy": {"policyRef": {"name": "differential"}},
        "security": {
            "encryption": {"mode": "Required", "keyRef": {"provider": "Secret", "name": "kek"}},
            "verification": {"mode": "Required", "trust": [{"name": "ci", "keyRef": {"name": "ci-pub"}}]},
            "authentication": {"allowedSubjects": SUBJECTS},
        },
    },
    "routed": {
        "security": {"tls": {"mode": "Secret", "secretRef": {"name": "cert"}}},
        "exposure": {
            "hostnames": ["routed.example.com", "routed.example.org"],
            "grpcHostnames": ["routed-grpc.example.com"],
            "routing": "ModelName",
            "timeoutSeconds": 60,
            "gateway": {
                "parentRefs": [
                    {"name": "public", "namespace": "gateways", "sectionName": "https"},
                    {"name": "private"},
                ],
                "backendTls": {"hostname": "routed.example.net", "caBundleRef": {"name": "corp-ca"}},
            },
        },
    },
    "entered": {
        "exposure": {
            "hostnames": ["entered.example.com"],
            "allowFrom": [{"namespace": "ingress-nginx"}, {"cidr": "192.0.2.0/24"}],
            "ingress": {
                "ingressClassName": "nginx",
                "tls": {"secretName": "entered-tls"},
                "annotations": {"nginx.ingress.kubernetes.io/proxy-read-timeout": "60"},
            },
        },
    },
}


async def make_models(rig: Rig) -> None:
    """Create every model of the table, and what the sealed one needs, and pass until they rest."""
    policy = next(yaml.safe_load_all((EXAMPLES / "privacy-differential.yaml").read_text()))
    policy["metadata"]["namespace"] = rig.namespace
    await rig.admin.create(PRIVACY, policy, manager="user")
    await rig.until(lambda: bool(rig.live(PRIVACY.kind, "differential")))
    for name, spec in MODELS.items():
        await rig.create(spec, name)
    await settle(rig)
    assert {kind for kind, _ in await rig.children()} == {resource.kind for resource in CHILDREN}


async def settle(rig: Rig, *models: str) -> None:
    """Pass until nothing is written any more, each time once all is heard of that is there."""
    for _ in range(10):
        await _all_heard(rig, models or tuple(MODELS))
        rig.writes.clear()
        for name in models or MODELS:
            with contextlib.suppress(Conflict):  # somebody wrote in between: the next pass sees it
                await rig.reconcile(name)
        if not rig.writes:
            return
    pytest.fail(f"it never rests: {rig.writes}")


async def _all_heard(rig: Rig, models: Collection[str]) -> None:
    """Wait until the operator knows the models' children as they are: each kind comes by a watch of its own."""
    async with asyncio.timeout(PATIENCE):
        while await _there(rig, models) != _known(rig, models):  # noqa: ASYNC110  -- others act meanwhile
            await asyncio.sleep(0.02)


async def _there(rig: Rig, models: Collection[str]) -> dict[tuple[str, str], str]:
    """The children's versions as the API server has them."""
    of_models = [names.selector(model) for model in models]
    return {
        key: one["metadata"]["resourceVersion"]
        for key, one in (await rig.children()).items()
        if any(labels.items() <= one["metadata"].get("labels", {}).items() for labels in of_models)
    }


def _known(rig: Rig, models: Collection[str]) -> dict[tuple[str, str], str]:
    """The same as the operator has them."""
    kinds = [resource.kind for resource in CHILDREN]
    found = (one for model in models for one in rig.store.of_model(rig.key(model), kinds))
    return {(one["kind"], one["metadata"]["name"]): one["metadata"]["resourceVersion"] for one in found}
