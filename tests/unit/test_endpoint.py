"""EndpointSecured: what pods report of who may call and over what, what the network showed, and what is said where something is open."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from modelward_operator.facts import Applied, Given, Json, Network, Refusal
from modelward_operator.status.reported import Access, access_of
from modelward_operator.status.summarise import look_again_after
from tests.makers import NOW, READY_REPORT, failing
from tests.unit.test_certificate_plan import AUTHORITY, record, stamp
from tests.unit.test_summarise import NOTHING_WRITTEN, condition, says, status_of, with_pods

OPEN: Json = {"security": {"authentication": {"mode": "None"}}}
DECLARED: Json = {"networkPolicy": {"allowFrom": [{"namespace": "shop"}]}}
MANAGED: Json = {"security": {"tls": {"mode": "Managed"}}}
OWN: Json = {"security": {"tls": {"mode": "Secret", "secretRef": {"name": "cert"}}}}
SERVED = "ab" * 32


def report(authentication: str = "TokenReview", tls: Json | None = None) -> Json:
    return {**READY_REPORT, "access": {"authentication": authentication, "tls": tls}}


def served(sha256: str = SERVED, *, days: float = 80) -> Json:
    return {"notAfter": stamp(NOW + timedelta(days=days)), "sha256": sha256}


def serving(
    spec: Json | None, *reports: Json, enforced: bool | None = True, by_others: bool = False, **more: Any
) -> Given:
    given = with_pods(spec, *(("current", {"is_ready": True, "report": said}) for said in reports), **more)
    return replace(given, network=Network(enforced=enforced, by_others=by_others))


def managed(reports: Sequence[Json], **record_: Any) -> Given:
    given = replace(serving(MANAGED, *reports), authority=AUTHORITY)
    return replace(given, children=(*given.children, record(given, **record_)))


def test_an_endpoint_that_asks_says_what_it_asks_and_what_is_open() -> None:
    status = status_of(serving(None, report()))
    assert says(status, "Ready") == ("True", "Serving")
    assert says(status, "EndpointSecured") == ("True", "Secured")
    assert condition(status, "EndpointSecured")["message"] == (
        "authentication TokenReview for audience modelward.dev, granted by RBAC (create modeldeployments/predict fraud); "
        "TLS Off: tokens travel in clear; ingress from namespace risk; "
        "egress to what status.effective.egress lists, and not to https://kubernetes.default.svc, for the reason that stands there; "
        "the network policy is enforced"
    )


def test_a_jwt_names_its_issuer_and_a_certificate_its_end() -> None:
    jwt = {"issuer": "https://login.example.com", "audiences": ["a"], "jwksUri": "https://login.example.com/certs"}
    spec = {"security": {"authentication": {"mode": "JWT", "jwt": jwt}, **OWN["security"]}}
    message = condition(status_of(serving(spec, report("JWT", served(days=5)))), "EndpointSecured")["message"]
    assert message.startswith("authentication JWT of https://login.example.com, granted by RBAC")
    assert "TLS Secret with a certificate until 2026-11-28T12:00:00Z" in message


OPEN_CASES: list[tuple[str, Json, bool | None, tuple[str, str]]] = [
    # why, security, enforced, EndpointSecured
    ("nothing is asked and nothing declared", {}, True, ("absent", "")),
    ("nor is anything known of the network", {}, None, ("absent", "")),
    ("an open network is told", {}, False, ("True", "NetworkOpen")),
    ("declared and enforced", DECLARED, True, ("True", "Secured")),
    ("declared and not known", DECLARED, None, ("Unknown", "EnforcementUnknown")),
    ("declared and not enforced", DECLARED, False, ("False", "NetworkPolicyNotEnforced")),
]


@pytest.mark.parametrize(
    ("reason", "security", "enforced", "expected"), OPEN_CASES, ids=[case[0] for case in OPEN_CASES]
)
def test_an_endpoint_that_asks_nobody(
    reason: str, security: Json, enforced: bool | None, expected: tuple[str, str]
) -> None:
    spec = {"security": {**OPEN["security"], **security}}
    status = status_of(serving(spec, report("None"), enforced=enforced))
    assert says(status, "EndpointSecured") == expected, reason
    ready = ("False", "NetworkPolicyNotEnforced") if expected[0] == "False" else ("True", "Serving")
    assert says(status, "Ready") == ready, reason


@pytest.mark.parametrize(
    ("enforced", "words"), [(None, "is not known"), (False, "the network is open"), (True, "is enforced")]
)
def test_what_is_known_of_the_network_is_in_the_message(enforced: bool | None, words: str) -> None:
    status = status_of(serving(None, report(), enforced=enforced))
    assert words in condition(status, "EndpointSecured")["message"]
    assert says(status, "Ready") == ("True", "Serving"), "nobody declared a network policy"


NAMED: Json = {"security": DECLARED}


@pytest.mark.parametrize(
    ("network", "expected", "words"),
    [
        (Network(), ("Unknown", "EnforcementUnknown"), "is not known: it was not tried yet"),
        (
            Network(lets_operator_in=True),
            ("Unknown", "EnforcementUnknown"),
            "is not known: it lets the operator in, and other models' tell nothing",
        ),
        (
            Network(enforced=True, by_others=True, lets_operator_in=True),
            ("True", "Secured"),
            "the network policy is enforced, by what trying those of other models showed",
        ),
        (
            Network(enforced=False, by_others=True, lets_operator_in=True),
            ("False", "NetworkPolicyNotEnforced"),
            "a connection that the network policy of another model forbids went through",
        ),
    ],
)
def test_of_a_policy_that_was_not_tried_it_is_said_what_is_known_and_by_what(
    network: Network, expected: tuple[str, str], words: str
) -> None:
    status = status_of(replace(serving(NAMED, report()), network=network))
    assert says(status, "EndpointSecured") == expected
    assert words in condition(status, "EndpointSecured")["message"]
    ready = ("True", "Serving") if expected[0] != "False" else expected
    assert says(status, "Ready") == ready, "who serves without having been tried serves all the same"


@pytest.mark.parametrize("by_others", [True, False])
def test_what_was_known_of_this_spec_stands_after_a_restart_of_the_operator(by_others: bool) -> None:
    first = status_of(serving(NAMED, report(), by_others=by_others))
    again = status_of(serving(NAMED, report(), enforced=None, status=first))
    assert condition(first, "EndpointSecured") == condition(again, "EndpointSecured")
    shown = status_of(serving(NAMED, report(), enforced=False, status=again))
    assert says(shown, "EndpointSecured") == ("False", "NetworkPolicyNotEnforced"), "until something else is shown"
    later = status_of(serving(NAMED, report(), enforced=None, status=shown))
    assert says(later, "EndpointSecured") == ("Unknown", "EnforcementUnknown"), "what is False is nothing to hold on to"


def test_what_was_known_of_this_spec_does_not_stand_once_other_models_differ() -> None:
    first = status_of(serving(NAMED, report(), by_others=True))
    mixed = Network(lets_operator_in=True, disagree=True)
    later = status_of(replace(serving(NAMED, report(), status=first), network=mixed))
    assert says(later, "EndpointSecured") == ("Unknown", "EnforcementUnknown")
    assert "of other models' some are and some are not" in condition(later, "EndpointSecured")["message"]
    assert says(later, "Ready") == ("True", "Serving")


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("of another spec", {"observedGeneration": 2}),
        (
            "by an operator that said True and did not know",
            {"message": "x; whether the network policy is enforced is not known"},
        ),
    ],
)
def test_what_was_not_known_of_this_spec_does_not(reason: str, change: Json) -> None:
    first = status_of(serving(NAMED, report()))
    conditions = [{**c, **(change if c["type"] == "EndpointSecured" else {})} for c in first["conditions"]]
    again = status_of(serving(NAMED, report(), enforced=None, status={**first, "conditions": conditions}))
    assert says(again, "EndpointSecured") == ("Unknown", "EnforcementUnknown"), reason


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("another mode", report("None")),
        ("no word of it", {key: value for key, value in READY_REPORT.items() if key != "access"}),
        ("no object", {**READY_REPORT, "access": "TokenReview"}),
    ],
)
def test_a_pod_that_does_not_say_that_it_asks_is_not_believed(reason: str, said: Json) -> None:
    status = status_of(serving(None, said))
    assert says(status, "EndpointSecured") == ("False", "AuthenticationUnreported"), reason
    assert says(status, "Ready") == ("False", "AuthenticationUnreported"), reason


@pytest.mark.parametrize(
    ("reason", "tls", "expected"),
    [
        ("no certificate", None, "TlsUnreported"),
        ("a hash that is none", {**served(), "sha256": "AB"}, "TlsUnreported"),
        ("a time that is none", {**served(), "notAfter": "later"}, "TlsUnreported"),
        ("an expired one", served(days=-1), "CertificateExpired"),
    ],
)
def test_tls_counts_when_the_pod_reports_a_certificate_that_counts(
    reason: str, tls: Json | None, expected: str
) -> None:
    assert says(status_of(serving(OWN, report(tls=tls))), "EndpointSecured") == ("False", expected), reason
    assert says(status_of(managed([report(tls=tls)])), "Ready") == ("False", expected), reason


def test_a_pod_that_asks_nobody_need_not_say_so() -> None:
    silent = {key: value for key, value in READY_REPORT.items() if key != "access"}
    spec = {"security": {**OPEN["security"], **DECLARED}}
    assert says(status_of(serving(spec, silent)), "EndpointSecured") == ("True", "Secured")
    other = status_of(serving(spec, report("TokenReview")))
    assert says(other, "EndpointSecured") == ("False", "AuthenticationUnreported")


def test_a_managed_certificate_counts_once_every_pod_serves_the_one_that_stands() -> None:
    assert says(status_of(managed([report(tls=served())])), "EndpointSecured") == ("True", "Secured")
    other = report(tls=served("cd" * 32))
    status = status_of(managed([report(tls=served()), other], age=14 / 1440))
    assert says(status, "EndpointSecured") == ("Unknown", "CertificatePending")
    assert says(status, "Ready") == ("True", "Serving"), "what it serves counts: a renewal interrupts nothing"
    assert look_again_after(managed([other], age=14 / 1440), status, NOTHING_WRITTEN) == 10.0


def test_a_pod_that_keeps_serving_another_certificate_is_a_failure() -> None:
    status = status_of(managed([report(tls=served("cd" * 32))], age=16 / 1440))
    assert says(status, "EndpointSecured") == ("False", "CertificateMismatch")


def test_between_two_certificates_the_model_stays_ready() -> None:
    status = status_of(managed([report(tls=served())], age=61))
    assert says(status, "EndpointSecured") == ("Unknown", "CertificatePending")
    assert says(status, "Ready") == ("True", "Serving")


def test_pods_of_the_revision_before_say_nothing_about_this_spec() -> None:
    old = with_pods(None, ("old", {"is_ready": True, "report": report("None")}), ("current", {}))
    status = status_of(old)
    assert says(status, "EndpointSecured") == ("Unknown", "Starting")
    assert says(status, "Ready")[0] == "Unknown"


def test_a_pod_without_a_certificate_that_it_can_use_says_so_where_it_belongs() -> None:
    failure = failing("ServingCertificateUnusable", "tls.key does not fit tls.crt", permanent=False)
    status = status_of(with_pods(OWN, ("current", {"report": {"state": "Loading", "failure": failure}})))
    assert says(status, "EndpointSecured") == ("False", "ServingCertificateUnusable")
    assert says(status, "Ready") == ("False", "ServingCertificateUnusable")
    assert says(status, "ModelAvailable") == ("Unknown", "Starting")


def test_a_moment_without_an_answer_unsays_nothing() -> None:
    first = status_of(serving(None, report()))
    again = status_of(with_pods(None, ("current", {"is_ready": True}), status=first))
    assert says(again, "EndpointSecured") == ("True", "Secured")
    unknown = status_of(serving(NAMED, report(), enforced=None))
    again = status_of(with_pods(NAMED, ("current", {"is_ready": True}), status=unknown))
    assert says(again, "EndpointSecured") == ("Unknown", "EnforcementUnknown")
    assert says(again, "Ready") == ("True", "Serving")
    fresh = status_of(with_pods(None, ("current", {"is_ready": True})))
    assert says(fresh, "EndpointSecured") == ("Unknown", "Starting")


def test_at_zero_replicas_there_is_no_endpoint() -> None:
    status = status_of(with_pods({"scaling": {"replicas": 0}}))
    assert says(status, "EndpointSecured") == ("absent", "")


def test_the_address_says_how_to_connect() -> None:
    plain, secured = status_of(serving(None, report())), status_of(managed([report(tls=served())]))
    assert plain["address"] == {"http": "http://fraud.risk.svc:8080", "grpc": "fraud.risk.svc:8081"}
    assert secured["url"] == "https://fraud.risk.svc:8080"
    assert secured["address"]["caBundle"] == "fraud-tls"
    assert "caBundle" not in status_of(serving(OWN, report(tls=served())))["address"]


def test_the_way_out_is_in_the_status_and_bounded() -> None:
    networks = [{"cidr": f"192.0.2.{n}/32"} for n in range(64)]
    spec = {"security": {"networkPolicy": {"egress": {"allowTo": networks}}}}
    listed = status_of(serving(spec, report()))["effective"]["egress"]
    assert len(listed) == 64
    assert listed[0].startswith("DNS: ")
    assert listed[-1] == "and 4 more"


@pytest.mark.parametrize("said", [{}, {"access": []}, {"access": {"authentication": {"a": 1}, "tls": [1]}}])
def test_a_report_is_believed_only_as_far_as_its_form_goes(said: Json) -> None:
    assert Access() == access_of(said)


def test_facts_that_grow_stale_are_looked_at_again() -> None:
    given = replace(serving(None, report()), network=Network(enforced=True, stale_after=300.0))
    assert look_again_after(given, status_of(given), NOTHING_WRITTEN) == 300.0


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("NetworkPolicy", "fraud"),
        ("ConfigMap", "fraud-boot-0123456789"),
        ("ConfigMap", "fraud-policy"),
        ("Role", "fraud-predict"),
        ("RoleBinding", "fraud-predict"),
        ("RoleBinding", "fraud-access-review"),
    ],
)
@pytest.mark.parametrize(
    ("why", "expected"),
    [
        ("NotOwned", ("False", "ChildNotOwned")),
        ("Rejected", ("False", "ChildRejected")),
        ("Unwritten", ("Unknown", "ChildUnwritten")),
    ],
)
def test_what_could_not_be_written_secures_nothing(kind: str, name: str, why: str, expected: tuple[str, str]) -> None:
    status = status_of(serving(None, report()), Applied(refusals=(Refusal(kind, name, why, "no"),)))
    assert says(status, "EndpointSecured") == expected
    assert condition(status, "EndpointSecured")["message"] == f"{kind} {name}: no"


def test_of_two_that_could_not_be_written_the_one_that_is_final_counts() -> None:
    refusals = (
        Refusal("ConfigMap", "fraud-policy", "Unwritten", "later"),
        Refusal("NetworkPolicy", "fraud", "NotOwned", "no"),
    )
    status = status_of(serving(None, report()), Applied(refusals=refusals))
    assert says(status, "EndpointSecured") == ("False", "ChildNotOwned")


@pytest.mark.parametrize(
    ("kind", "name"), [("Service", "fraud"), ("PodDisruptionBudget", "fraud"), ("Role", "fraud-spend")]
)
def test_what_says_nothing_of_who_may_call_leaves_it_as_it_is(kind: str, name: str) -> None:
    status = status_of(serving(None, report()), Applied(refusals=(Refusal(kind, name, "NotOwned", "no"),)))
    assert says(status, "EndpointSecured") == ("True", "Secured")


def test_an_endpoint_that_asks_for_nothing_still_says_nothing() -> None:
    applied = Applied(refusals=(Refusal("NetworkPolicy", "fraud", "NotOwned", "no"),))
    assert says(status_of(serving(OPEN, report("None")), applied), "EndpointSecured") == ("absent", "")
