"""Long JSON arrays, read without Python objects, are the same arrays, and what is wrong with them is said in the same words."""

import sys
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_runtime import jsonnumbers
from modelward_runtime.codec import RestCall
from modelward_runtime.errors import ApiError
from modelward_runtime.model import NUMPY_TYPES, TensorSpec, face_of
from tests.runtime_models import echo

DATATYPES = [name for name in NUMPY_TYPES if name not in {"BYTES", "BOOL"}]
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.integers(-128, 127).map(str),
    st.sampled_from(
        ["-0", "-0.0", "1e400", "1E+2", "65519.99", "65520", "3.4028235e+38", "3.4028236e+38", "255", "256"]
    ),
)
WRONG = [
    "",
    "",
    "",
    ",",
    "]",
    "[",
    "]]",
    "}",
    "{",
    '"',
    " ",
    "null",
    "true",
    "1",
    "e",
    ".",
    "-",
    '"data":[1',
    "\\",
    "\x00",
]
NESTED = ['{{"inputs":[{input}]}}', '{{"id":"{{","outputs":[],"inputs":[{input}],"parameters":{{"k":1}}}}']
INPUT = '{{"name":"x","shape":[{count}],"datatype":"{datatype}","data":{data}{more}}}'
MORE = [
    "",
    ',"data":[1,2,3,4,5,6,7]',
    ',"parameters":{"data":[1,2,3,4,5,6,7,8,9]}',
    ',"other":{"data":[1,2,3,4,5,6,7]}',
]


@pytest.fixture(autouse=True, scope="module")
def small() -> Iterator[None]:
    """So that the arrays of a test are long, and come in many pieces."""
    with patch.object(jsonnumbers, "LONG", 8), patch.object(jsonnumbers, "_PIECE", 12):
        yield


def outcome(body: bytes, datatype: str, count: int) -> object:
    face = face_of(echo(TensorSpec("x", datatype, (count,))))
    try:
        array = RestCall("tiny", "1", body, None).decode(face).inputs["x"]
    except ApiError as error:
        return type(error), error.message
    return array.dtype, array.shape, array.tobytes()


def same(body: bytes, datatype: str, count: int) -> object:
    got = outcome(body, datatype, count)
    with patch.object(jsonnumbers, "LONG", 1 << 60):
        assert outcome(body, datatype, count) == got
    return got


@settings(max_examples=300)
@given(
    numbers=st.lists(NUMBERS, min_size=1, max_size=12),
    datatype=st.sampled_from(DATATYPES),
    form=st.sampled_from(NESTED),
    more=st.sampled_from(MORE),
    comma=st.sampled_from([",", ", ", " ,\n"]),
    wrong=st.sampled_from(WRONG),
    where=st.integers(0, 200),
    off=st.integers(-1, 1) | st.just(0),
)
def test_the_short_way_is_the_ordinary_way(
    numbers: list[str], datatype: str, form: str, more: str, comma: str, wrong: str, where: int, off: int
) -> None:
    data = f"[{comma.join(numbers)}]"
    spot = where % len(data)
    count = max(0, len(numbers) + off)
    text = INPUT.format(count=count, datatype=datatype, data=data[:spot] + wrong + data[spot:], more=more)
    same(form.format(input=text).encode(), datatype, count)


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("nothing behind the last comma", "[1,2,3,4,5,6,7,8,]"),
        ("a blank behind the last comma", "[1,2,3,4,5,6,7,8, ]"),
        ("nothing between two", "[1,2,3,,4,5,6,7,8]"),
        ("nothing before the first", "[,1,2,3,4,5,6,7,8]"),
        ("brackets between numbers", "[1,2,3],[4,5,6,7,8]"),
        ("a number beside an array", "[[1],2[3,4,5,6,7,8]]"),
        ("text", '["1,2,3,4,5,6,7,8]"]'),
    ],
)
def test_what_is_no_json_is_none_however_it_is_cut(reason: str, data: str) -> None:
    for piece in range(1, len(data) + 1):
        with patch.object(jsonnumbers, "_PIECE", piece):
            for count in range(7, 10):
                body = INPUT.format(count=count, datatype="FP32", data=data, more="")
                kind, _ = same(f'{{"inputs":[{body}]}}'.encode(), "FP32", count)[:2]  # type: ignore[index]
                assert isinstance(kind, type), reason


def test_it_is_really_used() -> None:
    assert jsonnumbers.read("FP32", b"[1,2.5,-3]", None) is not None
    body = INPUT.format(count=9, datatype="FP32", data="[1,2,3,4,5,6,7,8,9]", more="")
    short, lifted = jsonnumbers.lift(f'{{"inputs":[{body}]}}'.encode())
    assert (1, False) == (len(lifted), b"8,9]" in short)


def test_where_simdjson_is_not_installed_the_ordinary_way_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonnumbers, "_parsers", None)
    monkeypatch.setattr(jsonnumbers, "_missing", False)
    monkeypatch.setitem(sys.modules, "simdjson", None)
    body = INPUT.format(count=9, datatype="FP32", data="[1,2,3,4,5,6,7,8,9]", more="")
    array = outcome(f'{{"inputs":[{body}]}}'.encode(), "FP32", 9)
    assert jsonnumbers._missing
    assert (9,) == array[1]  # type: ignore[index]
