"""What a policy may not say of a model: found when the policy is taken, all at once, each with the path of its field."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.model import TensorSpec
from modelward_runtime.privacy.compile import compile_rules
from tests.privacy_policies import CLASSIFIER, ODD, policy, rules
from tests.runtime_models import Double


def x(**said: Any) -> dict[str, Any]:
    return {"input": {"tensors": [{"name": "x", **said}]}}


def of(tensor: str, **said: Any) -> dict[str, Any]:
    return {"input": {"tensors": [{"name": tensor, **said}]}}


def out(name: str, **said: Any) -> dict[str, Any]:
    return {"output": {"tensors": [{"name": name, **said}]}}


def noisy(name: str, **more: Any) -> dict[str, Any]:
    return {"output": {"perturbation": [{"name": name, "distribution": "Gaussian", "scale": "0.1"}], **more}}


REFUSED: list[tuple[str, Double, dict[str, Any], str]] = [
    ("unknown input", CLASSIFIER, of("y", action="Zero"), "privacy.input.tensors[0].name: the model has no input 'y', it has: x, n, text"),
    ("input named twice", CLASSIFIER, {"input": {"tensors": [{"name": "x", "minimum": "0"}, {"name": "x", "maximum": "1"}]}},
     "privacy.input.tensors[1].name: input 'x' has an entry already"),
    ("drop without a default", CLASSIFIER, x(action="Drop"), "privacy.input.tensors[0].action: the model has no default for input 'x'"),
    ("drop of what is not there", CLASSIFIER, of("y", action="Drop"), "tensors[0].name: the model has no input 'y'"),
    ("drop and a range", CLASSIFIER, of("temperature", action="Drop", minimum="0"), "a tensor that is dropped is not looked at"),
    ("column out of range", CLASSIFIER, x(columns=[{"indices": [1, 4], "action": "Zero"}]),
     "privacy.input.tensors[0].columns[0].indices[1]: column 4 is out of range, input 'x' has 4 columns"),
    ("unknown feature", CLASSIFIER, x(columns=[{"names": ["agee"], "action": "Zero"}]),
     "columns[0].names[0]: 'agee' is not one of the 4 feature_names of the model's metadata"),
    ("ambiguous feature", CLASSIFIER, x(columns=[{"names": ["income"], "action": "Zero"}]), "'income' stands more than once among"),
    ("features of another tensor", CLASSIFIER, of("n", columns=[{"names": ["age"], "action": "Zero"}]),
     "the model's metadata name 4 features, input 'n' has 2 columns"),
    ("no feature names", ODD, of("double", columns=[{"names": ["age"], "action": "Zero"}]), "the model's metadata have no feature_names"),
    ("columns of a vector", ODD, of("flat", columns=[{"indices": [0], "action": "Zero"}]), "input 'flat' has 1 axes"),
    ("columns without any", CLASSIFIER, x(columns=[{"action": "Zero"}]), "names no column"),
    ("columns without anything to do", CLASSIFIER, x(columns=[{"indices": [0]}]), "columns[0]: says nothing to do"),
    ("range of text", CLASSIFIER, of("text", minimum="0"), "input 'text' is BYTES, which a range cannot be asked of"),
    ("range of truth values", ODD, of("flag", minimum="0"), "input 'flag' is BOOL"),
    ("an empty range", CLASSIFIER, x(minimum="1", maximum="0.5"), "minimum 1 is greater than maximum 0.5"),
    ("NaN of integers", CLASSIFIER, of("n", nonFinite="Reject"), "input 'n' is INT64, which has no NaN"),
    ("personal data in numbers", CLASSIFIER, {"input": {"pii": [{"kinds": ["Email"], "tensors": ["text", "x"], "action": "Mask"}]}},
     "privacy.input.pii[0].tensors[1]: input 'x' is FP32: personal data is looked for in BYTES"),
    ("personal data in what is not there", CLASSIFIER, {"input": {"pii": [{"kinds": ["Email"], "tensors": ["t"], "action": "Mask"}]}},
     "pii[0].tensors[0]: the model has no input 't'"),
    ("hashes without a key", CLASSIFIER, {"input": {"pii": [{"kinds": ["Email"], "action": "Hash"}]}}, "pii[0].action: Hash needs a key"),
    ("two actions for a kind", CLASSIFIER,
     {"input": {"pii": [{"kinds": ["Email"], "action": "Mask"}, {"kinds": ["IBAN", "Email"], "action": "Reject"}]}},
     "privacy.input.pii[1].kinds: Email in input 'text' is to be Mask by a rule above, and Reject here"),
    ("unknown output", CLASSIFIER, out("y", drop=True), "privacy.output.tensors[0].name: the model has no output 'y'"),
    ("output named twice", CLASSIFIER, {"output": {"tensors": [{"name": "label", "drop": True}] * 2}}, "has an entry already"),
    ("an entry without a rule", CLASSIFIER, out("label"), "output.tensors[0]: says nothing to do"),
    ("top k of a vector", CLASSIFIER, out("label", topK=1), "privacy.output.tensors[0].topK: output 'label' has 1 axes"),
    ("rounding integers", CLASSIFIER, out("label", decimals=1), "output 'label' is INT64: rounding needs"),
    ("label of a regression", ODD, out("value", labelOnly=True), "output 'value' (FP32 [-1, 1]) is neither a label nor the scores"),
    ("label and rounding", CLASSIFIER, out("probabilities", labelOnly=True, decimals=1), "of the largest only"),
    ("drop and rounding", CLASSIFIER, out("probabilities", drop=True, decimals=1), "an output that is dropped can have no other rule"),
    ("nothing left", CLASSIFIER, {"output": {"tensors": [{"name": n, "drop": True} for n in ("label", "probabilities", "embedding")]}},
     "privacy.output.tensors: no output would be left"),
    ("noise on integers", CLASSIFIER, noisy("label"), "privacy.output.perturbation[0]: output 'label' is INT64: noise needs"),
    ("noise on what is not there", CLASSIFIER, noisy("y"), "perturbation[0].name: the model has no output 'y'"),
    ("noise on what is dropped", CLASSIFIER, noisy("embedding", tensors=[{"name": "embedding", "drop": True}]),
     "perturbation[0]: output 'embedding' is not returned at all"),
    ("noise beside the label", CLASSIFIER, noisy("probabilities", tensors=[{"name": "label", "labelOnly": True}]),
     "is not returned at all"),
    ("rounding beside the label", CLASSIFIER, {"output": {"tensors": [{"name": "label", "labelOnly": True}, {"name": "embedding",
     "decimals": 1}]}},
     "privacy.output.tensors[1]: output 'embedding' is not returned at all"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "model", "sections", "expected"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refused(reason: str, model: Double, sections: dict[str, Any], expected: str) -> None:
    with pytest.raises(LoadError) as caught:
        rules(model, **sections)
    assert LoadReason.POLICY_UNSATISFIABLE is caught.value.reason, reason
    assert not caught.value.permanent
    assert "PrivacyPolicy 'standard' (generation 3) does not fit model 'tiny': privacy." in caught.value.message
    assert expected in caught.value.message


def test_all_that_is_wrong_is_said_at_once() -> None:
    sections = {**x(columns=[{"indices": [9], "action": "Zero"}]), **out("y", drop=True)}
    sections["input"]["pii"] = [{"kinds": ["Email"], "tensors": ["x"], "action": "Mask"}]
    with pytest.raises(LoadError) as caught:
        rules(**sections)
    assert 3 == caught.value.message.count("privacy.")


MALFORMED = [
    ("unknown field", {"input": {"tensors": [{"name": "x", "zero": True}]}}),
    ("a number that is no decimal string", x(minimum=0)),
    ("an exponent", x(minimum="1e3")),
    ("an unknown kind", {"input": {"pii": [{"kinds": ["Name"], "action": "Mask"}]}}),
    ("no kinds", {"input": {"pii": [{"kinds": [], "action": "Mask"}]}}),
    ("a scale of nothing", {"output": {"perturbation": [{"name": "p", "distribution": "Gaussian", "scale": "0.00"}]}}),
    ("a negative scale", {"output": {"perturbation": [{"name": "p", "distribution": "Gaussian", "scale": "-1"}]}}),
    ("top 0", out("probabilities", topK=0)),
    ("too many decimals", out("probabilities", decimals=16)),
    ("differential privacy, which is not built", {"output": {"differentialPrivacy": {}}}),
]


@pytest.mark.parametrize(("reason", "sections"), MALFORMED, ids=[row[0] for row in MALFORMED])
def test_malformed(reason: str, sections: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$") as caught:
        policy(**sections)
    assert caught.value is not None, reason


def test_a_key_must_be_there_and_long_enough(tmp_path: Path) -> None:
    hashes = [{"kinds": ["Email"], "action": "Hash"}]
    wanted = policy(input={"pii": hashes, "hashKeyFile": "/no/such/key"})
    with pytest.raises(LoadError, match=r"privacy\.input\.hashKeyFile: /no/such/key: No such file"):
        compile_rules(wanted, CLASSIFIER)
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(LoadError, match="holds 5 bytes, a key for hashes needs 16 or more"):
        compile_rules(policy(input={"pii": hashes, "hashKeyFile": str(tmp_path / "key")}), CLASSIFIER)


def test_a_policy_without_rules_and_none_at_all_change_nothing() -> None:
    assert rules().governed
    assert not compile_rules(None, CLASSIFIER).governed
    assert CLASSIFIER.outputs == rules().face.outputs


def test_a_rule_for_all_text_is_satisfied_by_a_model_without_text() -> None:
    made = rules(ODD, input={"pii": [{"kinds": ["Email"], "action": "Mask"}]})
    assert {} == made.inputs
    assert not made.searches_text


@pytest.mark.parametrize(
    ("reason", "sections", "outputs", "withheld"),
    [
        ("dropped by name", out("embedding", drop=True), ["label", "probabilities"], {"embedding"}),
        ("the label by its name", out("label", labelOnly=True), ["label"], {"probabilities", "embedding"}),
        ("the label by its scores", out("probabilities", labelOnly=True), ["label"], {"probabilities", "embedding"}),
    ],
)
def test_what_callers_see(reason: str, sections: dict[str, Any], outputs: list[str], withheld: set[str]) -> None:
    face = rules(**sections).face
    assert outputs == [spec.name for spec in face.outputs], reason
    assert withheld == face.withheld


def test_a_model_with_scores_alone_keeps_them_as_marks() -> None:
    made = rules(ODD, **out("scores", labelOnly=True))
    assert ["scores"] == [spec.name for spec in made.face.outputs]
    assert ["OneHot"] == [type(step).__name__ for step in made.outputs["scores"]]


def test_dropped_inputs_are_ignored() -> None:
    assert {"temperature"} == rules(**of("temperature", action="Drop")).face.ignored


def test_optional_inputs_can_be_dropped_and_are_not_offered_then() -> None:
    model = replace(CLASSIFIER, inputs=(*CLASSIFIER.inputs, TensorSpec("hint", "FP32", (-1, 2), optional=True)))
    face = rules(model, **of("hint", action="Drop")).face
    assert {"hint"} == face.ignored
    assert ["x", "n", "text"] == [spec.name for spec in face.inputs]
    assert model.inputs == rules(model, **of("hint", minimum="0")).face.inputs
