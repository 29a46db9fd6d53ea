"""ModelVerified, ModelDecrypted and status.model: what the pods report of signature and key, and nothing that they do not."""

from typing import Any

import pytest

from modelward_operator.facts import Given, Json
from modelward_operator.status.conditions import DECRYPT_FAILURES, LOAD_FAILURES, VERIFY_FAILURES
from modelward_operator.status.reported import loaded_model, seal_of
from modelward_operator.status.summarise import look_again_after
from tests.makers import READY_REPORT, failing
from tests.unit.test_summarise import NOTHING_WRITTEN, condition, says, status_of, with_pods

FINGERPRINT = "sha256:" + "cd" * 32
TRUST = [{"name": "ci", "keyRef": {"name": "ci-pub"}}]
SIGNED: Json = {"security": {"verification": {"mode": "Required", "trust": TRUST}}}
WARNS: Json = {"security": {"verification": {"mode": "Warn", "trust": TRUST}}}
SEALED: Json = {
    "security": {
        **SIGNED["security"],
        "encryption": {"mode": "Required", "keyRef": {"provider": "Secret", "name": "kek"}},
    }
}
SIGNER: Json = {"signer": {"name": "ci", "fingerprint": FINGERPRINT}, "verifiedTime": "2026-11-23T11:59:58Z"}
SEAL: Json = {**SIGNER, "encrypted": True, "keyId": "fraud-2026", "keyVersion": "9f86d081"}


def report(**model: Any) -> Json:
    return {**READY_REPORT, "model": {**READY_REPORT["model"], **model}}


def serving(spec: Json | None, *reports: Json, **more: Any) -> Given:
    return with_pods(spec, *(("current", {"is_ready": True, "report": said}) for said in reports), **more)


def test_a_sealed_model_that_serves_says_who_signed_it_and_which_key_opened_it() -> None:
    status = status_of(serving(SEALED, report(**SEAL)))
    assert says(status, "Ready") == ("True", "Serving")
    assert says(status, "ModelVerified") == ("True", "SignatureValid")
    assert condition(status, "ModelVerified")["message"] == f"signed by ci ({FINGERPRINT})"
    assert says(status, "ModelDecrypted") == ("True", "Decrypted")
    assert condition(status, "ModelDecrypted")["message"] == "opened with key fraud-2026, version 9f86d081"
    assert {
        name: status["model"][name] for name in ("signer", "signerFingerprint", "keyId", "keyVersion", "encrypted")
    } == {
        "signer": "ci",
        "signerFingerprint": FINGERPRINT,
        "keyId": "fraud-2026",
        "keyVersion": "9f86d081",
        "encrypted": True,
    }
    assert status["model"]["verifiedTime"] == "2026-11-23T11:59:58Z"


def test_pods_that_were_opened_with_different_keys_name_all_of_them() -> None:
    spec = {**SEALED, "scaling": {"replicas": 2}}
    status = status_of(serving(spec, report(**SEAL), report(**{**SEAL, "keyVersion": "11111111"})))
    expected = "opened with key fraud-2026, version 11111111, key fraud-2026, version 9f86d081"
    assert condition(status, "ModelDecrypted")["message"] == expected


def test_a_plain_model_has_neither_condition() -> None:
    status = status_of(serving(None, report()))
    assert says(status, "ModelDecrypted") == says(status, "ModelVerified") == ("absent", "")
    assert not {"signer", "encrypted", "keyId", "verifiedTime"} & status["model"].keys()


def test_encryption_that_is_off_is_not_spoken_of() -> None:
    off = {"security": {"encryption": {"mode": "Disabled"}}}
    assert says(status_of(serving(off, report())), "ModelDecrypted") == ("absent", "")


def test_a_digest_and_a_signature_are_told_together() -> None:
    digest = "sha256:" + "ab" * 32
    spec = {**SIGNED, "model": {"uri": "s3://m/x/", "digest": digest}}
    message = condition(status_of(serving(spec, report(**SIGNER))), "ModelVerified")["message"]
    assert message == f"signed by ci ({FINGERPRINT}); the stored model is {digest}"


def test_a_signature_that_only_warns_is_false_and_the_model_is_ready_and_says_so() -> None:
    status = status_of(serving(WARNS, report(verificationWarning="model.sig is missing")))
    assert says(status, "ModelVerified") == ("False", "SignatureWarning")
    assert says(status, "Ready") == ("True", "Serving")
    assert (
        "pod fraud-0 serves without a signature that holds: model.sig is missing"
        in condition(status, "Ready")["message"]
    )
    assert "signer" not in status["model"]


@pytest.mark.parametrize(
    ("reason", "spec", "said", "kind", "expected"),
    [
        ("no word of a signer", SIGNED, report(), "ModelVerified", "SignatureUnreported"),
        (
            "a signer in nobody's form",
            SIGNED,
            report(signer={"name": "ci", "fingerprint": "md5:1"}),
            "ModelVerified",
            "SignatureUnreported",
        ),
        ("no word of a seal", SEALED, report(**SIGNER), "ModelDecrypted", "EncryptionUnreported"),
        (
            "a word for a truth",
            SEALED,
            report(**{**SEAL, "encrypted": "true"}),
            "ModelDecrypted",
            "EncryptionUnreported",
        ),
    ],
)
def test_what_is_not_reported_is_not_claimed(reason: str, spec: Json, said: Json, kind: str, expected: str) -> None:
    status = status_of(serving(spec, said))
    assert says(status, kind) == ("False", expected), reason
    assert says(status, "Ready") == ("False", expected), reason


def test_where_signatures_only_warn_silence_about_them_keeps_nobody_from_being_ready() -> None:
    status = status_of(serving(WARNS, report()))
    assert says(status, "ModelVerified") == ("False", "SignatureUnreported")
    assert says(status, "Ready") == ("True", "Serving")


@pytest.mark.parametrize("warned", [False, True])
def test_a_moment_without_an_answer_unsays_nothing(warned: bool) -> None:
    told = report(verificationWarning="no signature") if warned else report(**SEAL)
    spec = WARNS if warned else SEALED
    first = status_of(serving(spec, told))
    again = status_of(with_pods(spec, ("current", {"is_ready": True}), status=first))
    assert [(c["type"], c["status"], c["reason"]) for c in again["conditions"]] == [
        (c["type"], c["status"], c["reason"]) for c in first["conditions"]
    ]
    assert says(again, "Ready") == ("True", "Serving")


def test_a_new_spec_is_not_vouched_for_by_what_was_said_of_the_old_one() -> None:
    before = {
        "type": "ModelVerified",
        "status": "True",
        "reason": "SignatureValid",
        "message": "m",
        "observedGeneration": 2,
    }
    status = status_of(with_pods(SIGNED, ("current", {"is_ready": True}), status={"conditions": [before]}))
    assert says(status, "ModelVerified") == ("Unknown", "Starting")


def test_what_kept_a_pod_from_loading_is_past_once_it_is_ready() -> None:
    wrong = {"state": "Verifying", "failure": failing("KeyServiceUnreachable", "no", permanent=False)}
    before = status_of(with_pods(SEALED, ("current", {"report": wrong})))
    status = status_of(with_pods(SEALED, ("current", {"is_ready": True}), status=before))
    assert says(status, "ModelDecrypted") == ("Unknown", "Starting")
    assert says(status, "Ready") == ("Unknown", "Starting")


FAILURES = [
    # why this case, spec, failure, condition
    ("a bad signature", SIGNED, "SignatureInvalid", "ModelVerified"),
    ("a stranger's signature", SEALED, "SignerUntrusted", "ModelVerified"),
    ("another tenant's model", SEALED, "SealMismatch", "ModelVerified"),
    ("plain under Required", SEALED, "NotSealed", "ModelDecrypted"),
    ("a revoked key", SEALED, "KeyDenied", "ModelDecrypted"),
    ("the key service is away", SEALED, "KeyServiceUnreachable", "ModelDecrypted"),
    ("flipped bytes", SEALED, "DecryptionFailed", "ModelDecrypted"),
    ("sealed, and the spec does not say so", None, "SealedWithoutKey", "ModelDecrypted"),
    ("a store that is away", SEALED, "SourceUnreachable", "ModelAvailable"),
]


@pytest.mark.parametrize(("reason", "spec", "failure", "kind"), FAILURES, ids=[case[0] for case in FAILURES])
def test_a_failed_load_is_told_where_it_belongs_and_is_the_reason_of_ready(
    reason: str, spec: Json | None, failure: str, kind: str
) -> None:
    said = {"state": "Verifying", "failure": failing(failure, "no", permanent=False)}
    status = status_of(with_pods(spec, ("current", {"report": said})))
    assert says(status, kind) == ("False", failure), reason
    assert says(status, "Ready") == ("False", failure), reason
    assert condition(status, kind)["message"] == "pod fraud-0: no (retrying)"


def test_a_pod_that_decrypts_is_on_the_way() -> None:
    given = with_pods(SEALED, ("current", {"report": {"state": "Decrypting"}}))
    status = status_of(given)
    assert says(status, "ModelAvailable") == ("Unknown", "Decrypting")
    assert says(status, "ModelDecrypted") == says(status, "ModelVerified") == ("Unknown", "Starting")
    assert look_again_after(given, status, NOTHING_WRITTEN) == 1.0


def test_a_failing_new_revision_of_a_sealed_model_leaves_the_old_one_serving() -> None:
    wrong = ("current", {"report": {"state": "Verifying", "failure": failing("SignatureInvalid", "no")}})
    status = status_of(with_pods(SEALED, ("old", {"is_ready": True, "report": report(**SEAL)}), wrong))
    assert says(status, "Ready") == ("False", "SignatureInvalid")
    assert "the previous revision serves on" in condition(status, "Ready")["message"]
    assert status["model"]["signer"] == "ci"


def test_no_failure_speaks_of_two_conditions() -> None:
    assert not VERIFY_FAILURES & DECRYPT_FAILURES
    assert VERIFY_FAILURES | DECRYPT_FAILURES <= LOAD_FAILURES.keys()


LIES: list[tuple[str, Json, Json]] = [
    ("a map for a word", {"keyId": {"a": "b"}}, {}),
    ("a truth for a version", {"keyVersion": True}, {}),
    ("a number for a version", {"keyVersion": 3}, {"keyVersion": "3"}),
    ("a very long word", {"keyId": "k" * 9999}, {"keyId": "k" * 512}),
    ("half a character", {"keyId": "\ud800"}, {"keyId": "?"}),
    ("a name without a key", {"signer": {"name": "ci"}}, {}),
    ("a signer that is a word", {"signer": "ci"}, {}),
    ("a time that is none", {"verifiedTime": "2026-13-01T00:00:00Z"}, {}),
    ("a time before time", {"verifiedTime": "0001-01-01T00:00:00+14:00"}, {}),
    (
        "a time in another zone",
        {"verifiedTime": "2026-11-23T01:00:00.25+02:00"},
        {"verifiedTime": "2026-11-22T23:00:00Z"},
    ),
    ("a day without a time", {"verifiedTime": "2026-11-23"}, {}),
    ("not encrypted", {"encrypted": False}, {}),
]


@pytest.mark.parametrize(("reason", "said", "expected"), LIES, ids=[case[0] for case in LIES])
def test_a_report_is_believed_as_far_as_its_form_goes(reason: str, said: Json, expected: Json) -> None:
    assert seal_of({"model": said}).to_status() == expected, reason


def test_a_report_without_a_model_says_nothing() -> None:
    assert loaded_model({"model": ["x"]}) == {}
