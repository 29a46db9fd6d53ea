"""`parse_privacy` is of one mind with the API server: the same policies pass, the same fail, with the same words."""

import pytest

from modelward_operator.api.parse import Invalid, parse_privacy
from modelward_operator.api.privacypolicy import PrivacyPolicySpec
from tests.privacy_specs import ACCEPTED_PRIVACY, REFUSED_PRIVACY, privacy_policy
from tests.specs import Bad, Good


@pytest.mark.parametrize("case", ACCEPTED_PRIVACY, ids=lambda case: case.reason)
def test_accepted(case: Good) -> None:
    found = parse_privacy(privacy_policy(case.spec))
    assert isinstance(found, PrivacyPolicySpec), found


@pytest.mark.parametrize("case", REFUSED_PRIVACY, ids=lambda case: case.reason)
def test_refused_with_the_rules_own_words(case: Bad) -> None:
    verdict = parse_privacy(privacy_policy(case.spec))
    assert isinstance(verdict, Invalid)
    assert case.path in str(verdict)
    assert case.bound or case.message in str(verdict)
