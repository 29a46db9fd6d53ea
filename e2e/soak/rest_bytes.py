"""The bytes of REST requests: sound ones in each form that the protocol has, and wrong ones with the answer they must get.

Called by `rest.py`. Everything that can be built once is; a sound request costs some microseconds, because each has its own numbers.
"""

import gzip
import re
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from e2e.soak.mistakes import MISTAKES, Request, sound_row
from e2e.soak.model import NAME, Sound
from e2e.soak.wire import Answer

PATH = f"/v2/models/{NAME}/infer"
LIMIT = 1 << 20  # maxBodyBytes of the server under soak
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_HEAD = b"POST %b HTTP/1.1\r\nHost: soak\r\nContent-Type: application/json\r\n" % PATH.encode()
_BINARY = _HEAD.replace(b"application/json", b"application/octet-stream")
_HEADER_LENGTH = re.compile(rb"inference-header-content-length: *(\d+)")


def post(body: bytes, more: bytes = b"", head: bytes = _HEAD) -> bytes:
    """A whole request; `more` are header lines."""
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (head, more, len(body), body)


def as_json(request: Request) -> bytes:
    """A request's body."""
    inputs = [{"name": t.name, "datatype": t.datatype, "shape": t.shape, "data": t.data} for t in request.inputs]
    return _encode({"inputs": inputs, "outputs": [{"name": name} for name in request.outputs]})


def flat(sound: Sound) -> bytes:
    """JSON, row-major."""
    return post(_json(sound, sound.x.ravel().tolist()))


def nested(sound: Sound) -> bytes:
    """JSON, nested as the shape says."""
    return post(_json(sound, sound.x.tolist()))


def packed(sound: Sound) -> bytes:
    """JSON under gzip."""
    return post(gzip.compress(_json(sound, sound.x.ravel().tolist()), 1), b"Content-Encoding: gzip\r\n")


def chunked(sound: Sound) -> bytes:
    """JSON in two chunks, without a length."""
    body = _json(sound, sound.x.tolist())
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:20], body[20:]))
    return b"%bTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % (_HEAD, chunks)


def binary(sound: Sound) -> bytes:
    """Binary tensors both ways."""
    x, k = sound.x.tobytes(), sound.k.tobytes()
    inputs = [
        {"name": "x", "datatype": "FP32", "shape": sound.x.shape, "parameters": {"binary_data_size": len(x)}},
        {"name": "k", "datatype": "INT64", "shape": sound.k.shape, "parameters": {"binary_data_size": len(k)}},
    ]
    head = _encode({"inputs": inputs, "parameters": {"binary_data_output": True}})
    return post(head + x + k, b"Inference-Header-Content-Length: %d\r\n" % len(head), _BINARY)


FORMS = [flat, flat, flat, nested, binary, binary, packed, chunked]


def _json(sound: Sound, x: Any) -> bytes:
    inputs = [
        {"name": "x", "datatype": "FP32", "shape": sound.x.shape, "data": x},
        {"name": "k", "datatype": "INT64", "shape": sound.k.shape, "data": sound.k.tolist()},
    ]
    return _encode({"inputs": inputs})


def is_right(answer: Answer, sound: Sound) -> bool:
    """Exactly what the bare model answers to these rows."""
    if answer.status != 200:
        return False
    found = _HEADER_LENGTH.search(answer.head)
    split = int(found[1]) if found else len(answer.body)
    outputs = _decode(answer.body[:split])["outputs"]
    rest = answer.body[split:]
    for output, name, expected in zip(outputs, "yz", (sound.y, sound.z), strict=True):
        if output["name"] != name or output["shape"] != list(expected.shape):
            return False
        if found:
            size = output["parameters"]["binary_data_size"]
            got, rest = np.frombuffer(rest[:size], np.float32), rest[size:]
            if got.tobytes() != expected.tobytes():
                return False
        elif output["data"] != expected.ravel().tolist():
            return False
    return not rest


@dataclass(frozen=True)
class Bad:
    """Bytes that are wrong, the status they must get, how the error's text begins, and whether the connection ends with the answer.

    `marked` has the number of the request in it, in place of 7777777.
    """

    name: str
    sent: bytes
    status: int
    says: str
    closes: bool = False

    def is_right(self, answer: Answer) -> bool:
        """The right status, with the right words."""
        if answer.status != self.status:
            return False
        if not self.says:
            return True
        said = _decode(answer.body).get("error")
        return isinstance(said, str) and said.startswith(self.says)


_MARK = 7777777
_SOUND = as_json(sound_row(_MARK))
_NOT_JSON = "not an inference request: "


def _mistaken() -> list[Bad]:
    made = []
    for mistake in MISTAKES:
        request = sound_row(_MARK)
        mistake.make(request)
        made.append(Bad(mistake.name, post(as_json(request)), mistake.status, mistake.says))
    return made


def _x(data: bytes, shape: bytes = b"[1,4]", k: bytes = b"[1]") -> bytes:
    x = b'{"name":"x","datatype":"FP32","shape":%b,"data":%b}' % (shape, data)
    return post(b'{"inputs":[%b,{"name":"k","datatype":"INT64","shape":[1],"data":%b}]}' % (x, k))


def _binary(head: bytes, tensors: bytes, announced: int | bytes | None = None) -> bytes:
    length = announced if isinstance(announced, bytes) else b"%d" % (len(head) if announced is None else announced)
    return post(head + tensors, b"Inference-Header-Content-Length: %b\r\n" % length, _BINARY)


_TWO = (
    b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"parameters":{"binary_data_size":%d}},'
    b'{"name":"k","datatype":"INT64","shape":[1],"parameters":{"binary_data_size":%d}}]}'
)
_16, _8 = b"\0" * 16, b"\0" * 8

JSON = [
    Bad("empty body", post(b""), 400, _NOT_JSON),
    Bad("cut JSON", post(_SOUND[:-3]), 400, _NOT_JSON),
    Bad("no object", post(b"[1,2,3]"), 400, _NOT_JSON),
    Bad("not UTF-8", post(b'{"id":"\xff\xfe"}'), 400, _NOT_JSON),
    Bad("more behind", post(_SOUND + b"{}"), 400, _NOT_JSON),
    Bad("deep", post(b'{"z":' + b"[" * 300_000), 400, ""),
    Bad("deep data", _x(b"[" * 100_000 + b"]" * 100_000), 400, ""),
    Bad("a long string", post(b'{"id":"%b"}' % (b"a" * 600_000)), 400, _NOT_JSON),
    Bad("many keys", post(b"{%b}" % b",".join(b'"k%d":0' % n for n in range(40_000))), 400, _NOT_JSON),
    Bad("ragged", _x(b"[[1,2,3],[4]]"), 400, "input 'x': data is nested unlike its shape [1, 4]"),
    Bad("out of range", _x(b"[1e39,1,2,3]"), 400, "input 'x': a number is out of range for FP32"),
    Bad("beyond any number", _x(b"[1e999,1,2,3]"), 400, ""),
    Bad("NaN", _x(b"[NaN,1,2,3]"), 400, _NOT_JSON),
    Bad("null", _x(b"[null,1,2,3]"), 400, "input 'x': data does not fit FP32"),
    Bad("text for numbers", _x(b'["secret",1,2,3]'), 400, "input 'x': data does not fit FP32"),
    Bad("true for a number", _x(b"[true,1,2,3]"), 400, "input 'x': data does not fit FP32"),
    Bad("a float for an integer", _x(b"[1,2,3,4]", k=b"[1.5]"), 400, "input 'k': data does not fit INT64"),
    Bad("too large for 64 bits", _x(b"[1,2,3,4]", k=b"[9223372036854775808]"), 400, "input 'k': "),
    Bad("no array", _x(b'"1,2,3,4"'), 400, "input 'x': data must be an array"),
    Bad(
        "200,000 numbers too many",
        _x(b"[%b]" % b",".join([b"1"] * 200_000)),
        400,
        "input 'x': shape [1, 4] holds 4 elements",
    ),
]
BINARY = [
    Bad("binary without its header", post(_TWO % (16, 8) + _16 + _8), 400, _NOT_JSON),
    Bad(
        "header beyond the body", _binary(_TWO % (16, 8), b"", 99_999), 400, "Inference-Header-Content-Length is 99999"
    ),
    Bad(
        "header is no number",
        _binary(_TWO % (16, 8), _16 + _8, b"0x10"),
        400,
        "Inference-Header-Content-Length must be",
    ),
    Bad("header is negative", _binary(_TWO % (16, 8), _16 + _8, b"-1"), 400, "Inference-Header-Content-Length must be"),
    Bad("header too short", _binary(_TWO % (16, 8), _16 + _8, 10), 400, _NOT_JSON),
    Bad(
        "size beyond the body",
        _binary(_TWO % (16, 99), _16 + _8),
        400,
        "input 'k': binary_data_size is 99, but 8 bytes",
    ),
    Bad("size is negative", _binary(_TWO % (-16, 8), _16 + _8), 400, "input 'x': binary_data_size must be"),
    Bad(
        "size of another shape",
        _binary(_TWO % (8, 8), _8 + _8),
        400,
        "input 'x': expected 16 bytes for FP32 [1, 4], got 8",
    ),
    Bad("bytes left over", _binary(_TWO % (16, 8), _16 + _8 + b"12345"), 400, "5 bytes follow the last binary tensor"),
    Bad("bytes missing", _binary(_TWO % (16, 8), _16), 400, "input 'k': binary_data_size is 8, but 0 bytes"),
]


def _line(method: bytes, path: bytes, more: bytes = b"", body: bytes = b"") -> bytes:
    return b"%b %b HTTP/1.1\r\nHost: soak\r\n%bContent-Length: %d\r\n\r\n%b" % (method, path, more, len(body), body)


_PATH = PATH.encode()
_BOMB = gzip.compress(b" " * (4 * LIMIT))
HTTP = [
    Bad(
        "another model",
        _line(b"POST", b"/v2/models/secret/infer", b"", _SOUND),
        404,
        f"that model is not served here, '{NAME}' is",
    ),
    Bad(
        "another version",
        _line(b"POST", _PATH.replace(b"/infer", b"/versions/9/infer"), b"", _SOUND),
        404,
        f"model '{NAME}' has no",
    ),
    Bad("no path", _line(b"GET", b"/v2/secret/../path?secret=1"), 404, "no such path"),
    Bad("GET", _line(b"GET", _PATH), 405, "method GET is not allowed here, use POST"),
    Bad("DELETE", _line(b"DELETE", _PATH), 405, "method DELETE is not allowed here, use POST"),
    Bad("load", _line(b"POST", f"/v2/repository/models/{NAME}/load".encode()), 403, "load: "),
    Bad(
        "media type",
        _line(b"POST", _PATH, b"Content-Type: text/html\r\n", _SOUND),
        415,
        "this content type is not understood",
    ),
    Bad(
        "encoding",
        _line(b"POST", _PATH, b"Content-Encoding: br\r\n", _SOUND),
        415,
        "this content encoding is not understood",
    ),
    Bad("no gzip", _line(b"POST", _PATH, b"Content-Encoding: gzip\r\n", _SOUND), 400, "the body is not valid gzip"),
    Bad(
        "cut gzip",
        _line(b"POST", _PATH, b"Content-Encoding: gzip\r\n", gzip.compress(_SOUND)[:-4]),
        400,
        "the body is not valid gzip",
    ),
    Bad(
        "gzip bomb", _line(b"POST", _PATH, b"Content-Encoding: gzip\r\n", _BOMB), 413, "request body is over the limit"
    ),
    Bad(
        "a length over the limit",
        b"%bContent-Length: 99999999999\r\n\r\n" % _HEAD,
        413,
        "request body is over the limit",
        True,
    ),
    Bad("oversize", post(b" " * (LIMIT + 1)), 413, "request body is over the limit"),
    Bad("neither length nor chunks", _HEAD + b"Connection: close\r\n\r\n", 411, "a body needs a Content-Length", True),
    Bad("negative length", _HEAD + b"Content-Length: -5\r\n\r\n", 400, "", True),
    Bad("two lengths", _HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, "", True),
    Bad(
        "length and chunks", _HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "", True
    ),
    Bad("a lie in a chunk", _HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "", True),
    Bad("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello\r\n\r\n", 400, "", True),
    Bad(
        "a head without end",
        b"GET /v2 HTTP/1.1\r\nX: " + b"a" * 400_000,
        431,
        "request headers are over the limit",
        True,
    ),
]
BAD = [*_mistaken(), *JSON, *BINARY, *HTTP]
PLAIN = [bad for bad in BAD if not bad.closes and len(bad.sent) < 20_000]
"""What leaves its connection as it was, and is cheap: most of the wrong requests."""
COSTLY = [bad for bad in BAD if bad not in PLAIN]
