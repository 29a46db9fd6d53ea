"""Bodies that are packed with gzip, both ways: nobody gets what they cannot read, and nothing is taken for what it is not."""

import gzip
import json
import time
import zlib
from dataclasses import replace
from typing import Final

from e2e.conformance import cites
from e2e.conformance.levels.robustness import others_are_served
from e2e.conformance.rule import Level, rule
from e2e.conformance.target import DOUBLE, Answer, Json, Target, flat, numbers, outputs_of, tensor

ROWS: Final = 2000
SOON: Final = 20.0
JSON_TYPE: Final = {"Content-Type": "application/json"}
MANY: Final[Json] = {"inputs": [tensor("x", "FP32", [ROWS, 4], [0.5] * (4 * ROWS))]}


def _ask(target: Target, content: Json, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return target.http("POST", target.infer_path, json.dumps(content).encode(), {**JSON_TYPE, **named})


def _turned_away(answer: Answer) -> None:
    """In which words is what other rules are about."""
    assert 400 <= answer.status < 500, f"expected a 4xx, got {answer.status}: {answer.body[:200]!r}"


@rule("GZIP-ANSWER", Level.ROBUSTNESS, cites=(cites.ACCEPT_ENCODING, cites.RESPONSE))
def packed_answers(target: Target) -> None:
    """An answer is packed with gzip for those only who take it, and then says so.

    A large answer is asked for with `gzip`, which leaves it to the server to pack it, and with `identity`, `gzip;q=0` and without the
    header, which do not. What says that it is gzip is gzip, and holds the same numbers; its length is that of the packed bytes.
    """
    for accepted in ("gzip", "br;q=1, gzip;q=0.5", "identity", "gzip;q=0", "*;q=0, identity", ""):
        answer = _ask(target, MANY, **({"Accept_Encoding": accepted} if accepted else {}))
        coding = answer.headers.get("content-encoding", "identity")
        assert coding in {"identity", "gzip"}, f"Accept-Encoding: {accepted!r} got {coding!r}"
        if coding == "gzip":
            assert accepted.endswith(("gzip", "0.5")), f"Accept-Encoding: {accepted!r} got gzip"
            answer = replace(answer, body=gzip.decompress(answer.body))
        assert flat(outputs_of(answer)["double"]["data"]) == [1.0] * (4 * ROWS), "other numbers"


@rule("GZIP-REQUEST", Level.ROBUSTNESS, cites=(cites.CONTENT_ENCODING,))
def packed_requests(target: Target) -> None:
    """A packed request is answered as if it were not, or refused.

    415 is the status for who does not unpack; it is no failure of the server's, and never something else than what was sent.
    """
    packed = gzip.compress(json.dumps(numbers()).encode())
    answer = target.http("POST", target.infer_path, packed, {**JSON_TYPE, "Content-Encoding": "gzip"})
    if answer.status == 200:
        assert flat(outputs_of(answer)["double"]["data"]) == DOUBLE, "other numbers"
    else:
        _turned_away(answer)


@rule("GZIP-TORN", Level.ROBUSTNESS, cites=(cites.CONTENT_ENCODING, cites.CLIENT_ERROR))
def torn_packages(target: Target) -> None:
    """A body that is not what its Content-Encoding says is refused.

    One that is cut, one with a wrong checksum, one with bytes behind it, and plain JSON.
    """
    body = json.dumps(numbers()).encode()
    packed = gzip.compress(body)
    wrong = bytearray(packed)
    wrong[-5] ^= 1
    for sent in (packed[:-9], bytes(wrong), packed + b"more", body):
        _turned_away(target.http("POST", target.infer_path, sent, {**JSON_TYPE, "Content-Encoding": "gzip"}))
    others_are_served(target)


@rule("GZIP-BOMB", Level.ROBUSTNESS, cites=(cites.STURDY, cites.CLIENT_ERROR))
def bombs(target: Target) -> None:
    """A small body that unpacks to a huge one harms nobody.

    130 KB that unpack to 128 MiB of spaces, three times: refused in time, and others are served.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    bomb = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(128)) + packer.flush()
    begun = time.monotonic()
    for _ in range(3):
        _turned_away(target.http("POST", target.infer_path, bomb, {**JSON_TYPE, "Content-Encoding": "gzip"}))
    assert time.monotonic() - begun < SOON, f"three of them took {time.monotonic() - begun:.1f} s"
    others_are_served(target)
