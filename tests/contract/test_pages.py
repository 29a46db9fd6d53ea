"""What the pages tell people to type works as it is written: each shell example is run here, or is listed with where it is."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.models.builder import ensure_models
from tests.onnx_models import linear, save
from tests.pages import ROOT, Shell, blocks, manifests, shell, task_pages

PAGES = [
    "README.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "runtime").glob("*.md")),
    "operator/src/modelward_operator/plugin/README.md",
    *task_pages(),
]
ELSEWHERE = {
    ("README.md", "On a cluster that it builds for itself", 0): "it is what continuous integration runs",
    (
        "README.md",
        "Install",
        0,
    ): "images and chart in a cluster, by `make up`: tests/integration/test_chart_lifecycle.py",
    ("README.md", "Ask for predictions", 0): "in a cluster: e2e/cases/test_readme.py",
    ("README.md", "Ask for predictions", 1): "in a cluster: e2e/cases/test_readme.py",
    ("README.md", "Seal a model", 0): "in a cluster: e2e/cases/test_sealed.py",
    ("README.md", "Hold data to a policy", 0): "in a cluster: e2e/cases/test_privacy.py",
    ("README.md", "Hold the bill", 0): "in a cluster: e2e/cases/test_budget.py",
    ("operator/tasks/expose.md", "Through a Gateway", 0): "behind a real gateway: e2e/cases/test_exposure.py",
    ("runtime/ACCESS.md", "How to call", 0): "in a cluster: e2e/cases/test_tls.py",
    ("runtime/LAPTOP.md", "Many models", 0): "with a folder of models: tests/contract/test_serve_library.py",
    ("runtime/LAPTOP.md", "A new version without a restart", 0): "under load: tests/contract/test_serve_library.py",
    ("runtime/OPERATIONS.md", "Traces", 0): "with a collector: tests/unit/test_observability.py",
    ("runtime/PROTOCOL.md", "HTTP", 0): "by other clients: tests/contract/test_runtime_clients.py",
    ("runtime/PROTOCOL.md", "OpenAPI", 0): "behind the door: tests/contract/test_serve_openapi.py",
    ("runtime/AUDIT.md", "Verification", 0): "a synopsis",
    ("runtime/SECURITY.md", "What you install", 0): "with what a release has signed, over the internet",
    ("operator/tasks/upgrade.md", "Upgrade ModelWard", 0): "by helm: tests/integration/test_chart_lifecycle.py",
    (
        "operator/tasks/upgrade.md",
        "Back to the version before",
        0,
    ): "by helm: tests/integration/test_chart_lifecycle.py",
    ("operator/tasks/gitops.md", "Argo CD", 0): "with an API server: tests/integration/test_gitops.py",
    ("operator/tasks/gitops.md", "Take models away and give them back", 0): "in a cluster: e2e/cases/test_gitops.py",
    (
        "operator/tasks/ledgers.md",
        "Back up and restore ledgers",
        0,
    ): "with an API server: tests/integration/test_ledger_backup.py",
    ("operator/tasks/ledgers.md", "Restore", 0): "with an API server: tests/integration/test_ledger_backup.py",
    ("operator/tasks/update.md", "Change the manifest", 0): "in a cluster: e2e/cases/test_plugin.py",
    ("operator/tasks/update.md", "When the new revision does not come up", 0): "in a cluster: e2e/cases/test_plugin.py",
    ("operator/tasks/update.md", "See what has served", 0): "in a cluster: e2e/cases/test_plugin.py",
    ("operator/tasks/roll-back.md", "Roll a model back", 0): "in a cluster: e2e/cases/test_plugin.py",
    (
        "operator/tasks/roll-back.md",
        "Where Flux, Argo CD or Helm own the model",
        0,
    ): "with an API server: tests/integration/test_plugin.py",
    ("operator/tasks/troubleshoot.md", "Troubleshoot a model", 0): "in a cluster: e2e/cases/test_plugin.py",
    ("operator/tasks/troubleshoot.md", "Troubleshoot a model", 1): "in a cluster: e2e/cases/test_plugin.py",
    (
        "operator/src/modelward_operator/plugin/README.md",
        "kubectl modelward",
        0,
    ): "the wheel's commands: tests/unit/test_plugin_cli.py",
    ("operator/src/modelward_operator/plugin/README.md", "Predict", 0): "in a cluster: e2e/cases/test_plugin.py",
    (
        "operator/src/modelward_operator/plugin/README.md",
        "Completion",
        0,
    ): "what it calls: tests/unit/test_plugin_completion.py",
    ("operator/tasks/deploy.md", "Install the operator", 0): "the same files, by buildah: e2e/cluster/images.py",
    ("operator/tasks/deploy.md", "Install the operator", 1): "in a cluster: tests/integration/test_chart_lifecycle.py",
    ("operator/tasks/deploy.md", "Apply the model", 0): "in a cluster: e2e/cases/test_serving.py",
    ("operator/tasks/deploy.md", "Ask it", 0): "in a cluster: e2e/cases/test_plugin.py",
    ("operator/tasks/deploy.md", "Ask it", 1): "in a cluster: e2e/cases/test_access.py",
    ("operator/tasks/air-gapped.md", "On a machine with the internet", 0): "the same files: e2e/cluster/images.py",
    ("operator/tasks/air-gapped.md", "Inside", 0): "its values: tests/integration/test_chart_render.py",
    ("operator/tasks/uninstall.md", "One model", 0): "in a cluster: e2e/cases/test_deletion.py",
    ("operator/tasks/uninstall.md", "One model", 1): "in a cluster: e2e/cases/test_rollouts.py",
    ("operator/tasks/uninstall.md", "One model", 2): "what it leaves is adopted: tests/integration/test_apply.py",
    (
        "operator/tasks/uninstall.md",
        "The operator, while models serve on",
        0,
    ): "tests/integration/test_chart_lifecycle.py",
    ("operator/tasks/uninstall.md", "Everything", 0): "in a cluster: tests/integration/test_chart_lifecycle.py",
    (
        "operator/tasks/seal.md",
        "Bring the key and the signer into the cluster",
        0,
    ): "in a cluster: e2e/cases/test_sealed.py",
    ("operator/tasks/seal.md", "Rotate the key-encryption key", 0): "under serving pods: e2e/cases/test_sealed.py",
    ("operator/tasks/audit.md", "The key", 0): "in a cluster: e2e/cases/test_privacy.py",
    (
        "operator/tasks/audit.md",
        "The policy, and the model that names it",
        0,
    ): "in a cluster: e2e/cases/test_privacy.py",
    ("operator/tasks/audit.md", "Verify", 0): "what real pods wrote: e2e/cases/test_privacy.py",
    ("operator/tasks/private-stores.md", "An S3 bucket", 0): "such a Secret: e2e/cases/test_bad_sources.py",
    ("operator/tasks/private-stores.md", "Google Cloud Storage", 0): "such a key: tests/integration/test_fetch_gs.py",
    ("operator/tasks/private-stores.md", "A web server", 0): "just these lines: tests/integration/test_fetch_https.py",
    ("operator/tasks/private-stores.md", "A web server", 1): "such a Secret: e2e/cases/test_web_sources.py",
    ("operator/tasks/private-stores.md", "A registry", 0): "such a configuration: tests/integration/test_fetch_oci.py",
    ("operator/tasks/private-stores.md", "A private CA", 0): "such a ConfigMap: e2e/cases/test_bad_sources.py",
}


def laptop(run: Shell) -> None:
    """README: from nothing to a prediction."""
    (answer,) = [answer for command, answer in run.answers.items() if command.startswith("curl")]
    outputs = {output["name"]: output for output in json.loads(answer)["outputs"]}
    assert len(outputs["probabilities"]["data"]) == 2 * outputs["probabilities"]["shape"][0]
    assert "breast-cancer version 2 is ready" in [*run.answers.values()][-1], (
        "of all models, each in its newest version"
    )


def first(run: Shell) -> None:
    """runtime/README.md: a model that is made on the spot answers."""
    described, answer = [json.loads(answer) for command, answer in run.answers.items() if command.startswith("curl")]
    assert described["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert answer["outputs"][0]["data"] == pytest.approx([16.8, -9.7, -26.5])


def curls(run: Shell) -> None:
    """runtime/LAPTOP.md: the forms that a request has, by hand."""
    said = {command.partition("#")[0].strip(): answer for command, answer in run.answers.items()}
    asked = [answer for command, answer in said.items() if "/infer" in command and "Inference-Header" not in command]
    assert len(asked) == 2
    assert asked[0] == asked[1], "plain and under gzip"
    assert json.loads(asked[0])["outputs"][0]["shape"] == [1, 3]
    assert any(answer.strip() == "iris" for answer in said.values()), "the name out of the metadata"
    assert any("modelward_requests_total" in answer for answer in said.values())


def sealed(run: Shell) -> None:
    """runtime/SEALING.md: a model is sealed, verified and looked at."""
    verified, inspected = list(run.answers.values())[-2:]
    assert "ci" in verified
    assert "fraud" in inspected


def certified(run: Shell) -> None:
    """runtime/SEALING.md: likewise, with a certificate."""
    assert "fraud-8" in list(run.answers)[-1]


def keys_made(run: Shell) -> None:
    """operator/tasks/seal.md: the keys are there, and the signer's fingerprint is said."""
    assert "fingerprint: sha256:" in [*run.answers.values()][-1]


def sealed_and_verified(run: Shell) -> None:
    """operator/tasks/seal.md: what was sealed is whole, and its digest is one."""
    verified, digest = list(run.answers.values())[-2:]
    assert "sealed for tenant risk, model fraud-scorer, version 7, and signed by ci" in verified
    assert digest.startswith("sha256:")


HERE: dict[tuple[str, str, int], Callable[[Shell], None]] = {
    ("README.md", "On a laptop, without a cluster", 0): laptop,
    ("runtime/README.md", "A first prediction", 0): first,
    ("runtime/LAPTOP.md", "By hand", 0): curls,
    ("runtime/SEALING.md", "Sealed models", 0): sealed,
    ("runtime/SEALING.md", "With a certificate", 0): certified,
    ("operator/tasks/seal.md", "Keys and a first sealed model", 0): keys_made,
    ("operator/tasks/seal.md", "Keys and a first sealed model", 1): sealed_and_verified,
}


def test_every_example_is_run_here_or_elsewhere() -> None:
    found = {block.key for page in PAGES for block in blocks(page)}
    assert found == HERE.keys() | ELSEWHERE.keys()
    assert all((ROOT / where.partition(": ")[2].split(" ")[0]).exists() for where in ELSEWHERE.values() if "/" in where)


@pytest.mark.parametrize("page", task_pages())
def test_a_task_page_is_in_the_list_and_its_manifests_can_be_found(page: str) -> None:
    assert page.endswith("README.md") or f"]({Path(page).name})" in (ROOT / "operator/tasks/README.md").read_text()
    manifests(page)  # tests/integration applies them


@pytest.mark.process
@pytest.mark.parametrize("page", sorted({page for page, _, _ in HERE}))
def test_what_a_page_says_works_as_it_is_written(page: str, tmp_path: Path) -> None:
    folder = ROOT if page == "README.md" else tmp_path
    if folder == ROOT:
        ensure_models(print)  # its network is needed
    else:
        save(linear(), tmp_path / "iris.onnx")
        save(linear(), tmp_path / "fraud.onnx")
    with shell(folder) as run:
        for block in blocks(page):
            if block.key in HERE:
                for command in block.commands:
                    run.run(command)
                HERE[block.key](run)
