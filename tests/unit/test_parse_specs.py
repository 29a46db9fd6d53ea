"""`parse` is of one mind with the API server: the same specs pass, the same fail, and our own rules speak the same words."""

import pytest

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.modelpolicy import ModelPolicySpec
from modelward_operator.api.parse import Invalid, parse, parse_policy
from tests.exposure_specs import ACCEPTED_EXPOSURES, REFUSED_EXPOSURES
from tests.specs import ACCEPTED, ACCEPTED_POLICIES, REFUSED, REFUSED_POLICIES, Bad, Good, model, policy


@pytest.mark.parametrize("case", [*ACCEPTED, *ACCEPTED_EXPOSURES], ids=lambda case: case.reason)
def test_accepted(case: Good) -> None:
    assert isinstance(parse(model(case.spec)), ModelDeploymentSpec)


@pytest.mark.parametrize("case", [*REFUSED, *REFUSED_EXPOSURES], ids=lambda case: case.reason)
def test_refused_with_the_rules_own_words(case: Bad) -> None:
    verdict = parse(model(case.spec))
    assert isinstance(verdict, Invalid)
    assert case.path in str(verdict)
    assert case.bound or case.message in str(verdict)


@pytest.mark.parametrize("case", ACCEPTED_POLICIES, ids=lambda case: case.reason)
def test_policy_accepted(case: Good) -> None:
    assert isinstance(parse_policy(policy(case.spec)), ModelPolicySpec)


@pytest.mark.parametrize("case", REFUSED_POLICIES, ids=lambda case: case.reason)
def test_policy_refused_with_the_rules_own_words(case: Bad) -> None:
    verdict = parse_policy(policy(case.spec))
    assert isinstance(verdict, Invalid)
    assert case.path in str(verdict)
    assert case.bound or case.message in str(verdict)


def test_all_errors_come_at_once_in_the_order_of_their_paths() -> None:
    spec = (
        "{model: {uri: 'hf://a/', digest: md5, storage: {secretRef: {}}}, accelerator: {resourceName: gpu, count: 0}}"
    )
    verdict = parse(model(spec))
    assert isinstance(verdict, Invalid)
    assert [
        "spec.accelerator.count",
        "spec.accelerator.resourceName",
        "spec.model.digest",
        "spec.model.storage.secretRef.name",
        "spec.model.uri",
    ] == [error.path for error in verdict.errors]


def test_several_broken_rules_of_one_struct_are_all_told() -> None:
    spec = "{model: {uri: s3://a}, scheduling: {tolerations: [{value: b, effect: NoSchedule, tolerationSeconds: 5}]}}"
    verdict = str(parse(model(spec)))
    assert "a toleration without a key tolerates everything" in verdict
    assert "tolerationSeconds needs effect NoExecute" in verdict


def test_a_key_of_a_map_keeps_its_spelling() -> None:
    verdict = parse(model("{model: {uri: s3://a}, scheduling: {nodeSelector: {my_label: b c}}}"))
    assert str(verdict).startswith("spec.scheduling.nodeSelector.my_label: a value must be")


def test_a_field_of_a_newer_version_is_left_alone() -> None:
    assert isinstance(parse(model("{model: {uri: s3://a, format: onnx}, evaluation: {}}")), ModelDeploymentSpec)
