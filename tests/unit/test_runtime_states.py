"""Only the privacy steps make the types that the batcher and the encoders take."""

import ast
from pathlib import Path

import modelward_runtime

SOURCES = Path(modelward_runtime.__file__).parent
MAKERS = {"Cleared": "states.py", "Released": "states.py"}


def test_nobody_else_constructs_cleared_or_released() -> None:
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
                assert path.name == MAKERS[node.func.id], f"{path.name}:{node.lineno} makes {node.func.id}"
