"""The rows files that demo, e2e and benchmarks judge predictions by: exact through JSON, and keyed by what made them."""

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from e2e.models import builder
from e2e.models.rows import Rows, as_tensors, from_tensors, read_rows, write_rows


def test_floats_survive_the_way_through_json_to_the_bit(tmp_path: Path) -> None:
    values = np.array([[np.float32(0.1), np.float32(1 / 3)], [np.float32(1e-38), np.float32(3.4e38)]])
    rows = Rows("m", "1", {"X": values}, {"label": np.array([1, 0])}, ["a", "b"], [], ["a", "b"])
    write_rows(tmp_path, rows)
    back = read_rows(tmp_path / "1.rows.json")
    assert back.inputs["X"].dtype == np.float32
    assert back.inputs["X"].tobytes() == values.tobytes()
    assert (back.truths, back.labels) == (rows.truths, rows.labels)


def test_tensors_are_the_inputs_of_an_open_inference_request() -> None:
    tensors = as_tensors({"ids": np.array([[1, 2, 3]])})
    assert tensors == [{"name": "ids", "datatype": "INT64", "shape": [1, 3], "data": [1, 2, 3]}]
    assert from_tensors(tensors)["ids"].tolist() == [[1, 2, 3]]


def test_a_new_library_version_gets_a_cache_folder_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    before = builder.build_key()
    monkeypatch.setattr(metadata, "version", lambda library: "0.0")
    assert before != builder.build_key()


@pytest.mark.parametrize(
    ("environment", "expected", "reason"),
    [
        ({"MODELWARD_CACHE": "/c"}, "/c/models", "the project's own variable wins"),
        ({"MODELWARD_CACHE": "", "XDG_CACHE_HOME": "/x"}, "/x/modelward/models", "then the desktop's"),
        ({"MODELWARD_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/modelward/models", "then home"),
    ],
)
def test_the_cache_lies_outside_the_clone(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str, reason: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(builder.cache_folder()) == expected, reason
