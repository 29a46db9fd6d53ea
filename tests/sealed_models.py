"""Sealed folders that hold a real model, and what it takes to load one: for the tests of the load path and of `modelward serve`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from modelward_runtime.config import Boot, ModelSource, SecretKeys, Security
from modelward_runtime.config import Encryption as EncryptionSection
from modelward_runtime.config import Verification as VerificationSection
from tests import onnx_models
from tests.onnx_models import value
from tests.processes import Process
from tests.sealed_folders import IDENTITY, Sealed, make_sealed, write_signing_key

MARKER = bytes(np.random.default_rng(64).integers(0, 256, 64, np.uint8))
"""What is planted in the weights and must be found nowhere."""
SIDE = 256


def graph(weights: Any, location: str = "") -> bytes:
    """y[N, SIDE] = x[N, SIDE] @ weights, which lie in the graph or at `location`."""
    tensor = numpy_helper.from_array(weights, "w")
    if location:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
    made = onnx_models.model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [value("x", TensorProto.FLOAT, ["N", SIDE])],
        [value("y", TensorProto.FLOAT, ["N", SIDE])],
        [tensor],
    )
    return bytes(made.SerializeToString())


def weights() -> Any:
    """Random weights that begin with the marker; as floats its bytes are all finite."""
    made = np.random.default_rng(1).standard_normal((SIDE, SIDE)).astype(np.float32)
    marked = np.frombuffer(MARKER, np.float32)
    assert np.isfinite(marked).all()
    made[0, : len(marked)] = marked
    return made


def model_files(*, split: bool) -> Mapping[str, bytes]:
    """One .onnx, or a graph with its weights beside it."""
    made = weights()
    if not split:
        return {"model.onnx": graph(made)}
    return {"model.onnx": graph(made, "weights.bin"), "weights.bin": made.tobytes()}


def put_plain(folder: Path, files: Mapping[str, bytes]) -> Path:
    """The files as a plain model."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def sealed_boot(home: Path, sealed: Sealed, **source: Any) -> Boot:
    """boot.json of a sealed model on a volume: its key in a mounted Secret, the signer `ci` trusted."""
    trust, keys = home / "trust", home / "keys"
    for folder in (trust, keys):
        folder.mkdir(exist_ok=True)
    (trust / "ci.pem").write_bytes(write_signing_key(home)[1].read_bytes())
    (keys / sealed.kek_file.name).write_bytes(sealed.kek_file.read_bytes())
    known = {"name": IDENTITY.model, "version": IDENTITY.version, "uri": "pvc://c/m", "directory": str(sealed.folder)}
    return Boot(
        api_version="runtime/v1",
        kind="Boot",
        model=ModelSource(**{**known, **source}),
        security=Security(
            tenant=IDENTITY.tenant,
            encryption=EncryptionSection(mode="Required", keys=SecretKeys(directory=str(keys))),
            verification=VerificationSection(mode="Required", trust_directory=str(trust)),
        ),
    )


def make_model(home: Path, *, split: bool = False, **how: Any) -> Sealed:
    """The model, sealed into HOME/sealed."""
    return make_sealed(home, model_files(split=split), **how)


def places(process: Process, *folders: Path) -> Iterator[tuple[str, bytes]]:
    """Everything that the process wrote or holds open: folders, and the targets of its descriptors."""
    for folder in folders:
        for file in folder.rglob("*"):
            if file.is_file():
                yield str(file), file.read_bytes()
    for link in Path(f"/proc/{process.child.pid}/fd").iterdir():
        try:
            if link.is_file():
                yield f"{link} -> {link.readlink()}", link.read_bytes()
        except OSError:
            continue  # closed meanwhile, or no file


def with_marker(process: Process, *folders: Path) -> list[str]:
    return [name for name, content in places(process, *folders) if MARKER in content]
