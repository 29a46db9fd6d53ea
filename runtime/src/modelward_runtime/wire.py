"""`ModelInferRequest` as a plain value, read from the bytes of its message: tensors stay where they lie.

Used by `protobuf.py`. Most clients send the same few fields; those are read here, in one pass and without a copy. Whatever else a message
may hold (parameters, fields that we do not know, another spelling of the same) is left to protobuf's own parser, which also says what is no
message: this reader takes only what it would take as well, and reads the same from it. Source: protobuf's encoding, and `inference.proto`.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final

import msgspec

from modelward_runtime.errors import BadRequest
from modelward_runtime.parts import (
    COSTLY,
    LARGE,
    MOST_AXES,
    MOST_FIELDS,
    MOST_TENSORS,
    SHOWN_AXES,
    LongShape,
    check_parameters,
    check_tensors,
)
from modelward_runtime.proto import messages

Bytes = bytes | memoryview
Parameters = dict[str, bool | int | float | str]
UNREADABLE: Final = "the message is not one of this method's: its bytes are no such protobuf"
_NONE: Final[Parameters] = {}
_ID, _PARAMETERS, _INPUTS, _OUTPUTS, _RAW = 3, 4, 5, 6, 7  # fields of ModelInferRequest
_INPUT_SHAPE, _INPUT_PARAMETERS, _INPUT_CONTENTS, _OUTPUT_PARAMETERS = 3, 4, 5, 2


class Input(msgspec.Struct, gc=False):
    """An input's description; `contents` is protobuf's message, or the bytes of one that holds a packed field and nothing else, or None."""

    name: str = ""
    datatype: str = ""
    shape: list[int] = []
    contents: Any = None
    parameters: Parameters = _NONE


class Request(msgspec.Struct):
    """The whole message. `raw` are views of its bytes; `outputs` are the names that are asked for, with their parameters."""

    model_name: str = ""
    model_version: str = ""
    id: str = ""
    inputs: list[Input] = []
    outputs: list[tuple[str, Parameters]] = []
    raw: Sequence[Bytes] = []
    parameters: Parameters = _NONE


class _Unusual(Exception):
    """For protobuf's parser to say."""


class _Broken(BadRequest):
    """Bytes that are no fields."""


def read_request(data: Bytes) -> Request:
    """The message. Raises `BadRequest`."""
    try:
        return read_usual(data)
    except (_Unusual, UnicodeDecodeError, IndexError):
        return _read_unusual(data)


def read_at_once(data: Bytes) -> Request | None:
    """The message; None of one that is not usual, and large enough for that to be read on a thread. Raises `BadRequest`."""
    try:
        return read_usual(data)
    except (_Unusual, UnicodeDecodeError, IndexError):
        return None if len(data) > COSTLY else _read_unusual(data)


def is_long(data: Bytes) -> bool:
    """To read it takes so long that a probe would notice: it is large, and not by tensors that only have to be looked at."""
    if len(data) <= LARGE:
        return False
    left = len(data)
    with suppress(BadRequest):
        for number, start, stop in islice(_fields(data, 0, len(data)), MOST_TENSORS):
            if number == _RAW:
                left -= stop - start
            elif number == _INPUTS and stop - start > LARGE:
                left -= _floats(data, start, stop)
            if left <= LARGE:
                return False
    return True


def id_of(data: Bytes) -> str:
    """The `id` of a message that may be none."""
    found = ""
    with suppress(BadRequest, UnicodeDecodeError):
        for number, start, stop in islice(_fields(data, 0, len(data)), MOST_TENSORS):
            if number == _ID:
                found = str(data[start:stop], "utf-8")
    return found


def read_usual(data: Bytes) -> Request:
    """A message of the usual fields in their usual spelling. Raises what `read_request` catches."""
    raw: list[Bytes] = []
    request = Request(inputs=[], outputs=[], raw=raw)
    position, end = 0, len(data)
    for _ in range(MOST_TENSORS):
        if position >= end:
            return request
        tag = data[position]
        start, position = _field(data, position + 1, end)
        if tag == 0x3A:
            raw.append(memoryview(data)[start:position])
            continue
        content = data[start:position]
        if tag == 0x2A:
            request.inputs.append(_read_input(content))
        elif tag == 0x0A:
            request.model_name = str(content, "utf-8")
        elif tag == 0x12:
            request.model_version = str(content, "utf-8")
        elif tag == 0x1A:
            request.id = str(content, "utf-8")
        elif tag == 0x32:
            request.outputs.append(_read_output(content))
        else:
            raise _Unusual
    raise _Unusual


def _read_input(data: Bytes) -> Input:
    tensor = Input(shape=[])
    position, end = 0, len(data)
    while position < end:
        tag = data[position]
        start, position = _field(data, position + 1, end)
        content = data[start:position]
        if tag == 0x0A:
            tensor.name = str(content, "utf-8")
        elif tag == 0x12:
            tensor.datatype = str(content, "utf-8")
        elif tag == 0x1A and not tensor.shape:
            tensor.shape = _read_shape(content)
        elif tag == 0x2A and tensor.contents is None:
            tensor.contents = _read_contents(content)
        else:
            raise _Unusual
    return tensor


def _read_output(data: Bytes) -> tuple[str, Parameters]:
    if len(data) and data[0] == 0x0A:
        start, stop = _field(data, 1, len(data))
        if stop == len(data):
            return str(data[start:stop], "utf-8"), _NONE
    raise _Unusual


_LONGEST_SHAPE: Final = 10 * MOST_AXES  # bytes: no number takes more than ten
_GO_ON: Final = bytes(range(0x80, 0x100))  # of a number that ends with a later byte
_WIDTHS: Final = {0x32: 4, 0x3A: 8}  # of packed fp32_contents and fp64_contents, which lie there as numpy has them


def _read_contents(data: Bytes) -> Any:  # noqa: ANN401  generated messages have no types
    """One packed field of floats stays as it is; the rest is not worth a second reader."""
    if len(data) and data[0] in _WIDTHS:
        start, stop = _field(data, 1, len(data))
        if stop == len(data) and not (stop - start) % _WIDTHS[data[0]] and stop > start:
            return data
    return parse("InferTensorContents", data)


def _read_shape(data: Bytes) -> list[int]:
    """Packed int64; of more than a tensor can have only as many as a message would show."""
    if len(data) <= _LONGEST_SHAPE:
        return _read_numbers(data)
    if data[-1] >= 0x80:
        raise _Unusual
    ends = [place for place, byte in enumerate(data[: 10 * SHOWN_AXES]) if byte < 0x80]
    if len(ends) < SHOWN_AXES:
        raise _Unusual
    axes = len(bytes(data).translate(None, _GO_ON))
    return LongShape(_read_numbers(data[: ends[SHOWN_AXES - 1] + 1]), axes)


def _read_numbers(data: Bytes) -> list[int]:
    """Packed int64."""
    numbers = list(data)
    if not numbers or max(numbers) < 0x80:
        return numbers
    found: list[int] = []
    number = shift = 0
    for byte in numbers:
        if shift > 63:  # no number is longer, and ever longer ones would cost ever more
            raise _Unusual
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if number >> 63:
                raise _Unusual
            found.append(number)
            number = shift = 0
    if shift:
        raise _Unusual
    return found


def _field(data: Bytes, position: int, end: int) -> tuple[int, int]:
    """Where a field of a length before its content begins and ends."""
    size = data[position]
    position += 1
    if size >= 0x80:
        size &= 0x7F
        for shift in (7, 14, 21, 28):
            byte = data[position]
            position += 1
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        else:
            raise _Unusual
    if position + size > end:
        raise _Unusual
    return position, position + size


def packed(contents: Bytes) -> tuple[str, memoryview]:
    """Which field a packed one is, and its bytes, little-endian."""
    start, stop = _field(contents, 1, len(contents))
    return ("fp32_contents" if contents[0] == 0x32 else "fp64_contents"), memoryview(contents)[start:stop]


def _read_unusual(data: Bytes) -> Request:
    _check_parts(data)
    return _read_any(data)


def _check_parts(data: Bytes) -> None:
    """Refuse what protobuf's parser would make too much of, in whatever spelling. Raises `BadRequest`."""
    counts = dict.fromkeys(_COUNTED, 0)
    fields = parameters = 0
    for number, start, stop in _fields(data, 0, len(data)):
        fields += 1
        if number == _PARAMETERS:
            parameters += stop - start
        elif number in _COUNTED:
            counts[number] += 1
            check_tensors(_COUNTED[number], counts[number])
        if number in _DESCRIBED:
            sizes = _sizes(data, start, stop)
            fields += sizes.pop(0)
            parameters += sizes.get(_DESCRIBED[number], 0)
            if number == _INPUTS and sizes.get(_INPUT_SHAPE, 0) > _LONGEST_SHAPE:
                raise BadRequest(f"inputs[{counts[number] - 1}]: no tensor has more than {MOST_AXES} axes")
        check_parameters(parameters)
        _check_fields(fields)


_COUNTED: Final = {_INPUTS: "inputs", _OUTPUTS: "outputs", _RAW: "raw_input_contents"}
_DESCRIBED: Final = {_INPUTS: _INPUT_PARAMETERS, _OUTPUTS: _OUTPUT_PARAMETERS}  # where their parameters are


def _sizes(data: Bytes, start: int, stop: int) -> dict[int, int]:
    """Bytes of a tensor's fields by their number, at 0 how many fields there are. Raises `BadRequest`."""
    sizes = {0: 0}
    with suppress(_Broken):  # within a group that nobody knows it may be anything
        for number, begin, end in _fields(data, start, stop):
            key = abs(number) if abs(number) == _INPUT_SHAPE else number  # whose numbers may stand one by one
            sizes[0] += 1
            if key:
                sizes[key] = sizes.get(key, 0) + max(end - begin, 1)
            _check_fields(sizes[0])
    return sizes


def _check_fields(count: int) -> None:
    if count > MOST_FIELDS:
        raise BadRequest(f"at most {MOST_FIELDS} fields of a message are read")


def _floats(data: Bytes, start: int, stop: int) -> int:
    """Bytes of an input that lie in it as numpy has them."""
    return sum(
        end - begin
        for number, begin, end in islice(_fields(data, start, stop), MOST_AXES)
        if number == _INPUT_CONTENTS and _is_packed(data, begin, end)
    )


def _is_packed(data: Bytes, start: int, stop: int) -> bool:
    """These contents are one packed field of floats and nothing else."""
    if start == stop or data[start] not in _WIDTHS:
        return False
    size, begin = _varint(data, start + 1, stop, 5)
    return begin + size == stop and size > 0 and not size % _WIDTHS[data[start]]


def _fields(data: Bytes, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The fields of a message in any spelling: their numbers, and where their contents begin and end. Raises `BadRequest`.

    Negative is the number of what has no length of its own, and so is no message, text or packed list.
    """
    while position < end:
        tag, position = _varint(data, position, end, 5)
        kind = tag & 7
        start = position
        if kind == 2:
            size, start = _varint(data, position, end, 5)
            position = start + size
        elif kind == 0:
            position = _varint(data, position, end, 10)[1]
        elif kind in {1, 5}:
            position += 8 if kind == 1 else 4
        elif kind > 5:  # 3 and 4 are around a group, whose fields are read as any
            raise _Broken(UNREADABLE)
        if position > end:
            raise _Broken(UNREADABLE)
        yield (tag >> 3 if kind == 2 else -(tag >> 3)), start, position


def _varint(data: Bytes, position: int, end: int, most: int) -> tuple[int, int]:
    """A number of at most so many bytes, and where it ends."""
    number = shift = 0
    for place in range(position, min(position + most, end)):
        byte = data[place]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place + 1
        shift += 7
    raise _Broken(UNREADABLE)


def _read_any(data: Bytes) -> Request:
    """The same by protobuf's parser."""
    message = parse("ModelInferRequest", data)
    return Request(
        message.model_name,
        message.model_version,
        message.id,
        [
            Input(
                tensor.name,
                tensor.datatype,
                list(tensor.shape),
                tensor.contents if tensor.HasField("contents") else None,
                _plain(tensor.parameters),
            )
            for tensor in message.inputs
        ],
        [(wish.name, _plain(wish.parameters)) for wish in message.outputs],
        message.raw_input_contents,
        _plain(message.parameters),
    )


def parse(kind: str, data: Bytes) -> Any:  # noqa: ANN401  generated messages have no types
    """A message of the protocol, by protobuf's own parser. Raises `BadRequest`."""
    from google.protobuf.message import DecodeError  # noqa: PLC0415  start-up, see `messages`

    try:
        return getattr(messages(), kind).FromString(bytes(data))
    except DecodeError:
        raise BadRequest(UNREADABLE) from None


def _plain(parameters: Any) -> Parameters:  # noqa: ANN401  as above
    return {
        name: getattr(value, value.WhichOneof("parameter_choice") or "string_param")
        for name, value in parameters.items()
    }
