"""The models of suite sealed, plain and sealed: a quarter of each is an embedding, which ONNX Runtime uses as it lies, the rest are weights
of matrix products, which it packs anew. `sealed.py` calls it. It must not measure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from onnx import TensorProto, helper

from modelward_runtime.store.kek.secret import SecretFile
from modelward_runtime.store.sealed import writing
from modelward_runtime.store.sealed.writing import Identity, Sealer

MEGABYTE = 1_000_000
ROWS = 3  # of the question that is asked
IDENTITY = Identity("bench", "m", "1")
_SIDE = 512  # of a square of weights: 1 MiB


@dataclass(frozen=True)
class Piece:
    """A file of the model, as `writing.seal` reads it."""

    path: str
    chunks: Callable[[], Iterator[bytes]]


def make(file: Path, megabytes: int) -> np.ndarray[Any, Any]:
    """A model of about that size; what it says to the question of `sealed.py`."""
    blocks = max(1, megabytes * MEGABYTE // (_SIDE * _SIDE * 4))
    embedded = max(1, blocks // 4)
    random = np.random.default_rng(megabytes)
    table = random.standard_normal((embedded * _SIDE, _SIDE), dtype=np.float32)
    nodes, weights = [helper.make_node("Gather", ["table", "x"], ["h0"])], [_tensor("table", table)]
    answer = table[:ROWS]
    for number in range(blocks - embedded):
        block = random.standard_normal((_SIDE, _SIDE), dtype=np.float32) / np.float32(np.sqrt(_SIDE))
        weights.append(_tensor(f"w{number}", block))
        nodes.append(helper.make_node("MatMul", [f"h{number}", f"w{number}"], [f"h{number + 1}"]))
        answer = answer @ block
    last = f"h{blocks - embedded}"
    inputs = [helper.make_tensor_value_info("x", TensorProto.INT64, ["N"])]
    outputs = [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["N", _SIDE])]
    made = helper.make_model(
        helper.make_graph(nodes, "bench", inputs, outputs, weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    file.parent.mkdir(parents=True)
    onnx.save(made, str(file))
    return answer


def _tensor(name: str, content: np.ndarray[Any, Any]) -> TensorProto:
    return TensorProto(name=name, data_type=TensorProto.FLOAT, dims=content.shape, raw_data=content.tobytes())


def seal(home: Path) -> None:
    """The same model sealed, as `modelward seal` does it."""
    sign_key = ec.generate_private_key(ec.SECP256R1())
    for name in ("trust", "keys"):
        (home / name).mkdir()
    (home / "keys" / "k").write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
    pem = sign_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (home / "trust" / "ci.pem").write_bytes(pem)
    sealer = Sealer(SecretFile(home / "keys" / "k", "k"), "k", sign_key)
    model = home / "plain" / "model.onnx"
    writing.seal([Piece("model.onnx", lambda: _chunks(model))], home / "sealed", IDENTITY, sealer)


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while piece := source.read(1 << 20):
            yield piece
