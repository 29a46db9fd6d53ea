"""README, from its first manifest to a prediction by each client, as it is written: but for the namespace, the addresses, where the model
lies, and the row that the page cuts short.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pytest

from e2e.cases.case import Case
from e2e.cases.conftest import open_case, upload
from e2e.cases.kube import Kube
from e2e.cases.place import REPOSITORY, Store
from e2e.models.builder import BUILD
from e2e.models.rows import Rows, read_rows

MODEL: Final = "breast-cancer"
CUT_SHORT: Final = "[[17.99, 10.38, …]]"


def rows() -> Rows:
    """What the page asks with, and what is answered."""
    return read_rows(BUILD / MODEL / "1.rows.json")


def written(heading: str, kind: str) -> list[str]:
    """The blocks of a kind below a heading."""
    section = (REPOSITORY / "README.md").read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(rf"^```{kind}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found


def here(case: Case, text: str) -> str:
    """The same in a case's namespace."""
    for theirs, ours in (
        ("namespace: demo", f"namespace: {case.namespace}"),
        ("-n demo", f"-n {case.namespace}"),
        (f"s3://models/{MODEL}/1/", f"{case.prefix}/{MODEL}/1/"),
        ("http://10.99.0.1:9000", case.store.endpoint),
    ):
        text = text.replace(theirs, ours)
    return text


def called(case: Case, text: str) -> str:
    """The same from the node, where Services have no names."""
    assert f"{MODEL}.demo.svc" in text
    return here(case, text).replace(f"{MODEL}.demo.svc", case.service_address(MODEL))


def run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def probabilities(answer: str) -> Any:
    (output,) = [one for one in json.loads(answer)["outputs"] if one["name"] == "probabilities"]
    return np.array(output["data"], np.float32).reshape(output["shape"])


@pytest.fixture(scope="module")
def served(kube: Kube, store: Store, prefix: str) -> Iterator[Case]:
    """The first manifest, applied; shared because the clients only ask."""
    opened = open_case(kube, store, prefix, "readme")
    upload(BUILD / MODEL / "1", f"{prefix}/{MODEL}/1/")
    opened.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "visitor"}})
    kube.kubectl("apply", "-f", "-", given=here(opened, written("A first manifest", "yaml")[0]))
    opened.wait_ready(MODEL)
    yield opened
    kube.delete("Namespace", opened.namespace)


def test_the_plugin_describes_and_predicts(served: Case) -> None:
    describe, predict = written("Ask for predictions", "sh")[0].splitlines()
    assert "probabilities" in run(["bash", "-c", here(served, describe)])
    answer = run(["bash", "-c", here(served, predict)])
    np.testing.assert_allclose(rows().outputs["probabilities"], probabilities(answer), rtol=1e-6, atol=1e-6)


def test_curl_with_a_token_predicts(served: Case) -> None:
    answer = run(["bash", "-euo", "pipefail", "-c", called(served, written("Ask for predictions", "sh")[1])])
    np.testing.assert_allclose(rows().outputs["probabilities"], probabilities(answer), rtol=1e-6, atol=1e-6)


def test_tritonclient_with_a_token_predicts(served: Case) -> None:
    (script,) = written("Ask for predictions", "python")
    assert CUT_SHORT in script
    row = rows().inputs["X"][:1]
    token = run(
        ["kubectl", "create", "token", "visitor", "-n", served.namespace, "--audience", "modelward.dev"]
    ).strip()
    whole = called(served, script).replace(CUT_SHORT, str(row.tolist()))
    found = run([sys.executable, "-c", f"token = {token!r}\n{whole}\nprint(answer.as_numpy('probabilities').tolist())"])
    np.testing.assert_allclose(
        rows().outputs["probabilities"][:1], json.loads(found.splitlines()[-1]), rtol=1e-6, atol=1e-6
    )
