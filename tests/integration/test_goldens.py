"""Every golden is what the API server holds: applied and read back, nothing of it has changed.

A builder that emits another form than the API server's would be written again at every pass, for ever.
"""

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from modelward_operator.cluster.client import Client
from modelward_operator.cluster.compare import is_superset
from modelward_operator.cluster.kinds import BY_KIND, DEPLOYMENT
from modelward_operator.plan.quantity import canonical

GOLDEN = Path(__file__).parents[1] / "golden"
GOLDENS = [*sorted((GOLDEN / "plan").glob("*.yaml")), GOLDEN / "activator" / "table.yaml"]
AT_ONCE = 200


def objects(golden: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(golden.read_text()))


@pytest.mark.usefixtures("gateway_api")
@pytest.mark.parametrize("golden", GOLDENS, ids=lambda path: path.stem)
async def test_a_golden_applied_and_read_back_is_itself(golden: Path, client: Client, namespace: str) -> None:
    for planned in objects(golden):
        planned["metadata"]["namespace"] = namespace
        applied = await client.apply(BY_KIND[planned["kind"]], planned, manager="modelward", force=False)
        live = await client.get(BY_KIND[planned["kind"]], namespace, planned["metadata"]["name"])
        assert is_superset(live, planned), f"{planned['kind']} {planned['metadata']['name']}"
        again = await client.apply(BY_KIND[planned["kind"]], planned, manager="modelward", force=False)
        assert applied["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]


suffixes = st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi", "Ti", "u", "n", "e3", "E0", "e+1", "E-2"])
numbers = st.one_of(
    st.integers(0, 10**6).map(str),
    st.decimals(0, 10**4, places=3, allow_nan=False).map(str),
    st.sampled_from(["0", "00", ".5", "1.", "0.0001", "1024", "1000", "1536", "0.3333333333"]),
)
quantities = st.tuples(numbers, suffixes).map("".join)


@pytest.fixture
def serial() -> "itertools.count[int]":
    return itertools.count()


@settings(
    max_examples=5,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
    derandomize=True,  # as in test_schema_fuzz.py
)
@given(some=st.lists(quantities, min_size=AT_ONCE, max_size=AT_ONCE))
async def test_the_api_server_keeps_a_canonical_quantity_as_it_is(
    some: list[str], client: Client, namespace: str, serial: "itertools.count[int]"
) -> None:
    name = f"quantities-{next(serial)}"
    labels = {"app": name}
    containers: list[dict[str, Any]] = [
        {"name": f"c{n}", "image": "i", "resources": {"requests": {"memory": canonical(quantity)}}}
        for n, quantity in enumerate(some)
    ]
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }
    live = await client.apply(DEPLOYMENT, body, manager="test", force=True)
    stored = [c["resources"]["requests"]["memory"] for c in live["spec"]["template"]["spec"]["containers"]]
    assert {q: s for q, s in zip(some, stored, strict=True) if canonical(q) != s} == {}
