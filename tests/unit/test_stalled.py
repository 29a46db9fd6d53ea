"""Stalled, by which kstatus knows what waiting does not mend: when it is there, when not, and that its reasons are real ones."""

from typing import Any

import pytest

from modelward_operator.api.crd import costbudget_crd, modeldeployment_crd
from modelward_operator.api.parse import Invalid, parse
from modelward_operator.facts import Applied, Given, Json
from modelward_operator.policies.rooms import rule
from modelward_operator.rulings import Ruling
from modelward_operator.status.conditions import LOAD_FAILURES, STALLING, Reason
from modelward_operator.status.summarise import summarise, summarise_invalid
from tests.makers import current_revision, drawn, failing, make_given, make_pod, parsed

GONE = {"reason": "DigestMismatch", "message": "no", "permanent": True}


def stalled(status: Json) -> Any:
    return [c for c in status["conditions"] if c["type"] == "Stalled"]


def of_pods(report: Json | None = None, **pod: Any) -> Json:
    revision = current_revision(make_given())
    return status_of(make_given(pods=(make_pod("fraud-0", revision=revision, report=report, **pod),)))


def status_of(given: Given) -> Json:
    spec = parsed(given)
    return summarise(given, spec, rule(given, spec), drawn(given), Applied())


def test_what_is_stored_and_what_is_declared_contradict_each_other() -> None:
    (found,) = stalled(of_pods(last_state={"terminated": {"exitCode": 78, "message": '{"reason":"DigestMismatch"}'}}))
    assert ("True", "DigestMismatch") == (found["status"], found["reason"])
    assert "fraud-0" in found["message"]


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("it is on the way", status_of(make_given())),
        ("it was suspended on purpose", status_of(make_given({"suspend": True}))),
        ("it has no pods on purpose", status_of(make_given({"scaling": {"replicas": 0}}))),
        (
            "the store may come back",
            of_pods({"state": "Fetching", "failure": failing("SourceUnreachable", "no", permanent=False)}),
        ),
        (
            "what is not there yet may be put there",
            of_pods({"failure": failing("ModelNotFound", "no", permanent=True)}),
        ),
    ],
)
def test_what_may_end_by_itself_is_not_stalled(reason: str, status: Json) -> None:
    assert [] == stalled(status), reason


def test_a_spec_that_cannot_be_read_is_stalled_and_stays_so_until_it_can() -> None:
    given = make_given({"scaling": {"replicas": -1}})
    invalid = parse(given.raw)
    assert isinstance(invalid, Invalid)
    status = summarise_invalid(given, invalid, Ruling(), Applied())
    assert ["InvalidSpec"] == [c["reason"] for c in stalled(status)]
    again = make_given({"scaling": {"replicas": -1}}, status=status)
    assert 1 == len(stalled(summarise_invalid(again, invalid, Ruling(), Applied())))
    assert [] == stalled(status_of(make_given(status=status)))


def test_its_reasons_are_reasons_that_there_are() -> None:
    assert STALLING <= {*Reason, *LOAD_FAILURES}
    assert Reason.SUSPENDED not in STALLING


def test_what_nobody_has_looked_at_says_so() -> None:
    """Kstatus takes an object without status.observedGeneration for done."""
    for crd in (modeldeployment_crd(), costbudget_crd()):
        (version,) = crd["spec"]["versions"]
        assert {"observedGeneration": -1} == version["schema"]["openAPIV3Schema"]["properties"]["status"]["default"]
