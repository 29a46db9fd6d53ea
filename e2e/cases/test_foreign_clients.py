"""Clients that other projects wrote for their own servers get their answers from ours: the KServe SDK's, and MLServer's codecs."""

from collections.abc import Iterator

import numpy as np
import pytest

from e2e.cases.case import Case
from e2e.cases.clients import GRPC, HTTP
from e2e.cases.conftest import open_case, upload
from e2e.cases.kube import Kube
from e2e.cases.manifests import model_deployment, storage
from e2e.cases.place import Store
from e2e.clients.asking import PROGRAMS, ask
from e2e.models.builder import BUILD
from e2e.models.rows import read_rows, run_onnxruntime

MODEL = "breast-cancer"


@pytest.fixture(scope="module")
def served(kube: Kube, store: Store, prefix: str) -> Iterator[Case]:
    """A real classifier, ready; shared because the cases only ask."""
    opened = open_case(kube, store, prefix, "foreign-clients")
    upload(BUILD / MODEL / "1", f"{prefix}/{MODEL}/1/")
    opened.apply(model_deployment(f"{prefix}/{MODEL}/1/", storage(store), MODEL))
    opened.wait_ready(MODEL)
    yield opened
    kube.delete("Namespace", opened.namespace)


@pytest.mark.parametrize("project", PROGRAMS)
def test_a_client_of_another_project_gets_what_onnxruntime_says(served: Case, project: str) -> None:
    inputs = read_rows(BUILD / MODEL / "1.rows.json").inputs
    expected = run_onnxruntime(BUILD / MODEL / "1" / "model.onnx", inputs)
    host = served.service_address(MODEL)
    for way, answered in ask(project, f"http://{host}:{HTTP}", f"{host}:{GRPC}", MODEL, inputs).items():
        assert sorted(expected) == sorted(answered), way
        for name, values in expected.items():
            np.testing.assert_allclose(answered[name], values, rtol=1e-6, atol=1e-6, err_msg=way)
