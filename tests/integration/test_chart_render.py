"""What helm makes of the chart, and what a real API server says to it. tests/unit/test_chart*.py read the rendered files."""

import subprocess
import time
from pathlib import Path

import pytest
import yaml

from helm.render import GOLDENS, helm, rendered, template
from tests.integration.apiserver import ApiServer
from tests.integration.guard import PATIENCE, refusal
from tests.integration.rest import Json, Refused, apply, request

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "helm" / "manifests"
CRDS = sorted((ROOT / "crds").glob("*.yaml"))
OPERATOR = "system:serviceaccount:modelward-system:modelward-operator"


def documents(path: Path) -> list[Json]:
    return [item for item in yaml.safe_load_all(path.read_text()) if item]


@pytest.fixture(scope="module")
def installed(server: ApiServer) -> ApiServer:
    """The server with the plain manifests applied, as `kubectl apply -k helm/manifests` does."""
    apply(server, *documents(ROOT / "tests" / "integration" / "alerts" / "prometheusrules.yaml"), dry_run=False)
    limit = time.monotonic() + PATIENCE
    while refusal(lambda: request(server, "GET", "/apis/monitoring.coreos.com/v1/prometheusrules")):
        assert time.monotonic() < limit
        time.sleep(0.1)
    for name in yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]:
        for item in documents(MANIFESTS / name):
            apply(server, item, dry_run=False)
    return server


def test_rendered_files_are_fresh() -> None:
    stale = [str(path.relative_to(ROOT)) for path, text in rendered().items() if path.read_text() != text]
    assert not stale, "run `make generate` and read the diff"


@pytest.mark.parametrize("golden", sorted(GOLDENS.glob("*.golden.yaml")), ids=lambda path: path.stem)
def test_every_rendered_object_is_taken(golden: Path, installed: ApiServer) -> None:
    for item in documents(golden):
        namespace = item["metadata"].get("namespace")
        if namespace not in (None, "modelward-system"):
            apply(installed, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, dry_run=False)
        apply(installed, item)


def test_crds_are_kept_when_the_release_goes() -> None:
    crds = [item for item in yaml.safe_load_all(template()) if item["kind"] == "CustomResourceDefinition"]
    assert len(crds) == len(CRDS)
    assert all(crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"} for crd in crds)


def test_crds_can_be_left_to_somebody_else() -> None:
    assert "CustomResourceDefinition" not in template("--set=crds.enabled=false")


@pytest.mark.parametrize(
    ("reason", "setting", "message"),
    [
        ("a value that does not exist", "operator.replica=3", "additional properties 'replica' not allowed"),
        ("a part that does not exist", "webhook.enabled=true", "additional properties 'webhook' not allowed"),
        ("no replica", "operator.replicas=0", "minimum"),
        ("a level that does not exist", "operator.logLevel=TRACE", "must be one of"),
        ("an image with a scheme", "runtime.image=https://a b", "does not match pattern"),
        ("a namespace that is none", "watchNamespaces={Risk}", "does not match pattern"),
        ("alert rules in a form that there is not", "alerts.kind=Secret", "must be one of"),
        ("a page that is nowhere", "alerts.runbookUrl=runbooks", "does not match pattern"),
        ("a port that is none", "networkPolicy.apiServerPorts={70000}", "maximum"),
    ],
)
def test_values_that_are_wrong_are_refused(reason: str, setting: str, message: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failure:
        template(f"--set={setting}")
    assert message in failure.value.stderr, reason


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("operator.replicas=2", "-n modelward-system rollout status deployment/modelward-operator"),
        ("watchNamespaces={risk}", "kubectl -n risk apply -f -"),
        (
            "crds.enabled=false",
            "\n     ".join(f"crds/{path.name}" for path in CRDS) + "\n",
        ),
        ("operator.replicas=1", "set metrics.allowFrom[0].namespace"),
        ("operator.image=here/operator:1", "pods pull modelward/runtime:0.1.0.\n"),
        (
            "imageRegistry=corp:5000",
            "pods pull corp:5000/modelward/operator:0.1.0 and corp:5000/modelward/runtime:0.1.0.",
        ),
    ],
)
def test_notes_say_what_to_do_next(setting: str, expected: str) -> None:
    printed = helm("install", "--dry-run=client", f"--set={setting}")
    assert expected in printed.split("NOTES:", 1)[1]


def test_every_pod_is_taken_where_pod_security_is_restricted(installed: ApiServer) -> None:
    deployments = [item for item in documents(MANIFESTS / "modelward.yaml") if item["kind"] == "Deployment"]
    assert {"modelward-operator", "modelward-activator"} == {item["metadata"]["name"] for item in deployments}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator", "namespace": "modelward-system"}}
    for deployment in deployments:
        apply(installed, pod | {"spec": deployment["spec"]["template"]["spec"]})
    with pytest.raises(Refused, match="violates PodSecurity"):
        apply(installed, pod | {"spec": {"containers": [{"name": "a", "image": "a"}]}})


def allowed(server: ApiServer, verb: str, group: str, resource: str, namespace: str, user: str = OPERATOR) -> bool:
    plural, _, subresource = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": plural, "subresource": subresource, "namespace": namespace}
    groups = ["system:serviceaccounts", "system:authenticated"]
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {"user": user, "groups": groups, "resourceAttributes": attributes},
    }
    answer = request(server, "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    return bool(answer["status"]["allowed"])


@pytest.mark.parametrize(
    ("reason", "verb", "group", "resource", "namespace", "expected"),
    [
        ("reads what users write", "watch", "modelward.dev", "modeldeployments", "", True),
        ("tells the status", "patch", "modelward.dev", "modeldeployments/status", "risk", True),
        ("never changes a spec", "patch", "modelward.dev", "modeldeployments", "risk", False),
        ("makes children", "create", "apps", "deployments", "risk", True),
        ("reads no Secret", "get", "", "secrets", "risk", False),
        ("reads not even its own namespace's Secrets", "list", "", "secrets", "modelward-system", False),
        ("execs into no pod", "create", "", "pods/exec", "risk", False),
        ("deletes no pod", "delete", "", "pods", "risk", False),
        ("grants what it holds", "create", "rbac.authorization.k8s.io", "rolebindings", "risk", True),
        ("grants no more than that", "escalate", "rbac.authorization.k8s.io", "roles", "risk", False),
        ("binds no role at will", "bind", "rbac.authorization.k8s.io", "clusterroles", "risk", False),
        ("grants nothing in the cluster", "create", "rbac.authorization.k8s.io", "clusterrolebindings", "", False),
        ("makes a Secret", "create", "", "secrets", "risk", True),
        ("changes no Secret", "patch", "", "secrets", "risk", False),
        ("deletes no Secret", "delete", "", "secrets", "risk", False),
        ("takes a lease beside itself", "create", "coordination.k8s.io", "leases", "modelward-system", True),
        ("takes no lease elsewhere", "create", "coordination.k8s.io", "leases", "kube-system", False),
    ],
)
def test_operator_may(
    reason: str, verb: str, group: str, resource: str, namespace: str, *, expected: bool, installed: ApiServer
) -> None:
    assert expected == allowed(installed, verb, group, resource, namespace), reason


def test_the_alert_rules_and_the_dashboard_are_the_charts_files() -> None:
    chosen = template("--set=alerts.enabled=true,dashboards.enabled=true")
    objects = {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(chosen) if item}
    rules = (ROOT / "helm/modelward/files/alerts.yaml").read_text()
    assert yaml.safe_load(rules) == objects["PrometheusRule", "modelward-alerts"]["spec"]
    dashboard = (ROOT / "helm/modelward/files/dashboards/modelward.json").read_text()
    assert dashboard == objects["ConfigMap", "modelward-dashboard"]["data"]["modelward.json"]
    plain = template("--set=alerts.enabled=true,alerts.kind=ConfigMap", "--show-only=templates/alerts.yaml")
    assert rules == yaml.safe_load(plain)["data"]["modelward.yaml"]


@pytest.mark.parametrize("kind", ["PrometheusRule", "ConfigMap"])
def test_alerts_lead_to_where_the_runbook_is_kept(kind: str) -> None:
    where = "https://git.example/modelward/runbooks"
    settings = f"--set=alerts.enabled=true,alerts.kind={kind},alerts.runbookUrl={where}/"
    rules = yaml.safe_load(template(settings, "--show-only=templates/alerts.yaml"))
    groups = (rules["spec"] if kind == "PrometheusRule" else yaml.safe_load(rules["data"]["modelward.yaml"]))["groups"]
    found = {rule["alert"]: rule["annotations"]["runbook_url"] for group in groups for rule in group["rules"]}
    assert found
    assert {name: f"{where}/{name}.md" for name in found} == found
