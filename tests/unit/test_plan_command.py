"""`modelward-operator plan`: what it prints, and what a clumsy user reads instead of a traceback."""

import io
from pathlib import Path

import pytest
import yaml

from modelward_operator.api.modelpolicy import ModelPolicySpec
from modelward_operator.cli import main

GOOD = """
apiVersion: modelward.dev/v1alpha1
kind: ModelDeployment
metadata: {name: fraud}
spec: {model: {uri: "s3://models/fraud/7/"}}
"""
LONG = "f" * 51
FLOOR = """
apiVersion: modelward.dev/v1alpha1
kind: ModelPolicy
metadata: {name: floor}
spec: {namespaceSelector: {matchLabels: {tier: prod}}, requireVerification: true}
"""
NAMESPACE = (
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: risk, labels: {tier: prod, modelward.dev/tenant: risk-eu}}\n"
)
SIGNED = GOOD.replace(
    "spec: {", "spec: {security: {verification: {mode: Required, trust: [{name: ci, keyRef: {name: ci-pub}}]}}, "
)


def test_every_model_of_several_documents_is_planned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "all.yaml"
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s3}\n"
    file.write_text("---\n".join(["", GOOD, secret, GOOD.replace("fraud", "spam"), "[a, list]\n"]))
    assert main(["plan", "-f", str(file), "-n", "risk"]) == 0
    made = [planned for planned in yaml.safe_load_all(capsys.readouterr().out) if planned]
    assert {(o["metadata"]["namespace"], o["metadata"]["name"]) for o in made if o["kind"] == "Deployment"} == {
        ("risk", "fraud"),
        ("risk", "spam"),
    }


def test_what_lies_around_a_model_in_the_same_file_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "all.yaml"
    file.write_text("---\n".join([NAMESPACE, FLOOR, GOOD, SIGNED.replace("fraud}", "signed}")]))
    assert main(["plan", "-f", str(file), "-n", "risk"]) == 1, "one of them may not serve"
    out = capsys.readouterr().out
    assert "# ModelPolicyViolated: ModelPolicy floor: spec.security.verification.mode must be Required\n" in out
    made = [planned for planned in yaml.safe_load_all(out) if planned]
    replicas = {o["metadata"]["name"]: o["spec"]["replicas"] for o in made if o["kind"] == "Deployment"}
    assert replicas == {"fraud": 0, "signed": 1}
    assert '"tenant":"risk-eu"' in out


def test_what_only_a_cluster_knows_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(GOOD.replace("spec: {", "spec: {security: {tls: {mode: Managed}}, "))
    assert main(["plan", "-f", str(file)]) == 0
    comments = [line for line in capsys.readouterr().out.splitlines() if line.startswith("#")]
    assert comments == [
        "# egress: DNS: pods k8s-app=kube-dns of namespace kube-system and 169.254.20.10, port 53",
        "# egress: https://kubernetes.default.svc: not opened: its address is not known",
        "# egress: https://s3.us-east-1.amazonaws.com: every public address, port 443",
        "# Secret fraud-tls, and the ConfigMap of the CA: made by the operator",
    ]


def test_the_example_of_a_governed_model_sets_every_floor_and_meets_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "crds" / "examples" / "governed.yaml").read_text()
    (floors,) = (item["spec"] for item in yaml.safe_load_all(text) if item["kind"] == "ModelPolicy")
    assert {field.alias for field in ModelPolicySpec.model_fields.values()} == floors.keys()
    file = tmp_path / "all.yaml"
    file.write_text(f"{NAMESPACE.replace('risk-eu', 'risk')}---\n{text}")
    assert main(["plan", "-f", str(file), "-n", "risk"]) == 0
    file.write_text(file.read_text().replace("    digest: ", "    # "))
    assert main(["plan", "-f", str(file), "-n", "risk"]) == 1
    assert "# ModelPolicyViolated: ModelPolicy risk: spec.model.digest must be set\n" in capsys.readouterr().out


@pytest.mark.parametrize("labels", ["[a]", "7", "word"])
def test_labels_that_are_none_select_nothing(labels: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(f"{NAMESPACE.replace('{tier: prod, modelward.dev/tenant: risk-eu}', labels)}---{FLOOR}---{GOOD}")
    assert main(["plan", "-f", str(file), "-n", "risk"]) == 0
    assert "ModelPolicyViolated" not in capsys.readouterr().out


GOVERNED = GOOD.replace("spec: {", "spec: {privacy: {policyRef: {name: standard}}, ")
STANDARD = """
apiVersion: modelward.dev/v1alpha1
kind: PrivacyPolicy
metadata: {name: standard}
spec: {input: {maxElements: 10}}
"""


@pytest.mark.parametrize(
    ("reason", "beside", "says"),
    [
        ("the policy that it names", f"---{STANDARD}", '"maxElements":10'),
        ("none", "", "# PrivacyPolicyNotFound: PrivacyPolicy standard does not exist in namespace risk"),
        (
            "one of another namespace",
            f"---{STANDARD.replace('name: standard', 'name: standard, namespace: shop')}",
            "# PrivacyPolicyNotFound",
        ),
    ],
)
def test_a_privacy_policy_beside_the_model_counts(
    reason: str, beside: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(GOVERNED + beside)
    denied = "PrivacyPolicyNotFound" in says
    assert main(["plan", "-f", str(file), "-n", "risk"]) == int(denied), reason
    out = capsys.readouterr().out
    assert says in out
    assert denied == ("replicas: 0" in out)


def test_the_keys_of_a_map_are_the_users_own(tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(GOOD.replace("spec: {", "spec: {scheduling: {nodeSelector: {example.com/pool: gpu}}, "))
    assert main(["plan", "-f", str(file)]) == 0


def test_a_model_that_its_owner_suspended_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(GOOD.replace("spec: {", "spec: {suspend: true, "))
    assert main(["plan", "-f", str(file)]) == 0
    assert "# Suspended: " in capsys.readouterr().out


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(GOOD))
    assert main(["plan", "-f", "-"]) == 0
    assert "kind: Deployment" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("reason", "text", "says"),
    [
        ("nothing in it", "", "no ModelDeployment in it"),
        ("a list", "- a\n- b\n", "no ModelDeployment in it"),
        ("a word", "hello", "no ModelDeployment in it"),
        ("another kind", "kind: Service", "no ModelDeployment in it"),
        ("not YAML", "a: [b\n", "not YAML"),
        ("a day that the calendar lacks", "a: 2026-13-45\n", "not YAML"),
        ("nested without end", "[" * 5000, "not YAML"),
        ("a template that was never rendered", "{{- if .Values.x }}\nkind: ModelDeployment\n", "not YAML"),
        ("no metadata", "kind: ModelDeployment\nspec: {}\n", "metadata.name"),
        ("metadata that is nothing", "kind: ModelDeployment\nmetadata:\n", "metadata.name"),
        ("metadata that is a word", "kind: ModelDeployment\nmetadata: fraud\n", "metadata.name"),
        ("a name that is a number", GOOD.replace("name: fraud", "name: 7"), "metadata.name"),
        ("a name that is too long", GOOD.replace("name: fraud", f"name: {LONG}"), "metadata.name"),
        ("a namespace that is none", GOOD.replace("name: fraud", "name: fraud, namespace: [a]"), "metadata.namespace"),
        (
            "a policy beside it that is wrong",
            f"{GOOD}---{FLOOR.replace('true', 'maybe')}",
            "ModelPolicy floor: spec.requireVerification",
        ),
        (
            "a privacy policy beside it that is wrong",
            f"{GOOD}---{STANDARD.replace('10', 'many')}",
            "PrivacyPolicy standard: spec.input.maxElements",
        ),
        ("no spec", GOOD.replace("spec:", "specs:"), "fraud: specs: unknown field\nfraud: spec.model: is required\n"),
        (
            "a protection that is misspelt",
            GOOD.replace("spec: {", "spec: {securty: {tls: {mode: Managed}}, "),
            "fraud: spec.securty: unknown field\n",
        ),
        (
            "a word misspelt in a list",
            SIGNED.replace("keyRef: {name: ci-pub}", "keyRef: {name: ci-pub, kee: ci.pem}"),
            "fraud: spec.security.verification.trust[0].keyRef.kee: unknown field\n",
        ),
        (
            "a rule misspelt in a privacy policy beside it",
            f"{GOOD}---{STANDARD.replace('}}', '}, outpt: {tensors: []}}')}",
            "PrivacyPolicy standard: spec.outpt: unknown field\n",
        ),
        (
            "a floor misspelt in a policy beside it",
            f"{GOOD}---{FLOOR.replace('requireVerification', 'requireEncryption: true, requireVerfication')}",
            "ModelPolicy floor: spec.requireVerfication: unknown field\n",
        ),
        ("a spec that is a word", GOOD.split("spec:", maxsplit=1)[0] + "spec: serve\n", "spec: "),
        ("a field that is wrong", GOOD.replace("s3:", "ftp:"), "spec.model.uri: uri must be s3://"),
    ],
)
def test_a_wrong_manifest_is_explained(
    reason: str, text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(text)
    assert main(["plan", "-f", str(file)]) == 1, reason
    out, err = capsys.readouterr()
    assert says in err
    assert out == ""


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, says in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "Is a directory")):
        assert main(["plan", "-f", str(path)]) == 2
        assert f"{path}: {says}" in capsys.readouterr().err
    (tmp_path / "binary").write_bytes(b"\xff\x00\x89PNG")
    assert main(["plan", "-f", str(tmp_path / "binary")]) == 1
    assert "not YAML" in capsys.readouterr().err


def test_what_nodes_beside_the_model_have_is_held_against_what_it_asks_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = "{node.kubernetes.io/instance-type: g4dn.xlarge, nvidia.com/gpu.memory: '15360'}"
    node = f"kind: Node\nmetadata: {{name: a, labels: {labels}}}\nstatus: {{allocatable: {{nvidia.com/gpu: '1'}}}}\n"
    file = tmp_path / "model.yaml"
    file.write_text("---\n".join([GOOD.replace("spec: {", "spec: {accelerator: {memory: 20Gi}, "), node]))
    assert main(["plan", "-f", str(file)]) == 0
    out = capsys.readouterr().out
    asked = "# devices: each replica asks for 1 nvidia.com/gpu with 20.0 GiB of memory; nodes have, free or not: "
    assert f"{asked}instance-type g4dn.xlarge: 1 nvidia.com/gpu on 1 node\n" in out
    assert (
        "# DeviceTooSmall: no node that the pods may go to says that it has nvidia.com/gpu with 20.0 GiB of memory"
        in out
    )


@pytest.mark.parametrize(
    ("reason", "node", "path"),
    [
        ("a number that nobody quoted", "metadata: {name: a, labels: {nvidia.com/gpu.count: 8}}", "metadata.labels"),
        ("no name", "metadata: {}", "metadata.name"),
        ("no metadata", "status: {}", "metadata"),
        ("labels that are a list", "metadata: {name: a, labels: [x]}", "metadata.labels"),
        ("no quantity", "metadata: {name: a}\nstatus: {allocatable: {cpu: many}}", "status.allocatable.cpu"),
        ("a status that is none", "metadata: {name: a}\nstatus: [1]", "status"),
    ],
)
def test_a_node_that_is_wrong_is_explained(
    reason: str, node: str, path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(f"{GOOD}---\nkind: Node\n{node}\n")
    assert main(["plan", "-f", str(file)]) == 1, reason
    assert f"{file}: Node: {path}" in capsys.readouterr().err


def test_what_a_node_leaves_out_is_missing_and_no_error(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(f"{GOOD}---\nkind: Node\nmetadata: {{name: a, labels: null}}\nspec: null\nstatus: null\n")
    assert main(["plan", "-f", str(file)]) == 0
