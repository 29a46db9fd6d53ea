"""Nobody is left with a reason and no idea what to do about it."""

import re

from modelward_operator.plugin.cli import make_parser
from modelward_operator.status import remedies
from modelward_operator.status.conditions import (
    DECRYPT_FAILURES,
    ENDPOINT_FAILURES,
    LOAD_FAILURES,
    POLICY_FAILURES,
    REASONS,
    VERIFY_FAILURES,
    Type,
)
from modelward_operator.status.remedies import BY_CONDITION, HEALTHY, REMEDIES, remedy


def test_every_reason_is_healthy_or_says_what_to_do() -> None:
    known = {str(reason) for reason in REASONS} | set(LOAD_FAILURES)
    healthy = {str(reason) for reason in HEALTHY}
    assert known - healthy == REMEDIES.keys()
    assert healthy <= known


def test_no_reason_is_met_twice() -> None:
    assert len(REMEDIES) == sum(map(len, BY_CONDITION.values()))


def test_load_failures_stand_under_the_condition_that_they_speak_of() -> None:
    for type_, failures in (
        (Type.MODEL_VERIFIED, VERIFY_FAILURES),
        (Type.MODEL_DECRYPTED, DECRYPT_FAILURES),
        (Type.ENDPOINT_SECURED, ENDPOINT_FAILURES),
        (Type.PRIVACY_ENFORCED, POLICY_FAILURES),
    ):
        assert failures <= BY_CONDITION[type_].keys()


def test_words_name_this_very_model_and_end_as_sentences_or_commands_do() -> None:
    for reason in REMEDIES:
        words = remedy(reason, "fraud", "risk")
        assert "{" not in words.replace("{range", "")
        assert words.endswith((".", "`")), reason
        assert words.count("`") % 2 == 0, reason
    assert "kubectl modelward rollback fraud -n risk" in remedy("DigestMismatch", "fraud", "risk")


def test_a_newer_operators_reason_has_none() -> None:
    assert "" == remedy("NotInventedYet", "fraud", "risk")


def test_commands_of_ours_exist() -> None:
    help_ = make_parser().format_help()
    for words in vars(remedies)["REMEDIES"].values():
        for command in re.findall(r"kubectl modelward (\w+)", words):
            assert command in help_
