"""`python -m e2e.models`: build what is missing and list what there is. Called by people and by the Makefile."""

from __future__ import annotations

import sys

from e2e.models.builder import BUILD, ensure_models


def main() -> int:
    try:
        ensure_models(print)
    except (RuntimeError, ValueError) as error:
        print(f"e2e.models: {error}", file=sys.stderr)
        return 1
    for model in sorted(BUILD.glob("*/*/model.onnx")):
        size = sum(file.stat().st_size for file in model.parent.iterdir())
        print(f"{model.parent.relative_to(BUILD.parents[2])!s:36} {size / 1e6:8.3f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
