"""Trains the classifiers on scikit-learn's own real data and converts them to ONNX. Called by the build only.

Data: Wolberg et al., Breast Cancer Wisconsin (Diagnostic), 569 biopsies, 30 measurements; and the UCI optical digits,
1,797 handwritten digits of 8x8 pixels. Both lie inside the scikit-learn package. A third of each is held out, and the
rows to predict with come from that third.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from skl2onnx import to_onnx
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from e2e.models.rows import Array, Rows, run_onnxruntime, write_rows

OPSET = 20
# skl2onnx computes in float32 where scikit-learn uses float64; more than this apart is a conversion gone wrong.
CONVERSION_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Split:
    """A data set cut in two: features FP32 [rows, features], truth INT64 [rows], and the names of both."""

    train: Array
    test: Array
    train_truth: Array
    test_truth: Array
    features: list[str]
    labels: list[str]


def build_breast_cancer(folder: Path) -> None:
    """Two versions that are told apart by their probabilities: a forest of about 1 MB, and a linear model of 2 KB."""
    data = _split(load_breast_cancer())
    forest = RandomForestClassifier(n_estimators=940, random_state=0)
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.5))
    probabilities = _build(folder / "breast-cancer" / "1", forest, data)
    _build(folder / "breast-cancer" / "2", linear, data)
    chosen = _clear_and_close_calls(probabilities, data.test_truth)
    for version in ("1", "2"):
        _write_rows(folder, "breast-cancer", version, data, chosen)


def build_digits(folder: Path) -> None:
    """A small neural network: 64 pixels, 64 hidden units, ten classes."""
    data = _split(load_digits())
    network = make_pipeline(StandardScaler(), MLPClassifier((64,), max_iter=400, random_state=0))
    _build(folder / "digits" / "1", network, data)
    one_of_each = [int(np.flatnonzero(data.test_truth == digit)[0]) for digit in range(10)]
    _write_rows(folder, "digits", "1", data, one_of_each)


def _split(data: Any) -> Split:
    features, truth = data.data.astype(np.float32), data.target
    train, test, train_truth, test_truth = train_test_split(
        features, truth, test_size=1 / 3, random_state=0, stratify=truth
    )
    names = list(map(str, data.feature_names)), list(map(str, data.target_names))
    return Split(train, test, train_truth, test_truth, *names)


def _build(folder: Path, classifier: Any, data: Split) -> Array:
    """Trains, converts and writes `folder/model.onnx`; the probabilities it gives on all held-out rows."""
    classifier.fit(data.train, data.train_truth)
    model = folder / "model.onnx"
    folder.mkdir(parents=True)
    onnx.save_model(_convert(classifier, data), model)
    return _check_conversion(model, classifier, data.test)


def _write_rows(folder: Path, name: str, version: str, data: Split, chosen: list[int]) -> None:
    inputs = {"X": data.test[chosen]}
    outputs = run_onnxruntime(folder / name / version / "model.onnx", inputs)
    truths = [data.labels[truth] for truth in data.test_truth[chosen]]
    write_rows(folder / name, Rows(name, version, inputs, outputs, truths, [], data.labels))


def _convert(classifier: Any, data: Split) -> onnx.ModelProto:
    """One FP32 input `X` [batch, features]; outputs `label` INT64 [batch] and `probabilities` FP32 [batch, classes]."""
    model: onnx.ModelProto = to_onnx(classifier, data.train[:1], options={"zipmap": False}, target_opset=OPSET)
    properties = {"feature_names": ",".join(data.features), "labels": ",".join(data.labels)}
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model, full_check=True)
    return model


def _check_conversion(model: Path, classifier: Any, test: Array) -> Array:
    """The probabilities of the converted model on all held-out rows, having compared them with scikit-learn's own."""
    served = run_onnxruntime(model, {"X": test})
    expected = classifier.predict_proba(test)
    worst = float(np.abs(expected - served["probabilities"]).max())
    if worst > CONVERSION_TOLERANCE or (classifier.predict(test) != served["label"]).any():
        raise ValueError(f"{model}: the converted model differs from scikit-learn's by {worst:.2g}")
    return served["probabilities"]


def _clear_and_close_calls(probabilities: Array, truth: Array) -> list[int]:
    """Eight rows to look at: seven from the surest to the closest call, and the surest mistake."""
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    spread = [int(order[round(at)]) for at in np.linspace(0, len(order) - 1, 7)]
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != truth)
    return [*spread, int(wrong[confidence[wrong].argmax()])]
