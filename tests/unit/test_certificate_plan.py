"""When a certificate stands, when its record goes, and when another is ordered."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from modelward_operator.facts import Applied, Authority, Given, Json, Order, Pod
from modelward_operator.plan import names
from modelward_operator.plan.certificate import current_record, planned_record
from modelward_operator.plan.draw import marked
from modelward_operator.status.summarise import look_again_after
from tests.makers import NOW, drawn, make_given, make_pod

MANAGED: Json = {"security": {"tls": {"mode": "Managed"}}}
AUTHORITY = Authority("PEM", "ca-2", frozenset({"ca-1", "ca-2"}), frozenset({"record-1"}))
NAMES = ("fraud.risk.svc", "fraud.risk.svc.cluster.local")


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def record(given: Given, *, age: float = 10, life: float = 90, is_issued: bool = True, **data: str) -> dict[str, Any]:
    """Return a record of a certificate that is `age` of its `life` days old, as the API server holds it."""
    begin = given.now - timedelta(days=age)
    said = {
        "tls.crt": "PEM",
        "sha256": "ab" * 32,
        "notBefore": stamp(begin),
        "notAfter": stamp(begin + timedelta(days=life)),
        "dnsNames": " ".join(NAMES),
        "issuer": "ca-2",
        **data,
    }
    made = dict(marked(planned_record(given, said)))
    annotations = {**made["metadata"]["annotations"], **({names.ISSUED: "secret-1"} if is_issued else {})}
    metadata = {**made["metadata"], "annotations": annotations, "uid": "record-1"}
    # As the issuer makes it: it counts from five minutes before.
    return {**made, "metadata": {**metadata, "creationTimestamp": stamp(begin + timedelta(minutes=5))}}


def managed(*records: Json, pods: tuple[Pod, ...] = ()) -> Given:
    return replace(make_given(MANAGED, pods=pods), authority=AUTHORITY, children=records)


def config_maps(given: Given) -> list[str]:
    return [o["metadata"]["name"] for o in drawn(given).objects if "tls" in o["metadata"]["name"]]


def test_a_first_certificate_is_ordered_for_every_name_of_the_service() -> None:
    plan = drawn(managed())
    assert plan.certificate == Order(NAMES)
    (published,) = (o for o in plan.objects if o["metadata"]["name"] == "fraud-tls")
    assert published["data"] == {"ca.crt": "PEM"}


def test_a_certificate_that_stands_is_kept_and_none_is_ordered() -> None:
    given = managed(record(managed()))
    assert drawn(given).certificate is None
    assert config_maps(given) == ["fraud-tls", f"fraud-tls-{'ab' * 5}"]
    kept = next(o for o in drawn(given).objects if o["metadata"]["name"].startswith("fraud-tls-"))
    assert kept["metadata"]["annotations"][names.APPLIED] == given.children[0]["metadata"]["annotations"][names.APPLIED]


GONE: list[tuple[str, dict[str, Any]]] = [
    ("two thirds of its life are over", {"age": 60.1}),
    ("it has expired", {"age": 91}),
    ("its CA is not one any more", {"issuer": "ca-0"}),
    ("it is for other names", {"dnsNames": "fraud fraud.risk fraud.risk.svc fraud.risk.svc.cluster.local"}),
    ("the pass that made it broke off", {"is_issued": False}),
]


@pytest.mark.parametrize(("reason", "said"), GONE, ids=[case[0] for case in GONE])
def test_a_record_goes_first_and_another_certificate_is_ordered_when_it_is_gone(
    reason: str, said: dict[str, Any]
) -> None:
    given = managed(record(managed(), **said))
    assert config_maps(given) == ["fraud-tls"], f"{reason}: not planned, so pruned"
    assert drawn(given).certificate is None, "its Secret is still there"
    assert drawn(managed()).certificate is not None


def test_until_the_old_ca_is_gone_from_the_bundle_what_it_signed_stands() -> None:
    assert drawn(managed(record(managed(), issuer="ca-1"))).certificate is None
    assert current_record(managed(record(managed(), issuer="ca-1"))) is not None


def test_a_record_that_somebody_planted_goes_and_the_certificate_that_was_issued_stands() -> None:
    """It says that it is the newest and lasts for a century; the CA did not sign what it holds."""
    planted = record(managed(), age=0, life=36500, sha256="cd" * 32)
    planted = {**planted, "metadata": {**planted["metadata"], "uid": "planted"}}
    genuine = record(managed())
    assert config_maps(managed(genuine, planted)) == ["fraud-tls", f"fraud-tls-{'ab' * 5}"]
    assert drawn(managed(genuine, planted)).certificate is None
    assert config_maps(managed(planted)) == ["fraud-tls"], "not planned, so pruned; then another is ordered"


MISSING = 'FailedMount: MountVolume.SetUp failed for volume "tls" : secret "fraud-tls" not found'


@pytest.mark.parametrize(
    ("reason", "age", "warning", "stands"),
    [
        ("the kubelet found no Secret", 1.0, MISSING, False),
        ("nor for a moment after it was made", 6 / 1440, MISSING, True),
        ("another Secret is missing", 1.0, MISSING.replace("fraud-tls", "kek"), True),
    ],
)
def test_a_secret_that_somebody_deleted_is_noticed_by_the_pods(
    reason: str, age: float, warning: str, stands: bool
) -> None:
    given = managed(record(managed(), age=age), pods=(make_pod(warning=warning),))
    assert (current_record(given) is not None) is stands, reason


@pytest.mark.parametrize(
    "edited",
    [
        {"notAfter": "soon"},
        {"notBefore": "2026-11-01T00:00:00"},
        {"sha256": None},
        {"sha256": "/../../../xyz"},
        {"sha256": "AB" * 32},
        {"sha256": "ab" * 32 + "\n"},
    ],
    ids=[
        "no time",
        "a time of no zone",
        "a field that is gone",
        "a path for a hash",
        "not as we write it",
        "a line more",
    ],
)
def test_what_has_not_the_form_of_a_record_is_none(edited: dict[str, Any]) -> None:
    made = record(managed())
    data = {key: value for key, value in {**made["data"], **edited}.items() if value is not None}
    given = managed({**made, "data": data})
    assert current_record(given) is None
    assert drawn(given).certificate is not None


def test_another_models_record_is_none_of_ours() -> None:
    made = record(managed())
    owner = {**made["metadata"]["ownerReferences"][0], "uid": "u-2"}
    stranger = {**made, "metadata": {**made["metadata"], "ownerReferences": [owner]}}
    assert drawn(managed(stranger)).certificate is not None


def test_without_a_ca_nothing_is_ordered_and_offline_there_is_none() -> None:
    assert drawn(make_given(MANAGED)).certificate is None


def test_tls_that_is_off_leaves_nothing() -> None:
    off = replace(make_given({"security": {"tls": {"mode": "Off"}}}), authority=AUTHORITY)
    assert drawn(off).certificate is None
    assert config_maps(off) == []


def test_a_renewal_is_remembered_at_least_once_a_day() -> None:
    given = managed(record(managed(), age=59.9))
    assert look_again_after(given, {"conditions": []}, Applied()) == pytest.approx(0.1 * 86400, abs=1)
    fresh = managed(record(managed(), age=1))
    assert look_again_after(fresh, {"conditions": []}, Applied()) == 86400
    assert fresh.now == NOW
