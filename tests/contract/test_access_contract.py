"""`access` of boot.json and `limits` of policy.json, as the operator writes them: each form is read, and nothing else is."""

import json
from typing import Any

import pytest

from modelward_runtime.access.config import JWT, Authorization, Limits, Nobody, Tls, TokenReview
from modelward_runtime.config import parse_boot, parse_policy
from modelward_runtime.errors import LoadError, LoadReason

LEAST: dict[str, Any] = {
    "apiVersion": "runtime/v1",
    "kind": "Boot",
    "model": {"name": "iris", "version": "7", "uri": "s3://models/iris/7/"},
}
SERVER = {
    "server": "https://kubernetes.default.svc",
    "tokenFile": "/var/run/secrets/modelward/api/token",
    "caFile": "/var/run/secrets/modelward/api/ca.crt",
}
REVIEW = {"mode": "TokenReview", "audience": "modelward.dev", **SERVER}
WEB = {
    "mode": "JWT",
    "issuer": "https://login.example",
    "audiences": ["fraud"],
    "jwksUri": "https://login.example/keys?v=2",
    "algorithms": ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"],
    "usernameClaim": "sub",
    "usernamePrefix": "oidc:",
    **SERVER,
}
WHO = {"namespace": "risk", "name": "fraud-scorer"}


def boot(access: Any) -> bytes:
    return json.dumps({**LEAST, "access": access}).encode()


def policy(limits: Any) -> bytes:
    return json.dumps({"apiVersion": "runtime/v1", "kind": "Policy", "generation": "3f9a", "limits": limits}).encode()


def test_absent_sections_mean_that_nobody_is_asked_and_nothing_is_limited() -> None:
    assert parse_boot(json.dumps(LEAST).encode()).access is None
    assert parse_policy(b'{"apiVersion": "runtime/v1", "kind": "Policy", "generation": "3f9a"}').limits is None


def test_every_field_of_tokenreview_is_read() -> None:
    access = parse_boot(
        boot({"authentication": REVIEW, "authorization": WHO, "tls": {"directory": "/etc/modelward/tls"}})
    ).access
    assert access is not None
    expected = TokenReview(
        server="https://kubernetes.default.svc", token_file="/var/run/secrets/modelward/api/token",
        ca_file="/var/run/secrets/modelward/api/ca.crt", audience="modelward.dev",
    )  # fmt: skip
    assert expected == access.authentication
    assert Authorization(namespace="risk", name="fraud-scorer") == access.authorization
    assert Tls(directory="/etc/modelward/tls") == access.tls


def test_every_field_of_jwt_is_read() -> None:
    more = {"groupsClaim": "groups", "groupsPrefix": "oidc:", "caBundleFile": "/etc/modelward/jwks-ca/ca.crt"}
    access = parse_boot(boot({"authentication": {**WEB, **more}, "authorization": WHO})).access
    assert access is not None
    found = access.authentication
    assert isinstance(found, JWT)
    assert ("https://login.example", ("fraud",), "https://login.example/keys?v=2") == (
        found.issuer,
        found.audiences,
        found.jwks_uri,
    )
    assert tuple(WEB["algorithms"]) == found.algorithms
    assert ("sub", "oidc:", "groups", "oidc:") == (
        found.username_claim,
        found.username_prefix,
        found.groups_claim,
        found.groups_prefix,
    )
    assert "/etc/modelward/jwks-ca/ca.crt" == found.ca_bundle_file
    least = parse_boot(boot({"authentication": WEB, "authorization": WHO})).access
    assert least is not None
    assert isinstance(least.authentication, JWT)
    assert (None, None) == (least.authentication.groups_claim, least.authentication.ca_bundle_file)


def test_none_is_written_out() -> None:
    access = parse_boot(boot({"authentication": {"mode": "None"}})).access
    assert access is not None
    assert isinstance(access.authentication, Nobody)
    assert "None" == access.mode


@pytest.mark.parametrize(
    ("reason", "limits", "expected"),
    [
        (
            "all",
            {"requestsPerSecond": "10", "burst": 20, "concurrency": 4},
            Limits(requests_per_second="10", burst=20, concurrency=4),
        ),
        ("rate", {"requestsPerSecond": "0.5", "burst": 1}, Limits(requests_per_second="0.5", burst=1)),
        ("concurrency", {"concurrency": 4}, Limits(concurrency=4)),
    ],
)
def test_limits_are_read(reason: str, limits: Any, expected: Limits) -> None:
    assert expected == parse_policy(policy(limits)).limits, reason


@pytest.mark.parametrize(
    ("reason", "access", "path"),
    [
        ("nobody is named who may", {"authentication": REVIEW}, "authorization"),
        ("an unknown mode", {"authentication": {"mode": "Basic"}}, "$.access.authentication"),
        ("an unknown field", {"authentication": {**REVIEW, "extra": 1}, "authorization": WHO}, "extra"),
        ("no audience", {"authentication": {"mode": "TokenReview", **SERVER}, "authorization": WHO}, "audience"),
        ("an API server without TLS", {"authentication": {**REVIEW, "server": "http://k"}, "authorization": WHO}, "server"),
        ("keys without TLS", {"authentication": {**WEB, "jwksUri": "http://k/keys"}, "authorization": WHO}, "jwksUri"),
        ("keys with a password", {"authentication": {**WEB, "jwksUri": "https://a:b@k/"}, "authorization": WHO}, "jwksUri"),
        ("a symmetric algorithm", {"authentication": {**WEB, "algorithms": ["HS256"]}, "authorization": WHO}, "algorithms"),
        ("no signature", {"authentication": {**WEB, "algorithms": ["none"]}, "authorization": WHO}, "algorithms"),
        ("no algorithm", {"authentication": {**WEB, "algorithms": []}, "authorization": WHO}, "algorithms"),
        ("no audience of a web token", {"authentication": {**WEB, "audiences": []}, "authorization": WHO}, "audiences"),
        ("a model without a name", {"authentication": REVIEW, "authorization": {"namespace": "risk"}}, "name"),
        ("TLS without a directory", {"tls": {}}, "directory"),
    ],
)  # fmt: skip
def test_an_access_that_is_not_quite_right_is_refused_with_its_path(reason: str, access: Any, path: str) -> None:
    with pytest.raises(LoadError) as caught:
        parse_boot(boot(access))
    assert LoadReason.CONFIG_INVALID is caught.value.reason
    assert "$.access" in caught.value.message, reason
    assert path in caught.value.message, reason


@pytest.mark.parametrize(
    ("reason", "limits", "word"),
    [
        ("nothing is limited", {}, "requestsPerSecond"),
        ("a number for a decimal", {"requestsPerSecond": 10}, "requestsPerSecond"),
        ("nobody gets in", {"requestsPerSecond": "0.0"}, "above 0"),
        ("a negative rate", {"requestsPerSecond": "-1"}, "requestsPerSecond"),
        ("an exponent", {"requestsPerSecond": "1e3"}, "requestsPerSecond"),
        ("not a number", {"requestsPerSecond": "NaN"}, "requestsPerSecond"),
        ("a burst of nothing", {"requestsPerSecond": "1", "burst": 0}, "burst"),
        ("a burst without a rate", {"concurrency": 1, "burst": 5}, "burst"),
        ("nothing at once", {"concurrency": 0}, "concurrency"),
        ("an unknown field", {"concurrency": 1, "queue": 2}, "queue"),
    ],
)
def test_limits_that_are_not_quite_right_are_refused(reason: str, limits: Any, word: str) -> None:
    with pytest.raises(LoadError) as caught:
        parse_policy(policy(limits))
    assert word in caught.value.message, reason
