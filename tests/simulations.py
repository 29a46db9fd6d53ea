"""Cases and traces for the tests of the simulator."""

from typing import Any

from modelward_operator.simulation.case import Case, read_cases
from modelward_operator.simulation.trace import Row, Trace

Json = dict[str, Any]
API = "modelward.dev/v1alpha1"


def model(scaling: Json, name: str = "fraud") -> Json:
    spec = {"model": {"uri": "s3://models/fraud/7/"}, "resources": {"requests": {"cpu": "1"}}, "scaling": scaling}
    return {"apiVersion": API, "kind": "ModelDeployment", "metadata": {"name": name, "namespace": "risk"}, "spec": spec}


def book(price: str = "3.06", currency: str = "USD") -> Json:
    nodes = [{"name": "any", "matchLabels": {"pool": "models"}, "price": {"node": price}}]
    spec = {"currency": currency, "nodes": nodes}
    return {"apiVersion": API, "kind": "PriceBook", "metadata": {"name": "cloud"}, "spec": spec}


def budget(**spec: Any) -> Json:
    whole = {"limit": "100", "currency": "USD", "period": "Day", **spec}
    return {"apiVersion": API, "kind": "CostBudget", "metadata": {"name": "day", "namespace": "risk"}, "spec": whole}


def case(scaling: Json, *others: Json) -> Case:
    (made,) = read_cases([model(scaling), *others])
    return made


def steady(seconds: float, rate: float, service: float) -> Trace:
    """So many requests a second for so long."""
    return Trace((Row(0.0, seconds, round(seconds * rate), service),))


def rows(*parts: tuple[float, int, float]) -> Trace:
    """Rows one after the other, each (length, requests, service seconds)."""
    found, start = [], 0.0
    for length, requests, service in parts:
        found.append(Row(start, length, requests, service))
        start += length
    return Trace(tuple(found))
