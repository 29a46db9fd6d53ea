"""Writes runtime/src/modelward_runtime/proto/inference_pb2*.py from inference.proto. Called by `make generate`.

The messages live in a descriptor pool of their own, so that a program may import a client of the same protocol
(tritonclient, the kserve SDK) beside this package: one pool refuses two definitions of one name.
"""

import sys
from pathlib import Path

from grpc_tools import protoc

SOURCES = Path(__file__).resolve().parent / "src"
PROTO = SOURCES / "modelward_runtime" / "proto" / "inference.proto"


def generate(out: Path) -> list[Path]:
    """Write the generated modules below `out` and return them."""
    command = ["protoc", f"-I{SOURCES}", f"--python_out={out}", f"--grpc_python_out={out}", str(PROTO)]
    if protoc.main(command) != 0:
        sys.exit("protoc failed")
    folder = out / PROTO.parent.relative_to(SOURCES)
    messages = folder / "inference_pb2.py"
    text = messages.read_text()
    shared, private = (
        "_descriptor_pool.Default().AddSerializedFile",
        "_descriptor_pool.DescriptorPool().AddSerializedFile",
    )
    if shared not in text:
        sys.exit(f"{messages}: generated code no longer says {shared}")
    messages.write_text(text.replace(shared, private))
    return sorted(folder.glob("inference_pb2*"))


if __name__ == "__main__":
    generate(SOURCES)
