"""The floors of a ModelPolicy for authentication, privacy policies and images: in the spec, and of what runs."""

from dataclasses import replace
from typing import Any

import pytest

from modelward_operator.facts import Given, Json, Pod
from modelward_operator.policies.governance.rule import EVERYBODY
from modelward_operator.policies.rooms import rule_unread
from tests.makers import INSTALLATION, make_pod
from tests.specs import HEX
from tests.unit.test_governance import governed, policy, said, silent

ASKS: dict[str, Any] = {"requireAuthentication": True}
IMAGES: dict[str, Any] = {"allowedImages": ["registry.example/ml/", "ghcr.example/x/runtime:", "ghcr.example/y:1"]}
OPERATORS = INSTALLATION.runtime_image


def running(image: str, **more: Any) -> Pod:
    """A pod whose runtime has this image."""
    pod = make_pod(is_ready=True, report={"state": "Ready", "model": {}, **more})
    containers = [{"name": "sidecar", "image": "mesh/proxy:1"}, {"name": "runtime", "image": image}]
    return replace(pod, raw={**pod.raw, "spec": {"containers": containers}})


def lets_in(kind: str, name: str) -> dict[str, Any]:
    return {"security": {"authentication": {"allowedSubjects": [{"kind": kind, "name": name}]}}}


SPECS: list[tuple[str, dict[str, Any], Json, str]] = [
    ("authentication that is absent is TokenReview", ASKS, {}, ""),
    ("authentication that is off", ASKS, {"security": {"authentication": {"mode": "None"}}}, "authentication.mode must not be None"),
    *(
        (f"the group {group} is let in", ASKS, lets_in("Group", group), "allowedSubjects must not hold the groups")
        for group in EVERYBODY
    ),
    ("a group of some is let in", ASKS, lets_in("Group", "system:serviceaccounts:shop"), ""),
    ("a user of that name is let in", ASKS, lets_in("User", "system:authenticated"), ""),
    ("everybody is let in where no policy minds", {"requireDigest": False, "requirePrivacyPolicy": True}, {
        **lets_in("Group", "system:authenticated"), "privacy": {"policyRef": {"name": "a"}}}, ""),
    ("no privacy policy", {"requirePrivacyPolicy": True}, {}, "spec.privacy.policyRef must be set"),
    ("a privacy policy", {"requirePrivacyPolicy": True}, {"privacy": {"policyRef": {"name": "a"}}}, ""),
    ("the operator's image", IMAGES, {}, ""),
    ("an image of the folder", IMAGES, {"runtime": {"image": f"registry.example/ml/a@sha256:{HEX}"}}, ""),
    ("an image of the repository", IMAGES, {"runtime": {"image": "ghcr.example/x/runtime:9"}}, ""),
    ("the very image", IMAGES, {"runtime": {"image": "ghcr.example/y:1"}}, ""),
    ("one whose tag begins alike", IMAGES, {"runtime": {"image": "ghcr.example/y:1.2"}}, "spec.runtime.image must be left out"),
    ("one whose folder begins alike", IMAGES, {"runtime": {"image": "registry.example/mlx/a"}}, "spec.runtime.image must"),
    ("the operator's image, written out, is one like others", IMAGES, {"runtime": {"image": OPERATORS}}, "spec.runtime.image must"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "demands", "spec", "expected"), SPECS, ids=[row[0] for row in SPECS])
def test_a_spec(reason: str, demands: dict[str, Any], spec: Json, expected: str) -> None:
    found = said(governed(spec, policy(**demands)))
    assert bool(expected) == bool(found), reason
    assert expected in "".join(found)


PODS: list[tuple[str, dict[str, Any], Pod, str]] = [
    ("it authenticates", ASKS, running("i", access={"authentication": "TokenReview"}), ""),
    ("it authenticates by JWT", ASKS, running("i", access={"authentication": "JWT"}), ""),
    ("it asks nobody", ASKS, running("i", access={"authentication": "None"}), "does not report that it authenticates"),
    ("it is older than authentication", ASKS, running("i"), "does not report that it authenticates callers"),
    ("it says something strange", ASKS, running("i", access=["TokenReview"]), "does not report that it authenticates"),
    ("it says nothing for a minute", ASKS, silent(70), "has not said for 70 s"),
    ("its image is allowed", IMAGES, running("registry.example/ml/a:1"), ""),
    ("its image is the operator's", IMAGES, running(OPERATORS), ""),
    ("its image is the operator's of another release", IMAGES, running(OPERATORS.rpartition(":")[0] + ":0"), ""),
    ("its image is another", IMAGES, running("evil/runtime:1"), "runs the image evil/runtime:1, not one of allowedImages"),
    ("its image has the operator's name on another host", IMAGES, running("evil/modelward-runtime:1"), "not one of allowedImages"),
    ("nobody knows its image", IMAGES, make_pod(is_ready=True), "runs the image that nobody knows"),
    ("it is silent, and its image is another", IMAGES, replace(running("evil/a:1"), report={}), "not one of allowedImages"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "demands", "pod", "expected"), PODS, ids=[row[0] for row in PODS])
def test_what_runs(reason: str, demands: dict[str, Any], pod: Pod, expected: str) -> None:
    found = said(governed({}, policy(**demands), pods=(pod,)))
    assert bool(expected) == bool(found), reason
    assert expected in "".join(found)


def kept(spec: Json, observed: int = 3) -> Given:
    """A model whose pod runs what its status calls the image in use."""
    given = governed(spec, policy(**IMAGES), pods=(running("old.example/modelward/runtime:0"),))
    status = {"observedGeneration": observed, "effective": {"image": "old.example/modelward/runtime:0"}}
    return replace(given, raw={**given.raw, "status": status})


@pytest.mark.parametrize(
    ("reason", "given", "allowed"),
    [
        ("an upgrade that brings another registry ends no model that names no image", kept({}), True),
        ("the spec has changed since", kept({}, observed=2), False),
        ("the spec named it", kept({"runtime": {"image": "registry.example/ml/a:1"}}), False),
    ],
)
def test_the_image_that_the_operator_keeps_is_its_own(reason: str, given: Given, allowed: bool) -> None:
    assert allowed == (said(given) == []), reason


def test_of_a_spec_that_cannot_be_read_the_images_count_as_well() -> None:
    for image, denied in (("evil/a:1", True), ("registry.example/ml/a:1", False), (OPERATORS, False)):
        given = governed({"runtime": {"threads": "4"}}, policy(**IMAGES), pods=(running(image),))
        assert rule_unread(given).denied == denied, image
