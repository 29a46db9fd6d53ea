"""The chart's promises that can be read from its files and from the manifests rendered from it, without helm.

tests/integration/test_chart_render.py proves that the manifests are fresh and that the API server takes them.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelward_operator.api.parse import Invalid, parse
from modelward_operator.cluster import authority
from modelward_operator.plan import names
from modelward_operator.plan.routes import FIRST_PORT, LAST_PORT
from modelward_operator.settings import read_settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "modelward"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all((ROOT / "helm" / "manifests" / "modelward.yaml").read_text()))
TEMPLATES = "".join(path.read_text() for path in (CHART / "templates").iterdir())


def one(kind: str, name: str = "modelward-operator") -> dict[str, Any]:
    return next(item for item in OBJECTS if (item["kind"], item["metadata"]["name"]) == (kind, name))


POD = one("Deployment")["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
ACTIVATOR_POD = one("Deployment", "modelward-activator")["spec"]["template"]["spec"]
WORKLOADS = ("operator", "activator")


def leaves(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any, dict[str, Any]]]:
    assert schema.get("additionalProperties") is False, f"{path or 'the root'} must refuse what it does not know"
    for name in values.keys() | schema["properties"].keys() - {"global"}:
        field = schema["properties"].get(name)
        assert field is not None, f"{path}{name} stands in values.yaml, not in the schema"
        assert name in values, f"{path}{name} stands in the schema, not in values.yaml"
        if "properties" in field:
            yield from leaves(values[name], field, f"{path}{name}.")
        else:
            yield f"{path}{name}", values[name], field


def test_values_and_schema_name_the_same_fields_and_types() -> None:
    types = {"string": str, "boolean": bool, "integer": int, "array": list, "object": dict}
    found = list(leaves(VALUES, SCHEMA))
    for path, value, field in found:
        definition = SCHEMA["definitions"][field["$ref"].rsplit("/", 1)[-1]] if "$ref" in field else field
        assert isinstance(value, types[definition["type"]]), path
    assert len(found) >= 20


def test_every_value_is_used_by_a_template() -> None:
    unused = {path for path, _, _ in leaves(VALUES, SCHEMA) if f".Values.{path}" not in TEMPLATES}
    assert unused == {f"{of}.resources.{kind}" for of in WORKLOADS for kind in ("requests", "limits")}, "used as one"


def test_no_value_is_used_that_does_not_exist() -> None:
    known = {path for path, _, _ in leaves(VALUES, SCHEMA)} | {f"{of}.resources" for of in WORKLOADS}
    assert known >= set(re.findall(r"\.Values\.([A-Za-z.]+)", TEMPLATES))


def test_chart_operator_and_runtime_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    versions = {chart["version"], chart["appVersion"]}
    for package in ("operator", "runtime"):
        text = (ROOT / package / "pyproject.toml").read_text()
        versions |= set(re.findall(r'^version = "([^"]+)"', text, re.MULTILINE))
    assert len(versions) == 1


def test_operator_can_read_the_settings_that_the_chart_gives_it() -> None:
    environment = {item["name"]: item.get("value", "from-a-field") for item in CONTAINER["env"]}
    settings = read_settings(environment)
    assert (VALUES["operator"]["workers"], VALUES["operator"]["writesPerSecond"]) == (
        settings.workers,
        settings.writes_per_second,
    )
    assert settings.watch_namespaces == ()


SAFE_SYSCTLS = {"net.ipv4.ip_local_port_range"}
"""Of those that Pod Security permits."""


@pytest.mark.parametrize("name", ["modelward-operator", "modelward-activator"])
def test_pods_meet_pod_security_restricted(name: str) -> None:
    pod = one("Deployment", name)["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {sysctl["name"] for sysctl in pod["securityContext"].get("sysctls", ())} <= SAFE_SYSCTLS
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert {kind for volume in pod["volumes"] for kind in volume} <= {"name", "emptyDir", "projected", "secret"}


@pytest.mark.parametrize("name", ["modelward-operator", "modelward-activator"])
def test_two_replicas_spread_and_are_drained_one_by_one(name: str) -> None:
    deployment = one("Deployment", name)["spec"]
    assert deployment["replicas"] == 2
    spread = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert spread[0]["topologyKey"] == "kubernetes.io/hostname"
    assert one("PodDisruptionBudget", name)["spec"]["maxUnavailable"] == 1


@pytest.mark.parametrize("name", ["modelward-operator", "modelward-activator"])
@pytest.mark.parametrize("kind", ["Deployment", "PodDisruptionBudget", "NetworkPolicy", "Service"])
def test_every_selector_finds_the_pods(kind: str, name: str) -> None:
    if (kind, name) == ("Service", "modelward-activator"):
        assert not [item for item in OBJECTS if (item["kind"], item["metadata"]["name"]) == (kind, name)]
        return  # it is behind the models' own Services
    spec = one(kind, "modelward-operator-metrics" if kind == "Service" else name)["spec"]
    selector = spec.get("selector", spec.get("podSelector"))
    labels = one("Deployment", name)["spec"]["template"]["metadata"]["labels"]
    assert selector.get("matchLabels", selector).items() <= labels.items()


def test_the_operator_finds_the_activator_by_the_names_that_the_chart_gives_it() -> None:
    deployment = one("Deployment", names.ACTIVATOR)
    assert deployment["spec"]["template"]["metadata"]["labels"].items() >= names.ACTIVATOR_PODS.items()
    assert names.ACTIVATOR == ACTIVATOR_POD["serviceAccountName"]
    (secret,) = (volume["secret"] for volume in ACTIVATOR_POD["volumes"] if "secret" in volume)
    assert (authority.ACTIVATOR, list(authority.SIGNER)) == (
        secret["secretName"],
        [item["key"] for item in secret["items"]],
    )
    (container,) = ACTIVATOR_POD["containers"]
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted["api"] == names.API_DIR, "where the routes say that the token is"


def test_no_connection_of_the_activators_own_takes_a_models_port() -> None:
    (sysctl,) = ACTIVATOR_POD["securityContext"]["sysctls"]
    low, high = map(int, sysctl["value"].split())
    assert not set(range(low, high + 1)) & set(range(FIRST_PORT, LAST_PORT + 1))


def test_operators_pods_carry_the_label_that_the_contract_names() -> None:
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "modelward-operator"


def test_probes_and_metrics_are_at_the_contracts_ports() -> None:
    assert {"health": 8080, "metrics": 9090} == {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    paths = [CONTAINER[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")]
    assert ["/healthz", "/healthz", "/readyz"] == paths


@pytest.mark.parametrize("path", sorted((ROOT / "crds").glob("*.yaml")), ids=lambda path: path.stem)
def test_chart_carries_the_generated_crds_unchanged(path: Path) -> None:
    generated = yaml.safe_load(path.read_text())
    assert generated["spec"] == one("CustomResourceDefinition", f"{path.stem}.modelward.dev")["spec"]


@pytest.mark.parametrize(
    "name",
    [
        "modelward-model-policies",
        "modelward-tenant-label",
        "modelward-relax-models",
        "modelward-relax-policies",
        "modelward-relax-files",
        "modelward-cost-ledgers",
        "modelward-histories",
    ],
)
def test_admission_fails_closed_and_denies(name: str) -> None:
    assert one("ValidatingAdmissionPolicy", name)["spec"]["failurePolicy"] == "Fail"
    binding = one("ValidatingAdmissionPolicyBinding", name)["spec"]
    assert (name, ["Deny"]) == (binding["policyName"], binding["validationActions"])


def test_plain_manifests_do_not_claim_to_be_helms() -> None:
    text = (ROOT / "helm" / "manifests" / "modelward.yaml").read_text()
    assert "Helm" not in text
    assert "helm.sh" not in text


def test_kustomization_lists_files_that_exist() -> None:
    folder = ROOT / "helm" / "manifests"
    listed = set(yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"])
    assert {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"} == listed


@pytest.mark.parametrize("path", sorted((ROOT / "crds" / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_says_what_it_shows_and_parses(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# ")
    (model,) = (item for item in yaml.safe_load_all(text) if item["kind"] == "ModelDeployment")
    assert path.stem.removeprefix("demo-") == model["metadata"]["name"], "an example is found by its name"
    assert not isinstance(parse(model), Invalid)


GOLDEN_VALUES = {
    path.name.partition(".")[0]: yaml.safe_load(path.read_text())
    for path in (ROOT / "tests" / "golden" / "chart").glob("*.values.yaml")
}


def chosen(settings: dict[str, Any], path: str) -> Any:
    """Return what values say of a path; None when nothing."""
    for name in path.split("."):
        settings = settings.get(name, {})
    return None if settings == {} else settings


def test_the_least_settings_switch_off_whatever_can_be() -> None:
    # What hangs on another switch is off with it: no CRD to keep, and one replica has no budget.
    switches = {path for path, default, _ in leaves(VALUES, SCHEMA) if default is True}
    switches -= {"crds.keep", "podDisruptionBudget.enabled"}
    assert not sorted(path for path in switches if chosen(GOLDEN_VALUES["least"], path) is not False)


def test_every_value_is_chosen_otherwise_in_a_golden() -> None:
    paths = {path for path, _, _ in leaves(VALUES, SCHEMA)}
    told = {path for path in paths for settings in GOLDEN_VALUES.values() if chosen(settings, path) is not None}
    assert paths - told == {"crds.keep"}, "the plain manifests are rendered with it off"


def test_who_brings_the_crds_reads_which_ones_before_all_that_was_added() -> None:
    unreleased = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1]
    headings = re.findall(r"^### (.+)$", unreleased, re.MULTILINE)
    assert headings == ["Changed (breaking)", "Security", "Added", "Fixed"]
    breaking = unreleased.split("### Security")[0]
    assert not [path.name for path in (ROOT / "crds").glob("*.yaml") if f"`crds/{path.name}`" not in breaking]
