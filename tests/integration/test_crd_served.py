"""The CRD as the API server serves it: defaults, subresources, columns, and that every example is taken."""

from pathlib import Path

import pytest
import yaml

from modelward_operator.api.parse import Invalid, parse
from tests.integration.apiserver import ApiServer
from tests.integration.rest import Json, Refused, apply, request
from tests.specs import TUNING, URI, model, policy

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "crds" / "examples").glob("*.yaml"))
MODELS = "/apis/modelward.dev/v1alpha1/namespaces/default/modeldeployments"
MERGE = {"Content-Type": "application/merge-patch+json"}


def created(server: ApiServer, spec: str, name: str) -> Json:
    return apply(server, model(spec, name), dry_run=False)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_object_of_every_example_is_taken(path: Path, server: ApiServer) -> None:
    for item in yaml.safe_load_all(path.read_text()):
        item["metadata"].pop("namespace", None)  # the demo's namespace is not here
        apply(server, item)


def test_only_certain_defaults_are_written_into_a_spec(server: ApiServer) -> None:
    expected = {"suspend": False, "model": {"uri": "s3://models/fraud/7/", "version": "1"}}
    assert expected == created(server, URI, "defaults")["spec"]


def test_an_empty_accelerator_is_one_gpu(server: ApiServer) -> None:
    """Which resource that is follows from `sharing`, so that the schema has no default for it."""
    stored = created(server, f"{{{URI}, accelerator: {{}}}}", "one-gpu")
    assert {"count": 1} == stored["spec"]["accelerator"]
    spec = parse(stored)
    assert not isinstance(spec, Invalid)
    assert spec.accelerator is not None
    assert spec.accelerator.resource == "nvidia.com/gpu"


def test_status_is_written_by_its_subresource_alone(server: ApiServer) -> None:
    created(server, URI, "status")
    wish = {"status": {"readyReplicas": 5}, "spec": {"suspend": True}}
    told = request(server, "PATCH", f"{MODELS}/status", wish, headers=MERGE)
    assert told["status"] == {"observedGeneration": -1}, "nobody has looked at it"
    told = request(server, "PATCH", f"{MODELS}/status/status", wish | {"spec": {"suspend": False}}, headers=MERGE)
    assert (5, True) == (told["status"]["readyReplicas"], told["spec"]["suspend"])


def test_status_is_held_to_its_schema(server: ApiServer) -> None:
    created(server, URI, "bad-status")
    condition = {"type": "Ready", "status": "Perhaps"}
    with pytest.raises(Refused, match=r"status.conditions\[0\].status: Unsupported value") as refusal:
        request(server, "PATCH", f"{MODELS}/bad-status/status", {"status": {"conditions": [condition]}}, headers=MERGE)
    assert "status.conditions[0].reason: Required value" in str(refusal.value)


def test_scale_reads_and_writes_the_replicas(server: ApiServer) -> None:
    created(server, f"{{{URI}, scaling: {{autoscaler: External, replicas: 2}}}}", "scaled")
    status = {"status": {"replicas": 1, "selector": "modelward.dev/model=scaled"}}
    request(server, "PATCH", f"{MODELS}/scaled/status", status, headers=MERGE)
    scale = request(server, "GET", f"{MODELS}/scaled/scale")
    assert {"replicas": 2} == scale["spec"]
    assert {"replicas": 1, "selector": "modelward.dev/model=scaled"} == scale["status"]
    request(server, "PATCH", f"{MODELS}/scaled/scale", {"spec": {"replicas": 5}}, headers=MERGE)
    assert request(server, "GET", f"{MODELS}/scaled")["spec"]["scaling"]["replicas"] == 5


def test_scale_is_held_to_the_schema(server: ApiServer) -> None:
    created(server, f"{{{URI}, scaling: {{replicas: 2}}}}", "overscaled")
    with pytest.raises(Refused, match="should be less than or equal to 1000"):
        request(server, "PATCH", f"{MODELS}/overscaled/scale", {"spec": {"replicas": 5000}}, headers=MERGE)


def test_kubectl_get_shows_the_columns(server: ApiServer) -> None:
    created(server, URI, "columns")
    condition: Json = {"type": "Ready", "status": "True", "reason": "Serving", "message": "2 of 2 pods serve"}
    condition |= {"observedGeneration": 1, "lastTransitionTime": "2026-11-23T00:00:00Z"}
    status = {"conditions": [condition], "readyReplicas": 2, "model": {"shortDigest": "9f86d081884c"}}
    request(server, "PATCH", f"{MODELS}/columns/status", {"status": status}, headers=MERGE)
    accept = {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
    table = request(server, "GET", f"{MODELS}/columns", headers=accept)
    shown = [column["name"] for column in table["columnDefinitions"] if not column["priority"]]
    assert ["Name", "Ready", "Reason", "Model", "Replicas", "Cost/h", "Age"] == shown
    assert ["columns", "True", "Serving", "9f86d081884c", 2] == table["rows"][0]["cells"][:5]


def test_short_name_and_categories_are_served(server: ApiServer) -> None:
    resources = request(server, "GET", "/apis/modelward.dev/v1alpha1")["resources"]
    served = next(item for item in resources if item["name"] == "modeldeployments")
    assert (["mdep"], ["all", "ml"]) == (served["shortNames"], served["categories"])


def test_the_largest_spec_is_within_the_budget_of_the_rules(server: ApiServer) -> None:
    """The API server refuses an object whose rules cost too much to check, whatever they say."""
    word = "a" * 60
    largest = model(URI, "largest")
    largest["spec"] |= {
        "model": {"uri": f"s3://{'a/' * 1000}", "storage": {"endpoint": f"https://{'a' * 2000}"}},
        "runtime": {"env": [{"name": name, "value": "v" * 4096} for name in TUNING]},
        "scheduling": {
            "nodeSelector": {f"{'d' * 200}.{number}/{word}": word for number in range(32)},
            "tolerations": [{"key": f"{'d' * 200}.{number}/{word}", "value": word} for number in range(32)],
        },
        "security": {
            "networkPolicy": {"allowFrom": [{"namespace": f"{word}{number}"} for number in range(64)]},
            "encryption": {
                "mode": "Required",
                "keyRef": {
                    "provider": "Vault",
                    "vault": {
                        "address": f"https://{'a' * 2000}",
                        "key": word * 2,
                        "role": word * 2,
                        "mount": "a/" * 60 + "a",
                        "authPath": "a/" * 60 + "a",
                    },
                },
            },
            "verification": {
                "mode": "Required",
                "trust": [
                    {"name": f"{word}{number}", "keyRef": {"name": "n" * 253, "key": "k" * 253}} for number in range(16)
                ],
            },
        },
        "resources": {kind: {"cpu": "9" * 31, "memory": "9" * 31} for kind in ("requests", "limits")},
    }
    apply(server, largest)


def test_the_largest_policy_is_within_the_budget_of_the_rules(server: ApiServer) -> None:
    largest = policy("{namespaceSelector: {}, requireVerification: true}", "largest")
    largest["spec"] |= {
        "namespaceSelector": {"matchLabels": {f"{'d' * 200}.{number}/{'a' * 60}": "a" * 63 for number in range(16)}},
        "trustedSigners": [f"sha256:{number:064x}" for number in range(64)],
        "allowedUriPrefixes": [f"s3://{number}/{'a' * 480}/" for number in range(64)],
    }
    apply(server, largest)
