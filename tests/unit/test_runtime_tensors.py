"""Tensors on the wire: every datatype there and back, and what each kind of wrong data is told."""

import math

import msgspec
import numpy as np
import pytest

from modelward_runtime import tensors
from modelward_runtime.errors import BadRequest
from modelward_runtime.model import NUMPY_TYPES, TensorSpec

NUMERIC = [name for name in NUMPY_TYPES if name not in {"BYTES", "BF16"}]


def spec(datatype: str = "FP32", shape: tuple[int, ...] = (-1, 2)) -> TensorSpec:
    return TensorSpec("x", datatype, shape)


def from_json(text: bytes, shape: list[int], datatype: str = "FP32") -> np.ndarray:
    return tensors.from_json(spec(datatype, tuple(shape)), shape, msgspec.Raw(text))


@pytest.mark.parametrize("datatype", NUMERIC)
def test_numbers_survive_bytes_and_json(datatype: str) -> None:
    sent = np.array([[0, 1], [1, 0], [1, 1]]).astype(NUMPY_TYPES[datatype])
    binary = tensors.from_bytes(spec(datatype), [3, 2], tensors.to_bytes(datatype, sent))
    flat = from_json(msgspec.json.encode(tensors.to_json("y", datatype, sent)), [3, 2], datatype)
    nested = from_json(msgspec.json.encode(sent.tolist()), [3, 2], datatype)
    for got in (binary, flat, nested):
        assert got.dtype == sent.dtype
        np.testing.assert_array_equal(sent, got)


@pytest.mark.parametrize(
    ("datatype", "text", "largest"),
    [
        ("FP32", b"[3.4028235e+38]", 3.4028234663852886e38),
        ("FP16", b"[65519]", 65504),
        ("BF16", b"[3.39e38]", 0x7F7F),
        ("BF16", b"[3.396177e38]", 0x7F7F),
    ],
)
def test_the_largest_number_may_be_written_as_any_that_rounds_to_it(datatype: str, text: bytes, largest: float) -> None:
    assert from_json(text, [1], datatype).tolist() == [largest]


def test_strings_survive_bytes_and_json() -> None:
    sent = np.array([["a", "żółć"], ["", 'q"[1],[']], dtype=object)
    binary = tensors.from_bytes(spec("BYTES"), [2, 2], tensors.to_bytes("BYTES", sent))
    flat = from_json(msgspec.json.encode(tensors.to_json("y", "BYTES", sent)), [2, 2], "BYTES")
    nested = from_json(msgspec.json.encode(sent.tolist()), [2, 2], "BYTES")
    for got in (binary, flat, nested):
        assert sent.tolist() == got.tolist()


def test_int64_is_exact_to_the_last_digit() -> None:
    limits = [-(2**63), 2**63 - 1, 2**53 + 1]
    assert limits == from_json(msgspec.json.encode(limits), [3], "INT64").tolist()
    assert [2**64 - 1] == from_json(b"[18446744073709551615]", [1], "UINT64").tolist()
    assert msgspec.json.encode(tensors.to_json("y", "INT64", np.array(limits))) == msgspec.json.encode(limits)


def test_binary_tensors_are_not_copied_when_they_are_aligned() -> None:
    sent = np.arange(8, dtype=np.float32).tobytes()
    got = tensors.from_bytes(spec(), [4, 2], sent)
    assert not got.flags.owndata
    unaligned = tensors.from_bytes(spec(), [3, 2], memoryview(b"x" + sent)[1:25])
    assert unaligned.flags.aligned
    np.testing.assert_array_equal(np.arange(6).reshape(3, 2), unaligned)


def test_long_flat_and_nested_json_is_parsed_in_pieces_to_the_same_numbers() -> None:
    sent = np.random.default_rng(1).standard_normal((100, 500)).astype(np.float64)
    flat, nested = msgspec.json.encode(sent.ravel().tolist()), msgspec.json.encode(sent.tolist())
    assert len(flat) > 2 * tensors.CHUNK_BYTES
    np.testing.assert_array_equal(sent, from_json(flat, [100, 500], "FP64"))
    np.testing.assert_array_equal(sent, from_json(nested, [100, 500], "FP64"))
    np.testing.assert_array_equal(
        sent.ravel(), msgspec.json.decode(msgspec.json.encode(tensors.to_json("y", "FP64", sent)))
    )
    with pytest.raises(BadRequest, match=r"holds 49999 elements, data holds 50000"):
        from_json(flat, [49999], "FP64")


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ([0, 2], b"[]"),
        ([2, 0], b"[[],[]]"),
        ([2, 0], b"[ ]"),
        ([1, 0, 3], b"[[]]"),
        ([1, 0, 1 << 31], b"[[]]"),
        ([], b"[5]"),
        ([1, 1, 1], b" [ [ [ 5 ] ] ] ".strip()),
    ],
)
def test_empty_and_scalar_shapes(shape: list[int], text: bytes) -> None:
    assert tuple(shape) == from_json(text, shape).shape


@pytest.mark.parametrize(
    ("reason", "datatype", "shape", "text", "message"),
    [
        ("too few", "FP32", [1, 2], b"[1]", "shape [1, 2] holds 2 elements, data holds 1"),
        ("too many", "FP32", [1, 2], b"[1,2,3]", "shape [1, 2] holds 2 elements, data holds 3"),
        ("ragged", "FP32", [2, 2], b"[[1,2],[3]]", "nested unlike its shape [2, 2]"),
        ("nested too deep", "FP32", [1, 2], b"[[[1,2]]]", "nested unlike its shape"),
        ("nested too flat", "FP32", [1, 1, 2], b"[[1,2]]", "nested unlike its shape"),
        ("brackets closed elsewhere", "FP32", [2, 2], b"[[1],[2,3,4]]", "nested unlike its shape"),
        ("numbers in an empty tensor", "FP32", [2, 0], b"[[1],[2]]", "shape [2, 0] holds 0 elements"),
        ("float for int", "INT32", [1], b"[1.5]", "does not fit INT32: Expected `int`, got `float`"),
        ("whole float for int", "INT32", [1], b"[1.0]", "does not fit INT32"),
        ("bool for float", "FP32", [1], b"[true]", "does not fit FP32: Expected `float`, got `bool`"),
        ("int for bool", "BOOL", [1], b"[1]", "does not fit BOOL: Expected `bool`, got `int`"),
        ("string for float", "FP32", [1], b'["1"]', "does not fit FP32: Expected `float`, got `str`"),
        ("number for string", "BYTES", [1], b"[1]", "does not fit BYTES: Expected `str`, got `int`"),
        ("number among nested strings", "BYTES", [1, 2], b'[["a",1]]', "does not fit BYTES: expected strings"),
        ("ragged strings", "BYTES", [2, 2], b'[["a","b"],["c"]]', "nested unlike its shape"),
        ("too few strings", "BYTES", [2], b'["a"]', "holds 2 elements, data holds 1"),
        ("null", "FP32", [1], b"[null]", "does not fit FP32: Expected `float`, got `null`"),
        ("below a byte", "INT8", [1], b"[-129]", "out of range for INT8"),
        ("beyond a byte", "UINT8", [1], b"[256]", "out of range for UINT8"),
        ("negative unsigned", "UINT64", [1], b"[-1]", "out of range for UINT64"),
        ("beyond int64", "INT64", [1], b"[9223372036854775808]", "out of range for INT64"),
        ("beyond FP32", "FP32", [1], b"[1e39]", "out of range for FP32"),
        ("beyond FP16", "FP16", [1], b"[-70000]", "out of range for FP16"),
        ("rounds to infinity in FP32", "FP32", [1], b"[3.4028235677973366e38]", "out of range for FP32"),
        ("rounds to infinity in FP16", "FP16", [1], b"[65520]", "out of range for FP16"),
        ("beyond FP64", "FP64", [1], b"[1e999]", "out of range"),
        ("not an array", "FP32", [1], b"5", "data must be an array"),
        ("rounds to infinity in BF16", "BF16", [1], b"[3.3961775292304602e38]", "out of range for BF16"),
        ("beyond BF16", "BF16", [1], b"[-3.4e38]", "out of range for BF16"),
        ("bool for BF16", "BF16", [1], b"[true]", "does not fit BF16: Expected `float`, got `bool`"),
    ],
)
def test_bad_json_data(reason: str, datatype: str, shape: list[int], text: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        from_json(text, shape, datatype)
    assert caught.value.message.startswith("input 'x': "), reason
    assert message in caught.value.message, reason


@pytest.mark.parametrize(
    ("reason", "datatype", "data", "message"),
    [
        ("short", "FP32", b"\0" * 7, "expected 8 bytes for FP32 [1, 2], got 7"),
        ("long", "FP32", b"\0" * 9, "expected 8 bytes for FP32 [1, 2], got 9"),
        ("bool beyond 1", "BOOL", b"\0\2", "expected BOOL bytes of 0 or 1"),
        ("no room for lengths", "BYTES", b"\0\0\0\0", "expected 2 length-prefixed elements, got 4 bytes"),
        ("an element beyond the end", "BYTES", b"\5\0\0\0abcd\0\0\0\0", "reaches beyond"),
        ("bytes left", "BYTES", b"\1\0\0\0a\0\0\0\0xx", "expected 9 bytes for 2 elements, got 11"),
        ("not UTF-8", "BYTES", b"\1\0\0\0\xff\0\0\0\0", "not UTF-8"),
    ],
)
def test_bad_binary_data(reason: str, datatype: str, data: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        tensors.from_bytes(spec(datatype), [1, 2], data)
    assert message in caught.value.message, reason


@pytest.mark.parametrize(
    ("reason", "datatype", "shape", "message"),
    [
        ("datatype", "INT32", [1, 2], "expected datatype FP32, got INT32"),
        ("rank", "FP32", [2], "expected shape [-1, 2], got [2]"),
        ("fixed axis", "FP32", [1, 3], "expected shape [-1, 2], got [1, 3]"),
        ("negative", "FP32", [-1, 2], "got [-1, 2]: in a request each axis has its size; -1 stands"),
        ("absurd", "FP32", [10**30, 2], "00, 2]: an axis is longer than 2147483648"),
        (
            "just too long",
            "FP32",
            [2**31 + 1, 2],
            "expected shape [-1, 2], got [2147483649, 2]: an axis is longer than",
        ),
        ("absurd rank", "FP32", [1] * 100, "and 84 more axes"),
    ],
)
def test_tensors_that_do_not_fit_the_model(reason: str, datatype: str, shape: list[int], message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        tensors.check_fits(spec(), datatype, shape)
    assert message in caught.value.message, reason


@pytest.mark.parametrize("shape", [[0, 1 << 31, 1 << 31], [1 << 31, 0, 1 << 31], [0, 1 << 20, (1 << 20) + 1]])
def test_an_empty_tensor_of_absurd_axes_is_refused(shape: list[int]) -> None:
    """Each axis may be so long, but numpy multiplies them, past the zero."""
    with pytest.raises(BadRequest, match=r"the axes of shape .* are too long, even of an empty tensor"):
        tensors.check_fits(spec("FP32", (-1, -1, -1)), "FP32", shape)


def test_the_longest_empty_tensor_that_is_taken_can_be_made() -> None:
    shape = [0, 1 << 31, tensors.MAX_ELEMENTS >> 31]
    for datatype in NUMPY_TYPES:
        wanted = spec(datatype, (-1, -1, -1))
        tensors.check_fits(wanted, datatype, shape)
        assert tuple(shape) == tensors.from_bytes(wanted, shape, b"").shape


def test_nan_and_infinity_become_null() -> None:
    assert b"[null,null,1.5]" == msgspec.json.encode(
        tensors.to_json("y", "FP32", np.array([math.nan, math.inf, 1.5], np.float32))
    )
    assert b"[null]" == msgspec.json.encode(tensors.to_json("y", "FP16", np.array([-math.inf], np.float16)))


def test_every_bf16_survives_json_and_what_is_no_number_is_null() -> None:
    every = np.arange(1 << 16, dtype=np.uint16)
    finite = every[(every & 0x7F80) != 0x7F80]
    assert finite.size == (1 << 16) - 2 * 128
    text = msgspec.json.encode(tensors.to_json("y", "BF16", finite))
    np.testing.assert_array_equal(finite, from_json(text, [finite.size], "BF16"))
    assert b"[1.0,-0.0,null,null]" == msgspec.json.encode(
        tensors.to_json("y", "BF16", np.array([0x3F80, 0x8000, 0x7F80, 0xFFC1], np.uint16))
    )
    assert b"\x80\x3f" == tensors.to_bytes("BF16", np.array([0x3F80], np.uint16))
