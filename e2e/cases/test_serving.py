"""From one manifest to predictions: what a served model answers, and what kubectl shows of it."""

from collections.abc import Iterator

import numpy as np
import pytest

from e2e.cases.case import Case
from e2e.cases.clients import WAYS
from e2e.cases.conftest import open_case, upload
from e2e.cases.kube import Kube, Refused
from e2e.cases.manifests import model_deployment, storage
from e2e.cases.place import Store
from e2e.models.builder import BUILD
from e2e.models.rows import read_rows, run_onnxruntime

pytestmark = pytest.mark.core
MODELS = ("breast-cancer", "digits", "minilm")


@pytest.fixture(scope="module")
def served(kube: Kube, store: Store, prefix: str) -> Iterator[Case]:
    """Real models, two classifiers and a transformer with its weights beside its graph, ready; shared because the cases only look."""
    opened = open_case(kube, store, prefix, "real-models-are-served")
    for model in MODELS:
        upload(BUILD / model / "1", f"{prefix}/{model}/1/")
        opened.apply(model_deployment(f"{prefix}/{model}/1/", storage(store), model))
    for model in MODELS:
        opened.wait_ready(model)
    yield opened
    kube.delete("Namespace", opened.namespace)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", MODELS)
def test_predictions_equal_onnxruntime_run_by_hand(served: Case, model: str, way: str) -> None:
    inputs = read_rows(BUILD / model / "1.rows.json").inputs
    expected = run_onnxruntime(BUILD / model / "1" / "model.onnx", inputs)
    answered = WAYS[way](served.service_address(model), model, inputs)
    assert sorted(expected) == sorted(answered)
    for name, values in expected.items():
        np.testing.assert_allclose(answered[name], values, rtol=1e-6, atol=1e-6)


def test_kubectl_get_mdep_shows_the_truth_in_one_line(served: Case) -> None:
    header, row = served.kube.kubectl("get", "mdep", "breast-cancer", "-n", served.namespace).splitlines()
    assert header.split() == ["NAME", "READY", "REASON", "MODEL", "REPLICAS", "COST/H", "AGE"]
    digest = served.model("breast-cancer")["status"]["model"]["digest"].removeprefix("sha256:")
    assert ["breast-cancer", "True", "Serving", digest[:12], "1"] == row.split()[:5]


def test_the_status_says_what_is_loaded_and_where_it_answers(served: Case) -> None:
    status = served.model("digits")["status"]
    host = f"digits.{served.namespace}.svc"
    assert {"http": f"http://{host}:8080", "grpc": f"{host}:8081"} == status["address"]
    size = (BUILD / "digits" / "1" / "model.onnx").stat().st_size
    assert (size, "1", "CPUExecutionProvider") == (
        status["model"]["sizeBytes"],
        status["model"]["version"],
        status["model"]["executionProvider"],
    )
    assert {one["type"]: one["status"] for one in status["conditions"]} == {
        "ModelAvailable": "True",
        "Ready": "True",
        "RolloutComplete": "True",
        "WorkloadAvailable": "True",
    }


def test_another_pod_reaches_it_by_its_name_in_dns(served: Case) -> None:
    client = served.start_client("visitor", "import time; time.sleep(600)")
    script = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"
    url = served.model("digits")["status"]["url"]
    assert '"digits"' in client.python(script, f"{url}/v2/models/digits")


def test_an_unknown_scheme_is_refused_when_it_is_applied(case: Case) -> None:
    with pytest.raises(Refused, match=r"uri must be s3://.* or pvc://"):
        case.apply(model_deployment("ftp://models/adder/1/"))
