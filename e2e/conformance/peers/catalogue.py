"""The peers: what each is, which files it needs beside a model, and the command that starts it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]


@dataclass(frozen=True, slots=True)
class Start:
    """What a server is started with."""

    bin: Path
    """The folder with its environment's programs."""
    models: Path
    rest: int
    grpc: int


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that a Python environment of its own can serve from."""

    name: str
    title: str
    package: str
    """The distribution whose version is the server's."""
    about: str
    """How it is served, and what its failures have in common, checked by hand in its source."""
    start: Callable[[Start], list[str]]
    prepare: Callable[[Path], None]
    """Writes into a model's folder what the server wants there."""


def _mlserver(start: Start) -> list[str]:
    settings = {
        "debug": False,
        "host": "127.0.0.1",
        "http_port": start.rest,
        "grpc_port": start.grpc,
        "metrics_endpoint": None,
    }
    (start.models / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    return [str(start.bin / "mlserver"), "start", str(start.models)]


def _mlserver_model(folder: Path) -> None:
    settings = {
        "name": folder.name,
        "platform": "onnx",
        "versions": ["1"],
        "implementation": "e2e.conformance.peers.mlserver_runtime.OnnxRuntime",
        "parameters": {"uri": "./model.onnx", "version": "1"},
    }
    (folder / "model-settings.json").write_text(json.dumps(settings), encoding="utf-8")


def _kserve(start: Start) -> list[str]:
    ports = ["--http_port", str(start.rest), "--grpc_port", str(start.grpc)]
    return [
        str(start.bin / "python"),
        "-m",
        "e2e.conformance.peers.kserve_server",
        "--folder",
        str(start.models),
        *ports,
    ]


def _nothing(_folder: Path) -> None:
    """The server wants nothing but the model."""


MLSERVER: Final = (
    "A custom runtime under `mlserver start`, its settings as they come, uvloop held below 0.22, with which its workers do not start. "
    "Read in its source: a body that its model of a request refuses gets FastAPI's `detail` instead of the protocol's `error`, and raw "
    "contents over gRPC are unpacked before a runtime sees them; its codec reads words as numbers and null as NaN; its `ModelStreamInfer` "
    "is another method than Triton's, with answers of another type; its index over gRPC has Python's name of a state; it has no binary "
    "tensors. Its HTTP parser (h11, uvicorn's where httptools is not installed) goes on after a request with two kinds of length. "
    "Answers are packed by Starlette's GZipMiddleware, for whoever names gzip, with the weight 0 too; packed requests are not unpacked."
)
KSERVE: Final = (
    "A custom `kserve.Model`, its settings as they come. Read in its source: a body that its model of a request refuses gets FastAPI's "
    "`detail` instead of the protocol's `error`, and binary tensors over REST are unpacked before a model sees them; `as_numpy` reads "
    "words as numbers and null as NaN; its repository extension is load and unload, without the index. Its HTTP parser (httptools) takes "
    "heads of any size."
)
PEERS: Final = {
    peer.name: peer
    for peer in (
        Peer("mlserver", "MLServer", "mlserver", MLSERVER, _mlserver, _mlserver_model),
        Peer("kserve", "KServe Python SDK", "kserve", KSERVE, _kserve, _nothing),
    )
}
