"""Credentials that are renewed while a model serves: no pod notices, and the next one comes in with the new ones."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cases.case import PATIENCE, Case
from e2e.cases.clients import add
from e2e.cases.kube import wait
from e2e.cases.stillness import children
from e2e.cases.websites import TOKEN, deployment, secret, website
from tests.integration.webserver import Site


@pytest.fixture
def site(case: Case, tmp_path: Path) -> Iterator[Site]:
    with website(case, tmp_path) as running:
        yield running


def test_a_renewed_token_rolls_no_pod_and_lets_the_next_one_in(case: Case, site: Site) -> None:
    case.apply(secret(TOKEN), deployment(f"https://{site.host}/fraud/7/"))
    case.wait_ready()
    before, (pod,) = children(case), case.pods()
    case.apply(secret("of-tomorrow"))
    site.authorization = "Bearer of-tomorrow"
    assert add(case.service_address()) == 7
    case.change({"scaling": {"replicas": 2}})
    wait("two pods serve", lambda: case.model()["status"].get("readyReplicas") == 2, within=PATIENCE, last=case.told)
    assert pod["metadata"]["uid"] in [one["metadata"]["uid"] for one in case.pods()], "the first one serves on"
    assert {sent for *_, sent in site.asked} == {f"Bearer {TOKEN}", "Bearer of-tomorrow"}
    assert {one: before[one] for one in before if one[0] == "ConfigMap"} == {
        one: version for one, version in children(case).items() if one[0] == "ConfigMap"
    }, "what pods are told has nothing to do with the token"


def test_a_token_that_has_ended_stops_the_next_pod_and_not_the_one_that_serves(case: Case, site: Site) -> None:
    case.apply(secret(TOKEN), deployment(f"https://{site.host}/fraud/7/"))
    case.wait_ready()
    (pod,) = case.pods()
    site.authorization, served = "Bearer of-tomorrow", len(site.asked)
    case.change({"scaling": {"replicas": 2}})
    wait("another pod was refused", lambda: len(site.asked) > served, within=PATIENCE, last=case.told)
    assert add(case.service_address()) == 7
    assert case.model()["status"]["readyReplicas"] == 1
    case.apply(secret("of-tomorrow"))
    wait(
        "two pods serve", lambda: case.model()["status"].get("readyReplicas") == 2, within=2 * PATIENCE, last=case.told
    )
    assert pod["metadata"]["uid"] in [one["metadata"]["uid"] for one in case.pods()]
