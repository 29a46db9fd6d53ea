"""What a platform team sets, in the plan: whose labels win, which account pods run as meanwhile, what rolls; goldens show the rest."""

from dataclasses import replace
from typing import Any

import pytest

from modelward_operator.api.pods import PodMetadata
from modelward_operator.facts import Given, Json, Plan, Pod
from modelward_operator.plan import names
from modelward_operator.plan.draw import draw
from modelward_operator.policies.rooms import rule
from tests.makers import drawn, live_deployment, make_given, make_pod, parsed

OWN = names.selector("fraud")
NAMED = {"serviceAccount": {"name": "model-servers"}}
ROLE = {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/fraud"}


def template(spec: Json | None = None) -> Any:
    return drawn(make_given(spec)).find("Deployment")["spec"]["template"]


def boot(spec: Json) -> str:
    return next(
        str(o["data"]["boot.json"]) for o in drawn(make_given(spec)).objects if "boot.json" in o.get("data", {})
    )


def accounts(plan: Plan) -> list[str]:
    """The subjects that may ask who calls."""
    binding = next(o for o in plan.objects if o["metadata"]["name"] == "fraud-access-review")
    return [subject["name"] for subject in binding["subjects"]]


def made(plan: Plan) -> list[str]:
    """The ServiceAccounts that are planned."""
    return [o["metadata"]["name"] for o in plan.objects if o["kind"] == "ServiceAccount"]


def test_labels_of_users_are_in_no_selector() -> None:
    labels = {"team": "fraud", "app": "payments"}
    plan = drawn(make_given({"podMetadata": {"labels": labels}, "scaling": {"replicas": 3}}))
    spec = plan.find("Deployment")["spec"]
    assert {**labels, **OWN, "app.kubernetes.io/name": "fraud"} == spec["template"]["metadata"]["labels"]
    assert spec["selector"] == {"matchLabels": OWN}
    assert plan.find("Service")["spec"]["selector"] == OWN
    assert plan.find("NetworkPolicy")["spec"]["podSelector"] == {"matchLabels": OWN}
    assert plan.find("PodDisruptionBudget")["spec"]["selector"] == {"matchLabels": OWN}


def test_ours_win_over_what_no_schema_has_checked() -> None:
    """As in an object that was stored before the rule was."""
    given = make_given()
    spec = parsed(given)
    hostile = PodMetadata.model_construct(
        labels={**dict.fromkeys(OWN, "other"), "app.kubernetes.io/name": "modelward-activator"},
        annotations={names.REVISION: "forged"},
    )
    changed = spec.model_copy(update={"pod_metadata": hostile})
    metadata = draw(given, changed, rule(given, changed)).find("Deployment")["spec"]["template"]["metadata"]
    assert {**OWN, "app.kubernetes.io/name": "fraud"} == metadata["labels"]
    assert len(metadata["annotations"][names.REVISION]) == 16


@pytest.mark.parametrize(
    "spec",
    [
        {"podMetadata": {"labels": {"a": "b"}}},
        {"podMetadata": {"annotations": {"a": "b"}}},
        {"runtime": {"imagePullSecrets": [{"name": "registry"}]}},
        {"runtime": {"requestTimeoutSeconds": 60}},
        {"serviceAccount": {"annotations": ROLE}},
        NAMED,
    ],
    ids=str,
)
def test_what_pods_are_made_with_rolls_them(spec: Json) -> None:
    revisions = [template(one)["metadata"]["annotations"][names.REVISION] for one in ({}, spec)]
    assert revisions[0] != revisions[1]


def test_another_role_of_the_account_rolls_the_pods_which_clouds_may_look_at_only_once() -> None:
    roles = [{"serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": role}}} for role in ("a", "b")]
    assert template(roles[0]) != template(roles[1])


def test_absent_fields_leave_the_file_of_the_runtime_as_it_was() -> None:
    assert '"drainSeconds":5' in boot({})
    assert '"requestTimeoutSeconds":30' in boot({})
    assert '"maxBodyBytes":67108864' in boot({})
    assert boot({}) == boot({"runtime": {"terminationGracePeriodSeconds": 300}, "podMetadata": {"labels": {"a": "b"}}})


def test_time_and_size_of_a_request_reach_the_runtime_and_the_grace_follows() -> None:
    told = {"runtime": {"drainSeconds": 20, "requestTimeoutSeconds": 120, "maxBodySize": "1.5Mi"}}
    assert '"drainSeconds":20' in boot(told)
    assert '"requestTimeoutSeconds":120' in boot(told)
    assert '"maxBodyBytes":1572864' in boot(told)
    assert template(told)["spec"]["terminationGracePeriodSeconds"] == 145
    longer = {"runtime": {**told["runtime"], "terminationGracePeriodSeconds": 600}}
    assert template(longer)["spec"]["terminationGracePeriodSeconds"] == 600


def test_the_resource_that_was_once_the_default_keeps_the_image_of_running_models() -> None:
    """Stored objects carry it; the same accelerator without it must count as the same."""
    marks = [
        drawn(make_given({"accelerator": accelerator})).find("Deployment")["metadata"]["annotations"]
        for accelerator in ({}, {"resourceName": "nvidia.com/gpu"}, {"resourceName": "nvidia.com/gpu", "count": 2})
    ]
    same, stored, other = (mark[names.TEMPLATE_INPUTS] for mark in marks)
    assert same == stored != other


# ── whose account ───────────────────────────────────────────────────────────────────────────────────────────────────


def running_as(account: str, given: Given, *, owner: str = "rs-1", over: bool = False) -> Given:
    """The facts with one more pod, which the model's own ReplicaSet made unless told otherwise."""
    pod = make_pod(f"p-{account}", is_ready=True, phase="Failed" if over else "Running")
    metadata = {**pod.raw["metadata"], "ownerReferences": [{"uid": owner, "controller": True}]}
    raw = {**pod.raw, "metadata": metadata, "spec": {"serviceAccountName": account}}
    workload = live_deployment(make_given())
    workload = {**workload, "metadata": {**workload["metadata"], "uid": "deployment-1"}}
    owned = {"kind": "ReplicaSet", "metadata": {"name": "r", "uid": "rs-1", "ownerReferences": []}}
    owned["metadata"]["ownerReferences"] = [{"uid": "deployment-1", "controller": True}]  # type: ignore[index]
    return replace(given, pods=(*given.pods, Pod(raw)), children=(workload,), replica_sets=(owned,))


def test_an_account_of_ones_own_is_used_and_none_is_made() -> None:
    plan = drawn(make_given(NAMED))
    assert made(plan) == []
    assert accounts(plan) == ["model-servers"]
    assert plan.find("Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "model-servers"


def test_while_pods_run_as_the_account_before_it_stands_and_keeps_its_grants() -> None:
    going = drawn(running_as("fraud", make_given(NAMED)))
    assert made(going) == ["fraud"]
    assert accounts(going) == ["model-servers", "fraud"]
    coming_back = drawn(running_as("model-servers", make_given()))
    assert made(coming_back) == ["fraud"]
    assert accounts(coming_back) == ["fraud", "model-servers"]


def test_pods_that_are_over_and_pods_of_others_keep_no_grant() -> None:
    assert accounts(drawn(running_as("fraud", make_given(NAMED), over=True))) == ["model-servers"]
    stranger = drawn(running_as("evil", make_given(), owner="somebody-elses"))
    assert accounts(stranger) == ["fraud"], "a pod that anybody made with our labels"


def test_an_account_of_the_models_own_name_is_the_users_unless_the_operator_made_it() -> None:
    named: Json = {"serviceAccount": {"name": "fraud"}}
    assert made(drawn(make_given(named))) == []
    ours = drawn(make_given()).find("ServiceAccount")
    assert made(drawn(make_given(named, children=(ours,)))) == ["fraud"]


def test_labels_of_the_account_do_not_replace_ours() -> None:
    spec = {"serviceAccount": {"labels": {"team": "fraud"}, "annotations": ROLE}}
    account = drawn(make_given(spec)).find("ServiceAccount")
    assert {"team": "fraud", **OWN, "app.kubernetes.io/name": "fraud"} == account["metadata"]["labels"]
    assert account["metadata"]["annotations"].items() >= ROLE.items()
    assert account["automountServiceAccountToken"] is False


def test_an_identity_of_the_cloud_opens_the_way_to_who_gives_it_credentials() -> None:
    def urls(spec: Json) -> set[str]:
        given = make_given(spec)
        return {addition.name for addition in rule(given, parsed(given)).additions if addition.slot == "egress"}

    region = {"model": {"uri": "s3://models/a/", "storage": {"region": "eu-central-1"}}}
    asked = urls({**region, "serviceAccount": {"annotations": ROLE}}) - urls(region)
    assert asked == {"https://sts.eu-central-1.amazonaws.com", "http://169.254.170.23"}
    keys = {"model": {"uri": "s3://models/a/", "storage": {"secretRef": {"name": "s3"}}}}
    assert urls({**keys, **NAMED}) == urls(keys), "credentials of its own need nobody's"
