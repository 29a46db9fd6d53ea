"""What the status says of a number that the load decides."""

from dataclasses import replace
from datetime import timedelta

import pytest

from modelward_operator.facts import Demand, Given
from tests.makers import NOW
from tests.unit.test_summarise import SERVES, condition, says, status_of, with_pods

SPEC = {"scaling": {"minReplicas": 1, "maxReplicas": 6}}
WHY = "9.0 requests at a time over 60 s, 5.6 aimed at for each replica"


def wanting(number: int, given: Given | None = None, *, lost: int = 0) -> Given:
    given = given or with_pods(SPEC, SERVES, SERVES)
    return replace(given, demand=Demand(number, WHY, NOW - timedelta(minutes=3), lost))


def test_the_number_its_cause_and_since_when_it_stands_are_told() -> None:
    status = status_of(wanting(2))
    assert status["scaling"] == {"wanted": 2, "why": WHY, "since": "2026-11-23T11:57:00Z"}
    assert says(status, "Autoscaling") == ("True", "ScaledByLoad")
    assert condition(status, "Autoscaling")["message"] == f"2 replicas are wanted: {WHY}"
    assert says(status, "Ready") == ("True", "Serving")


def test_who_does_not_say_the_load_is_told_of_and_the_model_is_ready_all_the_same() -> None:
    status = status_of(wanting(2, lost=1))
    assert says(status, "Autoscaling") == ("False", "LoadUnknown")
    assert condition(status, "Autoscaling")["message"].startswith("1 of the pods that serve has not said the load")
    assert says(status, "Ready") == ("True", "Serving")
    assert "has not said the load" in condition(status, "Ready")["message"]


def test_a_number_that_is_held_lower_is_told_with_what_is_wanted() -> None:
    status = status_of(wanting(2, with_pods({**SPEC, "suspend": True})))
    assert says(status, "Autoscaling") == ("False", "ReplicasBounded")
    assert condition(status, "Autoscaling")["message"] == f"0 may run; 2 replicas are wanted: {WHY}"
    assert says(status, "Ready") == ("False", "Suspended")


@pytest.mark.parametrize("scaling", [{}, {"replicas": 3}, {"autoscaler": "External"}])
def test_where_the_load_decides_nothing_nothing_is_told(scaling: dict[str, object]) -> None:
    status = status_of(with_pods({"scaling": scaling}, SERVES))
    assert says(status, "Autoscaling") == ("absent", "")
    assert "scaling" not in status
