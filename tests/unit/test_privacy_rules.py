"""What rules do to arrays: refusals with stable codes that repeat no value, and changes that leave the caller's bytes alone."""

import re
from typing import Any

import numpy as np
import pytest

from modelward_runtime.bfloat16 import widen
from modelward_runtime.errors import PolicyViolated
from modelward_runtime.model import Array, TensorSpec
from modelward_runtime.privacy.pii.replace import hasher
from modelward_runtime.privacy.rules import Rules
from modelward_runtime.properties import names_in
from tests.privacy_policies import CLASSIFIER, KEY, ODD, nothing, rules
from tests.runtime_models import Double

CARD = "4242424242424242"
NAN, INF = float("nan"), float("inf")
MOST = float(np.finfo(np.float32).max)


def texts(*elements: str) -> Array:
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array.reshape(-1, 1)


def tensor(name: str, **said: Any) -> dict[str, Any]:
    return {"input": {"tensors": [{"name": name, **said}]}}


def pii(action: str, *kinds: str, **more: Any) -> dict[str, Any]:
    return {"input": {"pii": [{"kinds": list(kinds), "action": action}], **more}}


def f32(*rows: Any) -> Array:
    return np.array(rows, np.float32)


def half(*values: float) -> Array:
    """BF16 as it is at the seam: the upper 16 bits of FP32."""
    return (np.array([values], np.float32).view(np.uint32) >> 16).astype(np.uint16)


REFUSED: list[tuple[str, Rules, dict[str, Array], str]] = [
    ("over the maximum", rules(**tensor("x", maximum="1")), {"x": f32([0, 1, 1.5, 0])},
     "policy: out-of-range: input 'x': a value is not 1 or less"),
    ("under the minimum of a column", rules(**tensor("x", columns=[{"names": ["age"], "minimum": "0", "maximum": "120"}])),
     {"x": f32([-1, 0, 0, 0])}, "policy: out-of-range: input 'x', column 0: a value is not between 0 and 120"),
    ("of several columns", rules(**tensor("x", columns=[{"indices": [1, 3], "minimum": "0"}])), {"x": f32([0, 0, 0, -9])},
     "policy: out-of-range: input 'x', columns 1, 3: a value is not 0 or more"),
    ("an infinity is outside of a range", rules(**tensor("x", minimum="0")), {"x": f32([0, -INF, 0, 0])}, "policy: out-of-range"),
    ("an infinity is outside of a range that the type cannot hold", rules(**tensor("x", maximum="1" + "0" * 39)),
     {"x": f32([0, INF, 0, 0])}, "policy: out-of-range"),
    ("an infinity is outside of a range without that end", rules(**tensor("x", minimum="0", nonFinite="Allow")),
     {"x": f32([0, INF, 0, 0])}, "policy: out-of-range"),
    ("many infinities", rules(ODD, **tensor("double", minimum="-1")), {"double": np.full((1, 99), INF)}, "policy: out-of-range"),
    ("the greatest value is below a minimum that the type cannot hold", rules(**tensor("x", minimum="1" + "0" * 39)),
     {"x": f32([MOST, MOST, INF, MOST])}, "policy: out-of-range"),
    ("NaN is outside of a range", rules(**tensor("x", minimum="0", maximum="1")), {"x": f32([0, NAN, 0, 0])}, "policy: out-of-range"),
    ("NaN is allowed, what is beside it is not", rules(**tensor("x", nonFinite="Allow", maximum="1")), {"x": f32([NAN, 2, 0, 0])},
     "policy: out-of-range"),
    ("an integer under a fraction", rules(**tensor("n", minimum="0.5")), {"n": np.array([[0, 1]])}, "policy: out-of-range"),
    ("NaN", rules(**tensor("x", nonFinite="Reject")), {"x": f32([0, NAN, 0, 0])}, "policy: non-finite: input 'x' has NaN or an infinity"),
    ("an infinity in BF16", rules(ODD, **tensor("half", nonFinite="Reject")), {"half": half(1, INF)}, "policy: non-finite"),
    ("BF16 over a maximum", rules(ODD, **tensor("half", maximum="1")), {"half": half(1, 1.0078125)},
     "policy: out-of-range: input 'half': a value is not 1 or less"),
    ("a column of BF16", rules(ODD, **tensor("half", columns=[{"indices": [1], "minimum": "-0.5"}])), {"half": half(-9, -0.75)},
     "policy: out-of-range: input 'half', column 1: a value is not -0.5 or more"),
    ("an infinity in BF16 is outside of a range that the type cannot hold", rules(ODD, **tensor("half", maximum="34" + "0" * 37)),
     {"half": half(0, INF)}, "policy: out-of-range"),
    ("NaN in BF16 is outside of a range", rules(ODD, **tensor("half", minimum="0")), {"half": half(0, NAN)}, "policy: out-of-range"),
    ("too few columns of a dynamic axis", rules(ODD, **tensor("wide", columns=[{"indices": [3], "minimum": "0"}])),
     {"wide": f32([1, 2, 3])},
     "policy: columns-missing: input 'wide', column 3: the tensor has only 3 columns"),
    ("too few columns to zero", rules(ODD, **tensor("wide", columns=[{"indices": [3], "action": "Zero"}])), {"wide": f32([1, 2, 3])},
     "policy: columns-missing"),
    ("too many elements", rules(input={"maxElements": 5}), {"x": f32([1, 2, 3, 4]), "n": np.array([[1, 2]])},
     "policy: too-many-elements: 6 elements were sent, 5 may be"),
    ("too much text, in bytes", rules(input={"maxTextBytes": 5}), {"text": texts("é", "éé")},
     "policy: text-too-long: 6 bytes of text were sent, 5 may be"),
    ("personal data", rules(**pii("Reject", "Email", "PaymentCard")), {"text": texts("a", f"my {CARD}")},
     "policy: pii-rejected: input 'text' holds PaymentCard (element 1)"),
    ("personal data over rows", rules(**pii("Reject", "Email")), {"text": texts("mail jo@exam", "ple.com now")},
     "policy: pii-rejected: input 'text' holds Email (rows 0 and following, taken together)"),
    ("a range is checked before zeroing", rules(**tensor("x", action="Zero", maximum="1")), {"x": f32([0, 0, 0, 2])},
     "policy: out-of-range"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "made", "sent", "expected"), REFUSED, ids=[row[0] for row in REFUSED])
def test_refused(reason: str, made: Rules, sent: dict[str, Array], expected: str) -> None:
    with pytest.raises(PolicyViolated) as caught:
        made.clear(sent)
    assert caught.value.message.startswith(expected), reason
    assert re.fullmatch(r"policy: [a-z-]+: .*", caught.value.message)
    assert caught.value.message.split(": ")[1] == caught.value.code
    assert (400, "INVALID_ARGUMENT") == (caught.value.status, caught.value.grpc_code)
    assert CARD not in caught.value.message


@pytest.mark.parametrize("many", [1, 100])
@pytest.mark.parametrize(
    ("odd", "allowed"), [(0.0, True), (1.0, True), (1.0000001, False), (-1e-9, False), (NAN, False), (INF, False)]
)
def test_few_and_many_values_are_judged_alike(many: int, odd: float, *, allowed: bool) -> None:
    made = rules(ODD, **tensor("double", minimum="0", maximum="1", nonFinite="Reject"))
    sent = {"double": np.array([[0.5, 0.5]] * many + [[0.5, odd]])}
    if allowed:
        assert made.clear(sent)["double"] is sent["double"]
    else:
        with pytest.raises(PolicyViolated):
            made.clear(sent)


PASSED: list[tuple[str, Rules, dict[str, Array]]] = [
    ("both ends", rules(**tensor("x", minimum="0.1", maximum="0.3")), {"x": f32([0.1, 0.2, 0.3, 0.3])}),
    ("NaN that is allowed", rules(**tensor("x", nonFinite="Allow", minimum="0")), {"x": f32([NAN, NAN, 1, 0])}),
    ("an empty batch", rules(**tensor("x", minimum="0", nonFinite="Reject")), {"x": np.zeros((0, 4), np.float32)}),
    ("columns beside those with a range", rules(**tensor("x", columns=[{"indices": [0], "maximum": "0"}])), {"x": f32([0, 9, 9, 9])}),
    ("a bound that the type cannot hold", rules(ODD, **tensor("small", maximum="1000")), {"small": np.array([[0, 255]], np.uint8)}),
    ("bounds that the type cannot hold", rules(**tensor("x", minimum="-4" + "0" * 38, maximum="4" + "0" * 38)),
     {"x": f32([MOST, -MOST, 0, 0])}),
    ("exactly the limits", rules(input={"maxElements": 4, "maxTextBytes": 4}), {"x": f32([1, 2, 3, 4])}),
    ("BF16 within bounds as it spells them", rules(ODD, **tensor("half", minimum="0.1", maximum="0.3")),
     {"half": half(0.1003, 0.3005)}),
    ("BF16 with NaN that is allowed", rules(ODD, **tensor("half", nonFinite="Allow", maximum="1")), {"half": half(NAN, -5)}),
    ("BF16 that is finite", rules(ODD, **tensor("half", nonFinite="Reject")), {"half": half(1, -3e38)}),
    ("text with nothing in it", rules(**pii("Mask", "Email", "IBAN")), {"text": texts("a", "", "b@c")}),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "made", "sent"), PASSED, ids=[row[0] for row in PASSED])
def test_what_need_not_change_is_not_even_copied(reason: str, made: Rules, sent: dict[str, Array]) -> None:
    cleared = made.clear(sent)
    assert list(sent) == list(cleared)
    for name, array in sent.items():
        assert cleared[name] is array, reason


CHANGED: list[tuple[str, Rules, str, Array, list[Any]]] = [
    ("a tensor", rules(**tensor("x", action="Zero")), "x", f32([1, 2, 3, NAN]), [[0, 0, 0, 0]]),
    ("columns by index and by name", rules(**tensor("x", columns=[{"indices": [3], "names": ["score"], "action": "Zero"}])), "x",
     f32([1, 2, 3, 4], [5, 6, 7, 8]), [[1, 2, 0, 0], [5, 6, 0, 0]]),
    ("truth values", rules(ODD, **tensor("flag", action="Zero")), "flag", np.array([[True, False]]), [[False, False]]),
    ("text", rules(**tensor("text", action="Zero")), "text", texts("a", "b"), [[""], [""]]),
    ("a column of text", rules(**tensor("text", columns=[{"indices": [0], "action": "Zero"}])), "text", texts("a", "b"), [[""], [""]]),
    ("masks", rules(**pii("Mask", "Email", "PaymentCard")), "text", texts("x jo@example.com", CARD, "y"),
     [["x [EMAIL]"], ["[PAYMENT_CARD]"], ["y"]]),
    ("hashes", rules(**pii("Hash", "Email", hashKeyFile="k")), "text", texts("jo@example.com"), [[hasher(KEY)("Email", "JO@example.com")]]),
    ("only the kinds that are named", rules(**pii("Mask", "Email")), "text", texts(CARD + " jo@example.com"), [[CARD + " [EMAIL]"]]),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "made", "name", "array", "expected"), CHANGED, ids=[row[0] for row in CHANGED])
def test_changes_are_made_on_a_copy(reason: str, made: Rules, name: str, array: Array, expected: list[Any]) -> None:
    array.flags.writeable = False
    before = array.copy()
    cleared = made.clear({name: array})[name]
    assert expected == cleared.tolist(), reason
    assert (array.dtype, array.shape) == (cleared.dtype, cleared.shape)
    np.testing.assert_array_equal(before, array)


def test_actions_may_differ_by_kind() -> None:
    made = rules(
        input={"pii": [{"kinds": ["Email"], "action": "Mask"}, {"kinds": ["PaymentCard"], "action": "Reject"}]}
    )
    assert [["[EMAIL]"]] == made.clear({"text": texts("jo@example.com")})["text"].tolist()
    with pytest.raises(PolicyViolated, match="PaymentCard"):
        made.clear({"text": texts(f"jo@example.com {CARD}")})


# ── outputs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


DOUBLE = Double(nothing, (TensorSpec("x", "FP64", (-1, 2)),), (TensorSpec("y", "FP64", (-1, 2)),))


def output(name: str, **said: Any) -> dict[str, Any]:
    return {"output": {"tensors": [{"name": name, **said}]}}


RELEASED: list[tuple[str, Rules, str, Array, list[Any]]] = [
    ("decimals", rules(**output("probabilities", decimals=1)), "probabilities", f32([0.16, 0.25, -0.01]), [[0.2, 0.2, 0.0]]),
    ("decimals of what is huge or not a number", rules(**output("probabilities", decimals=15)), "probabilities", f32([3e38, NAN,
     INF]), [[3e38, NAN, INF]]),
    ("decimals of what is huge in FP64", rules(DOUBLE, **output("y", decimals=15)), "y", np.array([[1e308, 0.12345]]), [[1e308, 0.12345]]),
    ("decimals of FP16", rules(**output("embedding", decimals=3)), "embedding", np.full((1, 8), 60000, np.float16), [[60000.0] * 8]),
    ("the largest two", rules(**output("probabilities", topK=2)), "probabilities", f32([0.2, 0.5, 0.3], [0.6, 0.1, 0.3]), [[0,
     0.5, 0.3], [0.6, 0, 0.3]]),
    ("of equals the first", rules(**output("probabilities", topK=1)), "probabilities", f32([0.5, 0.5, 0]), [[0.5, 0, 0]]),
    ("equal once rounded", rules(**output("probabilities", topK=1, decimals=1)), "probabilities", f32([0.41, 0.44, 0.2]), [[0.4, 0, 0]]),
    ("more than there are", rules(**output("probabilities", topK=9)), "probabilities", f32([0.5, 0.5, 0]), [[0.5, 0.5, 0]]),
    ("the largest of scores", rules(ODD, **output("scores", labelOnly=True)), "scores", f32([0.2, 0.5], [0.5, 0.5]), [[0, 1], [1, 0]]),
    ("the largest of no rows", rules(ODD, **output("scores", labelOnly=True)), "scores", np.zeros((0, 2), np.float32), []),
    ("the largest of no classes", rules(ODD, **output("scores", labelOnly=True)), "scores", np.zeros((2, 0), np.float32), [[], []]),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "made", "name", "array", "expected"), RELEASED, ids=[row[0] for row in RELEASED])
def test_released(reason: str, made: Rules, name: str, array: Array, expected: list[Any]) -> None:
    array.flags.writeable = False
    released = made.release([name], [array])[name]
    np.testing.assert_allclose(released, np.array(expected).reshape(array.shape), rtol=1e-6, err_msg=reason)
    assert array.dtype == released.dtype
    assert not np.signbit(released[released == 0]).any()


@pytest.mark.parametrize(
    ("reason", "said", "sent", "expected"),
    [
        ("decimals", {"decimals": 1}, [0.16, -0.01], [0.2001953125, 0.0]),
        ("decimals of what is not finite", {"decimals": 1}, [INF, NAN], [INF, NAN]),
        ("the largest one", {"topK": 1}, [-3.0, -2.0], [0.0, -2.0]),
    ],
)
def test_bf16_is_released_as_numbers_and_not_as_bits(
    reason: str, said: dict[str, Any], sent: list[float], expected: list[float]
) -> None:
    released = rules(ODD, **output("bits", **said)).release(["bits"], [half(*sent)])["bits"]
    np.testing.assert_array_equal(np.array([expected], np.float32), widen(released), err_msg=reason)


def test_noise_on_bf16_is_noise_on_its_numbers() -> None:
    made = rules(ODD, output={"perturbation": [{"name": "bits", "distribution": "Uniform", "scale": "0.5"}]})
    released = widen(made.release(["bits"], [np.full((500, 2), 0x4000, np.uint16)])["bits"])  # twos
    assert 1.5 <= released.min() < 1.6
    assert 2.4 < released.max() <= 2.5


@pytest.mark.parametrize(
    ("distribution", "deviation"), [("Gaussian", 0.5), ("Laplace", 0.5 * 2**0.5), ("Uniform", 0.5 / 3**0.5)]
)
def test_noise_has_its_scale_and_differs_each_time(distribution: str, deviation: float) -> None:
    noise = [{"name": "probabilities", "distribution": distribution, "scale": "0.5"}]
    made = rules(output={"perturbation": noise})
    zeros = np.zeros((20_000, 3), np.float32)
    first, second = (made.release(["probabilities"], [zeros])["probabilities"] for _ in range(2))
    assert deviation == pytest.approx(first.std(), rel=0.05)
    assert abs(first.mean()) < 0.02
    assert not np.array_equal(first, second)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.03


def test_noise_comes_before_rounding() -> None:
    noise = [{"name": "probabilities", "distribution": "Laplace", "scale": "0.1"}]
    made = rules(output={"perturbation": noise, "tensors": [{"name": "probabilities", "decimals": 1}]})
    released = made.release(["probabilities"], [np.zeros((100, 3), np.float32)])["probabilities"]
    np.testing.assert_allclose(released, np.round(released, 1), atol=1e-7)
    assert released.any()


@pytest.mark.parametrize(
    ("text", "expected"),
    [('["a", "b c"]', ["a", "b c"]), ("a, b", ["a", "b"]), ("", []), ("[1, 2]", []), ('["a"', []), ("[" * 100_000, [])],
)
def test_lists_of_names_in_metadata(text: str, expected: list[str]) -> None:
    assert expected == names_in(text)


def test_the_models_metadata_are_not_changed() -> None:
    assert CLASSIFIER.outputs == rules(**output("probabilities", decimals=1)).face.outputs
