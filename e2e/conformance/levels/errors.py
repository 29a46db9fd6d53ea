"""What is wrong is refused, says so in words, and harms nobody else."""

from typing import Any, Final

import grpc

from e2e.conformance import cites
from e2e.conformance.levels.grpc_core import sound
from e2e.conformance.rule import Level, rule
from e2e.conformance.target import Json, Target, input_tensor, numbers, outputs_of, request, tensor

FOUR: Final = [1.0, 2.0, 3.0, 4.0]
WRONG: Final[dict[str, tuple[str, Any]]] = {
    "MISSING": ("An inference without its input", {"inputs": []}),
    "ABSENT": ("An inference without the list of inputs", {"id": "1"}),
    "STRANGE": (
        "An input that the model lacks",
        {"inputs": [tensor("x", "FP32", [1, 4], FOUR), tensor("z", "FP32", [1, 4], FOUR)]},
    ),
    "TWICE": ("An input that comes twice", {"inputs": [tensor("x", "FP32", [1, 4], FOUR)] * 2}),
    "DATATYPE": ("An input of another datatype", {"inputs": [tensor("x", "INT64", [1, 4], [1, 2, 3, 4])]}),
    "UNKNOWN-TYPE": ("A datatype that does not exist", {"inputs": [tensor("x", "FLOAT", [1, 4], FOUR)]}),
    "SHAPE": ("A shape that the model cannot take", {"inputs": [tensor("x", "FP32", [1, 3], FOUR[:3])]}),
    "RANK": ("A shape of another rank", {"inputs": [tensor("x", "FP32", [4], FOUR)]}),
    "NEGATIVE": ("A negative dimension", {"inputs": [tensor("x", "FP32", [-1, 4], FOUR)]}),
    "FEW": ("Fewer values than the shape has", {"inputs": [tensor("x", "FP32", [1, 4], FOUR[:3])]}),
    "MANY": ("More values than the shape has", {"inputs": [tensor("x", "FP32", [1, 4], [*FOUR, 5.0])]}),
    "RAGGED": ("Data nested otherwise than the shape", {"inputs": [tensor("x", "FP32", [2, 4], [FOUR, FOUR[:3]])]}),
    "WORDS": ("Words where numbers are due", {"inputs": [tensor("x", "FP32", [1, 4], ["1", "2", "3", "4"])]}),
    "NULL": ("Nothing where numbers are due", {"inputs": [tensor("x", "FP32", [1, 4], [1.0, None, 3.0, 4.0])]}),
    "NO-DATA": ("An input without data", {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4]}]}),
    "OUTPUT": (
        "An output that the model lacks",
        {"inputs": [tensor("x", "FP32", [1, 4], FOUR)], "outputs": [{"name": "nothing"}]},
    ),
    "LIST": ("A list where the request object is due", [1, 2, 3]),
}


def _refused(name: str, what: str, content: Any) -> None:
    beyond = {
        "STRANGE": (cites.UNSPOKEN,),
        "TWICE": (cites.UNSPOKEN,),
        "WORDS": (cites.CODECS,),
        "NULL": (cites.CODECS,),
    }

    @rule(f"ERROR-{name}", Level.ERRORS, cites=(cites.INFERENCE_ERROR, cites.CLIENT_ERROR, *beyond.get(name, ())))
    def check(target: Target) -> None:
        target.infer(content).refused()
        outputs_of(target.infer(numbers()))

    check.__doc__ = (
        f"{what} is refused.\n\nBy a 4xx with an error object, since the request is at fault, and the next sound request is answered. A "
        "5xx would have clients try again and operators woken."
    )


for _name, (_what, _content) in WRONG.items():
    _refused(_name, _what, _content)


@rule("ERROR-JSON", Level.ERRORS, cites=(cites.INFERENCE_ERROR, cites.CLIENT_ERROR))
def broken_json(target: Target) -> None:
    """A body that is no JSON is refused.

    Cut short, empty, not in UTF-8, with NaN (which JSON does not have).
    """
    sound_text = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}'
    for body in (sound_text[:-5], b"", b"\xff\xfe" + sound_text, sound_text.replace(b"4]}", b"NaN]}")):
        target.http("POST", target.infer_path, body, {"Content-Type": "application/json"}).refused()


@rule("ERROR-PATH", Level.ERRORS, cites=(cites.CLIENT_ERROR,))
def unknown_path(target: Target) -> None:
    """A path that does not exist is a 404."""
    assert target.get("/v2/no-such-thing").status == 404, "another status than 404"


@rule("ERROR-METHOD", Level.ERRORS, cites=(cites.METHODS,))
def wrong_method(target: Target) -> None:
    """A method that a path does not have is a 405 with Allow."""
    answer = target.get(target.infer_path)
    assert answer.status == 405, f"status {answer.status}"
    assert "POST" in answer.headers.get("allow", ""), f"Allow: {answer.headers.get('allow')!r}"


@rule("ERROR-GRPC", Level.ERRORS, cites=(cites.GRPC_INFER, cites.GRPC_CODES))
def over_grpc(target: Target) -> None:
    """Over gRPC the request's own faults are INVALID_ARGUMENT.

    A missing, strange or twice given input, another datatype, shape or rank, an output that the model lacks. UNKNOWN and INTERNAL would
    tell the client that the server is broken.
    """
    x = input_tensor("x", "FP32", [1, 4], fp32_contents=FOUR)
    strange = input_tensor("z", "FP32", [1, 4], fp32_contents=FOUR)
    wrong = (
        request(target),
        request(target, x, strange),
        request(target, x, x),
        request(target, input_tensor("x", "INT64", [1, 4], int64_contents=[1, 2, 3, 4])),
        request(target, input_tensor("x", "FP32", [1, 3], fp32_contents=FOUR[:3])),
        request(target, input_tensor("x", "FP32", [4], fp32_contents=FOUR)),
        request(target, input_tensor("x", "FP32", [-1, 4], fp32_contents=FOUR)),
    )
    for content in wrong:
        assert target.fails("ModelInfer", content, grpc.StatusCode.INVALID_ARGUMENT), "no message"
    target.call("ModelInfer", sound(target))


@rule("ERROR-SAME", Level.ERRORS, cites=(cites.INFERENCE_ERROR, cites.GRPC_INFER, cites.SAME_WORDS))
def same_words(target: Target) -> None:
    """REST and gRPC refuse the same request in the same words.

    No text demands it. Who looks for a message in the documentation should not have to know which way it came.
    """
    content: Json = {"inputs": [tensor("x", "FP32", [1, 3], FOUR[:3])]}
    over_rest = target.infer(content).refused()
    same = request(target, input_tensor("x", "FP32", [1, 3], fp32_contents=FOUR[:3]))
    over_wire = target.fails("ModelInfer", same, grpc.StatusCode.INVALID_ARGUMENT)
    assert over_rest == over_wire, f"REST: {over_rest!r}; gRPC: {over_wire!r}"
