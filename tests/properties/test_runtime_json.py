"""Numbers in JSON: however they are written, they arrive as the nearest that the datatype has, or are refused, as is what is no JSON."""

import json
import math
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelward_runtime import bfloat16
from modelward_runtime.codec import RestCall
from modelward_runtime.errors import BadRequest
from modelward_runtime.model import NUMPY_TYPES, Array, TensorSpec, face_of
from tests.runtime_models import echo

INTEGERS = ["INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64"]
number = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "-"]),
        st.integers(0, 10**25).map(str),
        st.just("") | st.integers(0, 10**25).map(lambda digits: f".{digits}"),
        st.just("")
        | st.builds("{}{}{}".format, st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), st.integers(0, 420)),
    ),
)
space = st.sampled_from(["", " ", "\n\t", "\r "])


def decode(data: str | bytes, datatype: str, shape: list[int]) -> Array:
    text = data.encode() if isinstance(data, str) else data
    body = b'{"inputs":[{"name":"x","datatype":"%b","shape":%b,"data":%b}]}' % (
        datatype.encode(), json.dumps(shape).encode(), text,
    )  # fmt: skip
    face = face_of(echo(TensorSpec("x", datatype, (-1,) * len(shape))))
    return RestCall("tiny", "", body, None).decode(face).inputs["x"]


def whole(body: bytes) -> list[float]:
    numbers: list[float] = (
        RestCall("tiny", "", body, None).decode(face_of(echo(TensorSpec("x", "FP64", (-1,))))).inputs["x"].tolist()
    )
    return numbers


def nearest(text: str, datatype: str) -> float:
    """What the number is in FP64, and that in the datatype: an infinity where it has none so large."""
    with np.errstate(over="ignore"):
        wide = np.array([float(text)])
        if datatype == "BF16":
            return float(bfloat16.widen(bfloat16.narrow(wide))[0])
        return float(wide.astype(NUMPY_TYPES[datatype])[0])


@settings(max_examples=200, deadline=None)
@given(number, st.sampled_from(["FP64", "FP32", "FP16", "BF16"]))
@example("1e400", "FP64")
@example("-1e400", "FP32")
@example("1e-400", "FP64")
@example("-0.0", "FP16")
@example("2.4703282292062327e-324", "FP64")
@example("2.4703282292062328e-324", "FP64")
@example("9007199254740993", "FP64")
@example("18446744073709551617", "FP32")
@example("1" + "0" * 400 + "e-400", "FP64")
@example("0." + "0" * 400 + "1e401", "FP32")
def test_floating_point_numbers_are_the_nearest(text: str, datatype: str) -> None:
    expected = nearest(text, datatype)
    if math.isinf(expected):
        with pytest.raises(BadRequest, match=r"input 'x': .*out of range"):
            decode(f"[{text}]", datatype, [1])
        return
    (got,) = decode(f"[{text}]", datatype, [1])
    got = float(bfloat16.widen(np.array([got]))[0]) if datatype == "BF16" else float(got)
    assert expected == got
    if re.search("[.eE]", text):  # JSON's -0 is an integer
        assert math.copysign(1, expected) == math.copysign(1, got)


@settings(max_examples=200, deadline=None)
@given(st.integers().map(str) | number, st.sampled_from(INTEGERS))
@example("9223372036854775807", "INT64")
@example("9223372036854775808", "INT64")
@example("-9223372036854775808", "INT64")
@example("18446744073709551615", "UINT64")
@example("-1", "UINT64")
@example("1e2", "INT64")
@example("1.0", "UINT8")
@example("-0", "UINT8")
def test_integers_are_exact_or_refused(text: str, datatype: str) -> None:
    limits = np.iinfo(NUMPY_TYPES[datatype])
    fits = not re.search("[.eE]", text) and limits.min <= int(text) <= limits.max
    if fits:
        assert [int(text)] == decode(f"[{text}]", datatype, [1]).tolist()
    else:
        with pytest.raises(BadRequest, match="input 'x': "):
            decode(f"[{text}]", datatype, [1])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
    st.sampled_from(["FP64", "INT64", "BOOL", "BYTES"]),
    space,
    st.data(),
)
def test_flat_nested_and_spaced_out_mean_the_same(
    shape: list[int], datatype: str, gap: str, data: st.DataObject
) -> None:
    count = math.prod(shape)
    kinds: dict[str, st.SearchStrategy[object]] = {
        "FP64": st.floats(allow_nan=False, allow_infinity=False),
        "INT64": st.integers(-(2**63), 2**63 - 1),
        "BOOL": st.booleans(),
        "BYTES": st.text(alphabet='a[],"\\ é😀', max_size=4),
    }
    items = data.draw(st.lists(kinds[datatype], min_size=count, max_size=count))
    sent = np.empty(count, NUMPY_TYPES[datatype])
    sent[:] = items
    sent = sent.reshape(shape)
    for listed in (items, sent.tolist()):
        for text in (
            json.dumps(listed, separators=(f"{gap},{gap}", ":")),
            json.dumps(listed, indent=1),
            json.dumps(listed, ensure_ascii=False),
        ):
            got = decode(gap + text + gap, datatype, shape)
            assert got.dtype == sent.dtype
            np.testing.assert_array_equal(sent, got)


@pytest.mark.parametrize(
    ("datatype", "shape"), [("FP64", [300, 70, 2]), ("INT64", [40_000]), ("UINT64", [2, 20_000]), ("BF16", [9, 7_000])]
)
def test_what_is_long_is_as_exact(datatype: str, shape: list[int]) -> None:
    """Longer than what is parsed in one piece."""
    random = np.random.default_rng(11)
    sent = random.integers(0, 1 << 64, math.prod(shape), np.uint64).reshape(shape)
    if datatype == "FP64":
        sent = np.nan_to_num(sent.view(np.float64), nan=0.5, posinf=1, neginf=2)
    elif datatype == "INT64":
        sent = sent.view(np.int64)
    elif datatype == "BF16":
        sent = (sent >> 49 & 0x7F7F).astype(np.uint16)
    said = bfloat16.doubles(sent) if datatype == "BF16" else sent
    for listed in (said.ravel().tolist(), said.tolist()):
        for text in (json.dumps(listed), json.dumps(listed, indent=1)):
            assert len(text) > 1 << 18
            np.testing.assert_array_equal(sent, decode(text, datatype, shape))


NO_NUMBERS = [
    "NaN", "Infinity", "-Infinity", "nan", "inf", "+1", "01", "-01", ".5", "1.", "1e", "1e+", "0x10", "1_000", "- 1", "--1", "1,", ",1",
    "1 2", "", '"1"', "null", "true", "[1]", "{}", "1/2", "１", "1e1.5", "Decimal(1)", "\x001", "1\x00", "/*1*/1", "'1'",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_NUMBERS)
@pytest.mark.parametrize("datatype", ["FP32", "BF16", "INT64"])
def test_what_json_does_not_call_a_number_is_refused(text: str, datatype: str) -> None:
    for data in (f"[{text}]", f"[0,{text},0]", "[" + "0," * 150_000 + f"{text}]"):
        with pytest.raises(BadRequest):
            decode(data, datatype, [data.count(",") + 1])


GOOD = b'{"inputs":[{"name":"x","datatype":"FP64","shape":[1],"data":[1]}]}'


@pytest.mark.parametrize(
    ("reason", "body"),
    [
        ("a byte order mark", b"\xef\xbb\xbf" + GOOD),
        ("letters behind it", GOOD + b"x"),
        ("a second document behind it", GOOD + GOOD),
        ("NUL behind it", GOOD + b"\0"),
        ("UTF-16", GOOD.decode().encode("utf-16")),
        ("UTF-32", GOOD.decode().encode("utf-32-be")),
        ("cut", GOOD[:-1]),
        ("nothing", b""),
        ("a comment", b"/**/" + GOOD),
        ("single quotes", GOOD.replace(b'"', b"'")),
        ("half of a character as an id", GOOD.replace(b'{"inputs"', b'{"id":"\\ud800","inputs"')),
        ("halves in the wrong order", GOOD.replace(b'{"inputs"', b'{"id":"\\udc00\\ud800","inputs"')),
        ("no UTF-8 as an id", GOOD.replace(b'{"inputs"', b'{"id":"\xff","inputs"')),
        ("what is no number under a name that nobody reads", GOOD.replace(b'{"inputs"', b'{"z":01,"inputs"')),
        ("NaN under a name that nobody reads", GOOD.replace(b'{"inputs"', b'{"z":NaN,"inputs"')),
        ("a shape with a fraction", GOOD.replace(b"[1],", b"[1.0],")),
        ("a shape in words", GOOD.replace(b"[1],", b'["1"],')),
    ],
)
def test_what_is_no_json_is_refused_as_such(reason: str, body: bytes) -> None:
    with pytest.raises(BadRequest, match="not an inference request: ") as caught:
        whole(body)
    assert caught.value.status == 400, reason


@pytest.mark.parametrize("half", ["\\ud800", "\\udfff", "a\\ud83d", "\\ud83d\\u0041"])
def test_half_a_character_is_no_text(half: str) -> None:
    with pytest.raises(BadRequest):
        decode(f'["{half}"]', "BYTES", [1])
    assert ["😀\x00"] == decode('["\\ud83d\\ude00\\u0000"]', "BYTES", [1]).tolist()


def test_of_a_name_that_is_given_twice_the_last_counts_as_in_most_of_json() -> None:
    assert [2.0] == whole(GOOD.replace(b'"data":[1]', b'"data":[1],"data":[2]'))
    assert [1.0] == whole(GOOD.replace(b'{"inputs"', b'{"inputs":[],"inputs"'))
    assert [1.0] == whole(b" \r\n\t" + GOOD + b"\n ")


def test_the_nearest_is_what_exact_arithmetic_says() -> None:
    """That the oracle is one: Python's float() is held to the rational number itself."""
    for text in ("0.1", "9007199254740993", "2.4703282292062328e-324", "1.00000000000000011102230246251565404"):
        exact, got = Fraction(Decimal(text)), float(text)
        near = [got, math.nextafter(got, math.inf), math.nextafter(got, -math.inf)]
        assert got == min(near, key=lambda one: abs(Fraction(one) - exact))
