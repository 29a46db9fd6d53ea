"""What `parse` accepts and refuses of what a platform team sets: the same as the API server, in the same words."""

import pytest

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.parse import Invalid, parse
from tests.platform_specs import PLATFORM_ACCEPTED, PLATFORM_REFUSED
from tests.specs import Bad, Good, model


@pytest.mark.parametrize("case", PLATFORM_ACCEPTED, ids=lambda case: case.reason)
def test_accepted(case: Good) -> None:
    found = parse(model(case.spec))
    assert isinstance(found, ModelDeploymentSpec), found


@pytest.mark.parametrize("case", PLATFORM_REFUSED, ids=lambda case: case.reason)
def test_refused_with_the_rules_own_words(case: Bad) -> None:
    verdict = parse(model(case.spec))
    assert isinstance(verdict, Invalid)
    assert case.path in str(verdict)
    assert case.bound or case.message in str(verdict)
