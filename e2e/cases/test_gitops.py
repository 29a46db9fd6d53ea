"""GitOps: a real Flux brings ModelDeployments, policies and budgets from a Git repository, keeps them so, takes them away, and knows
whether they are healthy; and what is deleted with `--cascade=orphan` is taken over again, with the same pods.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from e2e.cases.case import Case
from e2e.cases.flux import MANAGER, Delivery, flux
from e2e.cases.gitserver import repository
from e2e.cases.kube import Kube, Object, wait
from e2e.cases.manifests import NAME
from e2e.cases.place import REPOSITORY

pytestmark = [pytest.mark.gitops, pytest.mark.timeout(600)]

API: Final = "modelward.dev/v1alpha1"
PAGE: Final = REPOSITORY / "operator" / "tasks" / "gitops.md"
LOOKS: Final = 12
PROMPT: Final = 90.0
"""Seconds within which a failure is told for which Flux would otherwise wait five minutes: a pod's start on a busy machine, and a look."""


@pytest.fixture(scope="module")
def running_flux(tmp_path_factory: pytest.TempPathFactory, kube: Kube) -> Iterator[None]:
    with flux(tmp_path_factory.mktemp("flux"), os.environ["KUBECONFIG"], kube):
        yield


@pytest.fixture
def delivery(running_flux: None, case: Case, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Delivery]:
    with repository(tmp_path_factory.mktemp("git") / "server") as served:
        made = Delivery(case.kube, case.namespace, served)
        yield made
        made.end()


def of_namespace(case: Case, one: Object) -> Object:
    return one | {"metadata": one["metadata"] | {"namespace": case.namespace}}


def model(case: Case, **spec: Any) -> Object:
    return of_namespace(case, case.model_service(**spec))


def policy(case: Case) -> Object:
    spec = {"logging": {"mode": "Metadata", "sink": {"type": "Stdout"}}}
    return of_namespace(
        case, {"apiVersion": API, "kind": "PrivacyPolicy", "metadata": {"name": "standard"}, "spec": spec}
    )


def budget(case: Case) -> Object:
    spec = {"limit": "500", "currency": "USD"}
    return of_namespace(case, {"apiVersion": API, "kind": "CostBudget", "metadata": {"name": "team"}, "spec": spec})


def floors(case: Case) -> Object:
    selector = {"matchLabels": {"kubernetes.io/metadata.name": case.namespace}}
    spec = {"namespaceSelector": selector, "requirePrivacyPolicy": True}
    return {"apiVersion": API, "kind": "ModelPolicy", "metadata": {"name": case.namespace}, "spec": spec}


def applied(case: Case) -> list[Object]:
    """What Flux has applied."""
    found = [("ModelDeployment", NAME), ("PrivacyPolicy", "standard"), ("CostBudget", "team")]
    live = [case.kube.find(kind, name, case.namespace) for kind, name in found]
    return [*live, case.kube.find("ModelPolicy", case.namespace)]


def written(one: Object) -> tuple[str, str, str]:
    """When Flux wrote an object last, and what the spec was then: its status is the operator's."""
    times = [entry["time"] for entry in one["metadata"]["managedFields"] if entry["manager"] == MANAGER]
    assert times, f"{one['kind']} is not Flux's: {one['metadata']['managedFields']}"
    return one["kind"], str(max(times)), json.dumps(one["spec"], sort_keys=True)


def test_a_commit_is_served_and_left_alone_until_the_next(case: Case, delivery: Delivery) -> None:
    privacy = {"policyRef": {"name": "standard"}}
    revision = delivery.repository.commit(
        "Serve version 1",
        scorer=model(case, privacy=privacy),
        standard=policy(case),
        team=budget(case),
        floors=floors(case),
    )
    delivery.begin()
    seen = case.first_seen(
        model=lambda: case.condition("Ready").get("status") == "True",
        delivery=lambda: delivery.ready(revision).get("status") == "True",
    )
    assert seen["model"] <= seen["delivery"], "the Kustomization said so before the model served"

    before = applied(case)
    for _ in range(LOOKS):
        delivery.reconcile()
    after = applied(case)
    assert [written(one) for one in before] == [written(one) for one in after]
    quiet = [kind_and_version(one) for one in before if one["kind"] != "CostBudget"]  # its status says what was spent
    assert quiet == [kind_and_version(one) for one in after if one["kind"] != "CostBudget"]

    # As a person who compares the repository with the cluster: as Flux' own manager, the labels that it adds would be missing.
    assert case.kube.kubectl("diff", "--server-side", *files(delivery)) == ""
    ready = ("wait", f"mdep/{NAME}", "-n", case.namespace, "--for=condition=Ready", "--timeout=10s")
    assert "condition met" in case.kube.kubectl(*ready)


def files(delivery: Delivery) -> list[str]:
    return [f"--filename={file}" for file in delivery.repository.files]


def kind_and_version(one: Object) -> tuple[str, str]:
    return one["kind"], one["metadata"]["resourceVersion"]


def test_drift_is_repaired_and_what_others_add_is_left(case: Case, delivery: Delivery) -> None:
    delivery.repository.commit("Two replicas", scorer=model(case, scaling={"autoscaler": "None", "replicas": 2}))
    delivery.begin()
    delivery.wait_ready("True")
    case.kube.patch("ModelDeployment", NAME, {"metadata": {"annotations": {"team/oncall": "ada"}}}, case.namespace)
    case.change({"scaling": {"replicas": 1}})
    case.kube.delete("Service", NAME, case.namespace)
    wait(
        "Flux has repaired the spec, and the operator the Service",
        lambda: case.model()["spec"]["scaling"]["replicas"] == 2 and case.kube.find("Service", NAME, case.namespace),
        within=60,
        last=delivery.told,
    )
    assert case.model()["metadata"]["annotations"]["team/oncall"] == "ada"
    case.wait_ready()
    delivery.reconcile()
    assert delivery.ready()["status"] == "True"


def test_what_leaves_the_repository_is_pruned_and_nothing_else(case: Case, delivery: Delivery) -> None:
    delivery.repository.commit("Two models", scorer=model(case), other=model(case, name="other"), team=budget(case))
    delivery.begin()
    delivery.wait_ready("True")
    revision = delivery.repository.commit("Only one", other=None, team=None)
    delivery.wait_ready("True", revision)
    wait(
        "the model is gone, with all of its children",
        lambda: (
            not case.model("other")
            and not case.pods("other")
            and not case.kube.find("Service", "other", case.namespace)
        ),
        within=60,
    )
    assert not case.kube.find("CostBudget", "team", case.namespace)
    assert case.condition("Ready")["status"] == "True", "the other one serves on"


def test_a_commit_that_cannot_serve_is_told_at_once_and_mended_by_the_next(case: Case, delivery: Delivery) -> None:
    delivery.repository.commit("Serve version 1", scorer=model(case))
    delivery.begin()
    delivery.wait_ready("True")
    pods = {pod["metadata"]["uid"] for pod in case.pods()}
    wrong = delivery.repository.commit(
        "A digest of something else", scorer=model(case, model={"digest": "sha256:" + "0" * 64})
    )
    failed = delivery.wait_ready("False", wrong, within=PROMPT)
    assert failed["reason"] == "HealthCheckFailed"
    assert f"ModelDeployment/{case.namespace}/{NAME}" in failed["message"]
    assert case.condition("Stalled")["reason"] == "DigestMismatch"
    assert pods <= {pod["metadata"]["uid"] for pod in case.pods()}, "the previous revision serves on"
    delivery.wait_ready("True", delivery.repository.commit("Back", scorer=model(case)))


def test_a_model_that_is_suspended_on_purpose_is_no_failure(case: Case, delivery: Delivery) -> None:
    """Kstatus has no word for it; operator/tasks/gitops.md has the expressions."""
    (page,) = [one for one in written_out() if one["kind"] == "Kustomization"]
    revision = delivery.repository.commit("Not yet", scorer=model(case, suspend=True))
    delivery.begin(healthCheckExprs=page["spec"]["healthCheckExprs"])
    delivery.wait_ready("True", revision)
    assert case.condition("Ready")["reason"] == "Suspended"


def written_out() -> list[Object]:
    """What the page gives to copy for Flux."""
    blocks = [part.partition("```")[0] for part in PAGE.read_text().split("```yaml\n")[1:]]
    return [one for block in blocks for one in yaml.safe_load_all(block)]


def test_orphans_are_taken_over_with_the_same_pods(case: Case) -> None:
    case.serve(scaling={"autoscaler": "None", "replicas": 2})
    before = {pod["metadata"]["uid"] for pod in case.wait_pods(2)}
    case.kube.kubectl("delete", "mdep", NAME, "-n", case.namespace, "--cascade=orphan", "--wait=false")
    wait(
        "the model is gone", lambda: not case.model(), within=180
    )  # the garbage collector lets go first: it may be busy
    deployment = case.kube.find("Deployment", NAME, case.namespace)
    assert not deployment["metadata"].get("ownerReferences"), "the garbage collector has made it an orphan"
    case.serve(scaling={"autoscaler": "None", "replicas": 2})
    uid = case.model()["metadata"]["uid"]
    for kind in ("Deployment", "Service", "NetworkPolicy", "ConfigMap", "ServiceAccount", "PodDisruptionBudget"):
        for one in case.kube.list(kind, case.namespace, f"modelward.dev/model={NAME}"):
            assert [owner["uid"] for owner in one["metadata"]["ownerReferences"]] == [uid], one["metadata"]["name"]
    assert before == {pod["metadata"]["uid"] for pod in case.pods()}, "no pod was restarted"
    restarts = [c["restartCount"] for pod in case.pods() for c in pod["status"]["containerStatuses"]]
    assert restarts == [0, 0]


def test_git_is_served_as_flux_and_people_ask_for_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The control of the server: what is pushed is what a fresh clone has."""
    folder = tmp_path_factory.mktemp("alone")
    with repository(folder / "server") as served:
        revision = served.commit("First", one={"kind": "One"})
        done = subprocess.run(
            ["git", "ls-remote", served.url, "main"], capture_output=True, text=True, check=True, timeout=20
        )
        assert done.stdout.split()[0] == revision
