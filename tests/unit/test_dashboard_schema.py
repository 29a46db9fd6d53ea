"""The dashboard against Grafana's own kinds (grafana-foundation-sdk, made from its schemas): nothing in it that Grafana does not know.

Each value is read into Grafana's types and written again. Those types have no room for a field of another name, so what is lost or changed
on the way was never Grafana's. No Grafana is started: that it draws the panels is not shown here.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from helm.dashboard import FILE

LIVE: dict[str, Any] = json.loads(FILE.read_text())


@pytest.fixture(scope="module", autouse=True)
def plugins() -> None:
    """The kinds of panels and of Prometheus' queries."""
    register_default_plugins()


def lost(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of what is not there any more, or is something else."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name, value in ours.items():
            yield from lost(value, theirs[name], f"{path}.{name}") if name in theirs else [f"{path}.{name}"]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(one, other, f"{path}[{number}]")
    elif ours != theirs:
        yield path


def read_back(document: dict[str, Any]) -> Any:
    return json.loads(JSONEncoder().encode(Dashboard.from_json(copy.deepcopy(document))))


def test_grafana_knows_every_field_of_the_dashboard() -> None:
    assert [] == list(lost(LIVE, read_back(LIVE)))


@pytest.mark.parametrize(
    "where",
    [
        (),
        ("templating", "list", 1),
        ("panels", 1),
        ("panels", 1, "gridPos"),
        ("panels", 1, "datasource"),
        ("panels", 1, "fieldConfig", "defaults"),
        ("panels", 1, "targets", 0),
    ],
)
def test_a_field_that_grafana_does_not_know_would_be_noticed(where: tuple[str | int, ...]) -> None:
    wrong = copy.deepcopy(LIVE)
    place: Any = wrong
    for step in where:
        place = place[step]
    place["misspelt"] = "x"
    assert [one.rpartition(".")[2] for one in lost(wrong, read_back(wrong))] == ["misspelt"]
