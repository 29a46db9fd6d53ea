"""The demo's judgement and drawing: what counts as deviating from onnxruntime, and that nothing is lost without colour."""

import numpy as np
import pytest

from e2e.bench.pods import counter
from e2e.bench.timeline import observe, split
from e2e.demo.ask import largest_difference
from e2e.demo.follow import changes, is_ready
from e2e.demo.kube import Json, Seen, condition
from e2e.demo.paint import bar, paint, pixels
from e2e.models.rows import Array

EXPECTED = {"label": np.array([0, 1]), "probabilities": np.array([[0.25, 0.75]], np.float32)}


@pytest.mark.parametrize(
    ("served", "expected", "reason"),
    [
        (EXPECTED, 0.0, "the same"),
        (EXPECTED | {"probabilities": np.array([[0.25, 0.5]], np.float32)}, 0.25, "the largest of all"),
        (EXPECTED | {"label": np.array([0, 2])}, np.inf, "a class is right or wrong"),
        (EXPECTED | {"probabilities": np.array([[0.25, np.nan]], np.float32)}, np.inf, "not a number is no answer"),
        (EXPECTED | {"probabilities": np.array([0.25, 0.75], np.float32)}, np.inf, "the shape is part of the answer"),
        (EXPECTED | {"probabilities": np.array([[0.25, 0.75]])}, np.inf, "so is the type"),
        ({"label": np.array([0, 1])}, np.inf, "an output is missing"),
    ],
)
def test_how_far_an_answer_is_from_the_expected_one(served: dict[str, Array], expected: float, reason: str) -> None:
    assert expected == largest_difference(EXPECTED, served), reason


def test_bars_and_digits_are_readable_without_colour() -> None:
    assert (bar(0, 4), bar(0.5, 4), bar(1, 4), bar(1.7, 4)) == ("····", "██··", "████", "████")
    assert pixels([[0.0, 1.0], [1.0, 1.0]], coloured=False) == ["▄█"]
    assert paint("text", "red", coloured=False) == "text"
    assert paint("text", "red", coloured=True) == "\x1b[31mtext\x1b[0m"


def _model(generation: int, *conditions: tuple[str, str], observed: int = 1) -> Json:
    told = [
        {"type": kind, "status": status, "reason": "R", "message": "m", "observedGeneration": observed}
        for kind, status in conditions
    ]
    metadata = {"name": "m", "generation": generation}
    return {"kind": "ModelDeployment", "metadata": metadata, "status": {"conditions": told}}


def test_a_ready_of_the_spec_before_does_not_count() -> None:
    whole = (("Ready", "True"), ("RolloutComplete", "True"))
    assert is_ready(_model(1, *whole), generation=1)
    assert not is_ready(_model(2, *whole), generation=2)
    assert not is_ready(_model(1, *whole), generation=2)
    assert not is_ready(_model(1, ("Ready", "True"), ("RolloutComplete", "False")), generation=1)
    assert condition(_model(1), "Ready")["status"] == "Unknown"


def test_only_what_changed_is_told() -> None:
    told: dict[tuple[str, str], tuple[str, str]] = {}
    event = Seen(0.0, "MODIFIED", _model(1, ("Ready", "Unknown")))
    assert len(list(changes(event, told, 1.0))) == 1
    assert list(changes(event, told, 2.0)) == []


def test_stages_add_up_to_the_time_from_apply_to_the_first_answer() -> None:
    marks = {"applied": 100.0}
    pod = {"kind": "Pod", "metadata": {"name": "m-1", "labels": {"modelward.dev/model": "m"}}, "spec": {}}
    placed = pod | {"spec": {"nodeName": "n"}}
    pulled = {"kind": "Event", "metadata": {"name": "e"}, "reason": "Pulled", "involvedObject": {"name": "m-1"}}
    deployment = {"kind": "Deployment", "metadata": {"name": "m"}}
    shown = [_model(1), deployment, pod, placed, pulled, _model(1, ("Ready", "True"))]
    for number, item in enumerate(shown, start=1):
        observe(marks, Seen(100.0 + number, "ADDED", item), "m")
        observe(marks, Seen(200.0, "MODIFIED", item), "m")  # seen again: the first time counts
    marks |= {"started": 106.0, "answering": 109.0}
    report = {"startedAt": "1970-01-01T00:00:07.500+00:00", "stageSeconds": {"fetch": 0.25, "load": 0.5}}
    stages = split(marks, report, wall_minus_monotonic=-100.0)
    assert sum(stages.values()) == pytest.approx(9.0)
    assert (stages["reconcile"], stages["start process"], stages["readiness"]) == (1.0, 1.5, 0.75)


def test_a_counter_is_summed_over_its_series() -> None:
    text = (
        'passes_count{result="success"} 2.0\npasses_count{result="failed"} 1.0\npasses_count_more 5.0\n# passes_count\n'
    )
    assert counter(text, "passes_count") == 3.0
