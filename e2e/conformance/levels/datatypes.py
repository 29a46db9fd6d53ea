"""Every datatype there and back: JSON where it has one, raw and typed contents over gRPC, the 16-bit floats, text."""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
import numpy as np

from e2e.conformance import cites
from e2e.conformance.rule import Level, rule
from e2e.conformance.target import Target, flat, input_tensor, outputs_of, request, tensor

REFUSED = (grpc.StatusCode.INVALID_ARGUMENT,)


@dataclass(frozen=True, slots=True)
class Kind:
    """A datatype: values at its edges, how it is packed, which typed contents carry it, and JSON values beyond it."""

    name: str
    values: Sequence[Any]
    dtype: str
    contents: str
    beyond: Sequence[Any] = ()

    @property
    def raw(self) -> bytes:
        """The values packed."""
        return np.array(self.values, self.dtype).tobytes()


KINDS: Final = (
    Kind("BOOL", [True, False, True], "?", "bool_contents", [2, "true"]),
    Kind("UINT8", [0, 255, 7], "u1", "uint_contents", [256, -1]),
    Kind("UINT16", [0, 65535, 7], "<u2", "uint_contents", [65536, -1]),
    Kind("UINT32", [0, 4294967295, 7], "<u4", "uint_contents", [4294967296, -1]),
    Kind("UINT64", [0, 18446744073709551615, 9007199254740993], "<u8", "uint64_contents", [18446744073709551616, -1]),
    Kind("INT8", [-128, 127, 0], "i1", "int_contents", [128, -129]),
    Kind("INT16", [-32768, 32767, 0], "<i2", "int_contents", [32768, -32769]),
    Kind("INT32", [-2147483648, 2147483647, 0], "<i4", "int_contents", [2147483648]),
    Kind("INT64", [-9223372036854775808, 9223372036854775807, 9007199254740993], "<i8", "int64_contents", [2**63]),
    Kind("FP32", [0.1, -3.4028235e38, 1e-45], "<f4", "fp32_contents"),
    Kind("FP64", [0.1, -1.7976931348623157e308, 5e-324], "<f8", "fp64_contents"),
)


def _rest(kind: Kind) -> None:
    @rule(f"TYPE-{kind.name}-REST", Level.TYPES, cites=(cites.DATATYPES, cites.INFERENCE), role=kind.name.lower())
    def check(target: Target) -> None:
        content = {"inputs": [tensor("value", kind.name, [len(kind.values)], list(kind.values))]}
        found = outputs_of(target.infer(content))["same"]
        assert found["datatype"] == kind.name, f"datatype: {found['datatype']}"
        came = np.array(flat(found["data"]), kind.dtype).tobytes()
        assert came == kind.raw, f"sent {kind.values}, got {found['data']}"

    check.__doc__ = f"{kind.name} survives JSON exactly.\n\nAt both ends of its range, and where a detour through a double would round."


def _range(kind: Kind) -> None:
    @rule(
        f"TYPE-{kind.name}-RANGE",
        Level.TYPES,
        cites=(cites.DATATYPES, cites.INFERENCE_ERROR, cites.CODECS),
        role=kind.name.lower(),
    )
    def check(target: Target) -> None:
        for value in kind.beyond:
            answer = target.infer({"inputs": [tensor("value", kind.name, [1], [value])]})
            assert answer.status != 200, (
                f"{json.dumps(value)} is no {kind.name}, and was answered with {answer.body[:200]!r}"
            )
            answer.refused()

    check.__doc__ = (
        f"What {kind.name} cannot hold is refused.\n\nA number that wraps, is cut or is taken for another silently is a wrong answer. "
        "The text leaves it to the server how to fail, not whether to answer something else than what was asked."
    )


def _grpc(kind: Kind) -> None:
    @rule(f"TYPE-{kind.name}-GRPC", Level.TYPES, cites=(cites.DATATYPES, cites.GRPC_RAW), role=kind.name.lower())
    def check(target: Target) -> None:
        count = len(kind.values)
        raw = target.call("ModelInfer", request(target, input_tensor("value", kind.name, [count]), raw=[kind.raw]))
        assert _bytes(raw, kind) == kind.raw, f"raw: sent {kind.values}, got {raw}"
        contents = {kind.contents: list(kind.values)}
        typed = target.call("ModelInfer", request(target, input_tensor("value", kind.name, [count], **contents)))
        assert _bytes(typed, kind) == kind.raw, f"typed: sent {kind.values}, got {typed}"

    check.__doc__ = f"{kind.name} survives gRPC exactly, raw and typed."


def _bytes(answer: Any, kind: Kind) -> bytes:
    assert len(answer.outputs) == 1, f"{len(answer.outputs)} outputs"
    assert answer.outputs[0].datatype == kind.name, f"datatype: {answer.outputs[0].datatype}"
    if answer.raw_output_contents:
        return bytes(answer.raw_output_contents[0])
    return np.array(list(getattr(answer.outputs[0].contents, kind.contents)), kind.dtype).tobytes()


for _kind in KINDS:
    _rest(_kind)
    if _kind.beyond:
        _range(_kind)
    _grpc(_kind)


SIXTEEN: Final = {"FP16": [0x3C00, 0x0001, 0xFBFF, 0x7C00, 0xFE00], "BF16": [0x3F80, 0x0001, 0xFF7F, 0x7F80, 0xFFC0]}
"""One, the smallest subnormal, the lowest number, infinity and a NaN, as bits."""


def _sixteen(name: str, bits: Sequence[int]) -> None:
    packed = struct.pack(f"<{len(bits)}H", *bits)

    listed = () if name == "FP16" else (cites.BF16_TEXT,)

    @rule(f"{name}-RAW", Level.FLOATS, cites=listed or (cites.GRPC_FP16,), role=name.lower())
    def raw(target: Target) -> None:
        answer = target.call("ModelInfer", request(target, input_tensor("value", name, [len(bits)]), raw=[packed]))
        assert answer.outputs[0].datatype == name, f"datatype: {answer.outputs[0].datatype}"
        assert list(answer.raw_output_contents) == [packed], f"sent {packed!r}, got {answer.raw_output_contents}"

    raw.__doc__ = f"{name} travels raw over gRPC, bit for bit.\n\nSubnormals, infinities and NaN among them."

    @rule(f"{name}-BINARY", Level.FLOATS, cites=(cites.BINARY_SIZE, *listed), role=name.lower())
    def binary(target: Target) -> None:
        header = {
            "inputs": [
                {
                    "name": "value",
                    "datatype": name,
                    "shape": [len(bits)],
                    "parameters": {"binary_data_size": len(packed)},
                }
            ],
            "outputs": [{"name": "same", "parameters": {"binary_data": True}}],
        }
        answer = target.binary(header, packed).ok()
        length = int(answer.headers["inference-header-content-length"])
        assert answer.body[length:] == packed, f"sent {packed!r}, got {answer.body[length:]!r}"

    binary.__doc__ = f"{name} travels as a binary tensor over REST, bit for bit."


for _name, _bits in SIXTEEN.items():
    _sixteen(_name, _bits)


WORDED: Final = {
    "FP16": ([1.0, -65504.0, 5.960464477539063e-08, 2049.1, 0.1], 0x7C00, [65536, -1e5, 1e39]),
    "BF16": ([1.0, -3.3895313892515355e38, 9.183549615799121e-41, 257.5, 0.1], 0x7F80, [3.4e38, -1e39]),
}
"""Numbers of which the first three are of the datatype and the others are not; the bits of an infinity; numbers that are beyond it."""


def _nearest(name: str, number: float, infinity: int) -> float:
    """By trying them all."""
    positive = np.arange(infinity, dtype=np.uint16)
    known = positive.view(np.float16) if name == "FP16" else (positive.astype(np.uint32) << 16).view(np.float32)
    exact = known.astype(np.float64)
    return float(np.copysign(exact[np.abs(exact - abs(number)).argmin()], number))


def _sixteen_in_words(name: str, values: Sequence[float], infinity: int, beyond: Sequence[float]) -> None:
    @rule(f"{name}-JSON", Level.FLOATS, cites=(cites.DATATYPES, cites.INFERENCE_ERROR, cites.CODECS), role=name.lower())
    def check(target: Target) -> None:
        answer = target.infer({"inputs": [tensor("value", name, [len(values)], list(values))]})
        if answer.status == 200:
            expected = [_nearest(name, value, infinity) for value in values]
            came = outputs_of(answer)["same"]["data"]
            assert came == expected, f"sent {values}, got {came}"
        else:
            answer.refused()
        for value in beyond:
            target.infer({"inputs": [tensor("value", name, [1], [value])]}).refused()

    check.__doc__ = (
        f"{name} in JSON is the nearest {name}, or refused.\n\nNo text gives it a form there: a server may leave it to binary tensors. One "
        "that takes numbers rounds to the nearest and refuses those that would round to an infinity, which JSON could not have said."
    )


for _name, _said in WORDED.items():
    _sixteen_in_words(_name, *_said)


@rule("FP16-TYPED", Level.FLOATS, cites=(cites.GRPC_FP16, cites.GRPC_CODES), role="fp16")
def typed_halves(target: Target) -> None:
    """FP16 in typed contents is refused.

    There is no typed form of it; single precision taken for it would be rounded in silence.
    """
    target.fails("ModelInfer", request(target, input_tensor("value", "FP16", [1], fp32_contents=[1.0])), *REFUSED)


WORDS: Final = ["plain", "", "naïve 渋谷 \U0001f600", 'quote " and \\ backslash', "line\nbreak"]


@rule("BYTES-JSON", Level.BYTES, cites=(cites.DATATYPES,), role="bytes")
def text_in_json(target: Target) -> None:
    """Text survives JSON: empty, beyond ASCII, with what JSON escapes."""
    found = outputs_of(target.infer({"inputs": [tensor("value", "BYTES", [len(WORDS)], WORDS)]}))["same"]
    assert found["data"] == WORDS, f"sent {WORDS}, got {found['data']}"


@rule("BYTES-TYPED", Level.BYTES, cites=(cites.GRPC_CONTENTS,), role="bytes")
def text_typed(target: Target) -> None:
    """Text survives gRPC in bytes_contents."""
    packed = [word.encode() for word in WORDS]
    answer = target.call(
        "ModelInfer", request(target, input_tensor("value", "BYTES", [len(packed)], bytes_contents=packed))
    )
    assert _texts(answer) == packed, f"sent {packed}, got {_texts(answer)}"


@rule("BYTES-RAW", Level.BYTES, cites=(cites.BINARY_BYTES, cites.GRPC_RAW), role="bytes")
def text_raw(target: Target) -> None:
    """Text survives gRPC raw: a length of four bytes before each element."""
    packed = [word.encode() for word in WORDS]
    answer = target.call(
        "ModelInfer", request(target, input_tensor("value", "BYTES", [len(packed)]), raw=[_lengths(packed)])
    )
    assert _texts(answer) == packed, f"sent {packed}, got {_texts(answer)}"


@rule("BYTES-LENGTHS", Level.BYTES, cites=(cites.BINARY_BYTES, cites.GRPC_RAW, cites.GRPC_CODES), role="bytes")
def lying_lengths(target: Target) -> None:
    """A length that leads beyond the tensor is refused.

    Too long a length, a length that is cut, and more bytes than the elements have.
    """
    for raw in (
        struct.pack("<I", 100) + b"short",
        b"\x01\x00",
        _lengths([b"a"]) + b"more",
        struct.pack("<I", 2**32 - 1),
    ):
        target.fails("ModelInfer", request(target, input_tensor("value", "BYTES", [1]), raw=[raw]), *REFUSED)


@rule("BYTES-NUMBERS", Level.BYTES, cites=(cites.DATATYPES, cites.INFERENCE_ERROR, cites.CODECS), role="bytes")
def numbers_for_text(target: Target) -> None:
    """Numbers where text is due are refused."""
    target.infer({"inputs": [tensor("value", "BYTES", [2], [1, 2])]}).refused()


def _lengths(packed: Sequence[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(word)) + word for word in packed)


def _texts(answer: Any) -> list[bytes]:
    if not answer.raw_output_contents:
        return list(answer.outputs[0].contents.bytes_contents)
    raw, words = bytes(answer.raw_output_contents[0]), []
    while raw:
        (length,) = struct.unpack_from("<I", raw)
        words.append(raw[4 : 4 + length])
        raw = raw[4 + length :]
    return words
