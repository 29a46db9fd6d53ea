"""Write what is generated from the typed kinds. Called by `make generate`: `python -m modelward_operator.api`, from the root."""

import sys
from pathlib import Path

from modelward_operator.api.generate import artefacts


def main() -> int:
    """Write every generated file below the working directory, the repository's root."""
    if not Path("crds").is_dir():
        sys.stderr.write("run this from the repository's root: there is no folder crds/ here\n")
        return 2
    for path, text in artefacts().items():
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
