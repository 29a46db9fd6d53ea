"""What is generated lies in the repository as it is generated now: nobody edits it, and nobody forgets `make generate`."""

from pathlib import Path

import pytest

from modelward_operator.api.generate import artefacts

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", artefacts())
def test_generated_file_is_fresh(path: str) -> None:
    assert artefacts()[path] == (ROOT / path).read_text(encoding="utf-8"), f"{path} is stale: run `make generate`"


def test_generating_twice_gives_the_same_text() -> None:
    assert artefacts() == artefacts()
