"""What the API server accepts and refuses, from the table in tests/specs.py.

Each refusal must name the field and tell the user what to write instead. tests/unit/test_parse_specs.py holds `parse` to the
same table.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.exposure_specs import ACCEPTED_EXPOSURES, REFUSED_EXPOSURES
from tests.specs import ACCEPTED, ACCEPTED_POLICIES, NAMES, REFUSED, REFUSED_POLICIES, URI, Bad, Good, model, policy

DryRun = Callable[[dict[str, Any]], str]
"""Creates an object with dry-run=server and strict field validation: the refusal, or an empty string."""


@pytest.mark.parametrize("case", [*ACCEPTED, *ACCEPTED_EXPOSURES], ids=lambda case: case.reason)
def test_accepted(case: Good, dry_run: DryRun) -> None:
    assert dry_run(model(case.spec)) == ""


@pytest.mark.parametrize("case", [*REFUSED, *REFUSED_EXPOSURES], ids=lambda case: case.reason)
def test_refused(case: Bad, dry_run: DryRun) -> None:
    refusal = dry_run(model(case.spec))
    assert case.path in refusal
    assert case.message in refusal


@pytest.mark.parametrize("case", ACCEPTED_POLICIES, ids=lambda case: case.reason)
def test_policy_accepted(case: Good, dry_run: DryRun) -> None:
    assert dry_run(policy(case.spec)) == ""


@pytest.mark.parametrize("case", REFUSED_POLICIES, ids=lambda case: case.reason)
def test_policy_refused(case: Bad, dry_run: DryRun) -> None:
    refusal = dry_run(policy(case.spec))
    assert case.path in refusal
    assert case.message in refusal


@pytest.mark.parametrize(("reason", "name", "message"), NAMES, ids=[case[0] for case in NAMES])
def test_name_is_one_that_a_service_can_have(reason: str, name: str, message: str, dry_run: DryRun) -> None:
    refusal = dry_run(model(URI, name))
    assert message in refusal
    assert bool(message) == bool(refusal), reason


def test_misspelt_field_is_named(dry_run: DryRun) -> None:
    assert 'unknown field "spec.replicas"' in dry_run(model(f"{{{URI}, replicas: 2}}"))


def test_all_errors_come_at_once(dry_run: DryRun) -> None:
    refusal = dry_run(model("{model: {uri: 'ftp://a/', digest: md5}, accelerator: {resourceName: gpu}}"))
    for path in ("spec.accelerator.resourceName", "spec.model.digest", "spec.model.uri"):
        assert path in refusal
