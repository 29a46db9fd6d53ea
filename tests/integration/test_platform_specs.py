"""What the API server accepts and refuses of what a platform team sets, from the table in tests/platform_specs.py."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.platform_specs import PLATFORM_ACCEPTED, PLATFORM_REFUSED
from tests.specs import Bad, Good, model

DryRun = Callable[[dict[str, Any]], str]


@pytest.mark.parametrize("case", PLATFORM_ACCEPTED, ids=lambda case: case.reason)
def test_accepted(case: Good, dry_run: DryRun) -> None:
    assert dry_run(model(case.spec)) == ""


@pytest.mark.parametrize("case", PLATFORM_REFUSED, ids=lambda case: case.reason)
def test_refused(case: Bad, dry_run: DryRun) -> None:
    refusal = dry_run(model(case.spec))
    assert case.path in refusal
    assert case.message in refusal
