"""The schema's fuzz: hypothesis builds specs from the CRDs, the API server says which it takes, and the operator lives with those.

`parse` is of one mind with the API server, whichever it says, but for what no schema can know; and that is told in a condition. Of what
both accept, the operator makes whole passes: no child is refused, a second pass writes nothing, and the status says Ready in some way.
"""

import itertools
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from modelward_operator.api.parse import (
    Invalid,
    parse,
    parse_book,
    parse_budget,
    parse_policy,
    parse_privacy,
)
from modelward_operator.cluster.client import Client, Rejected
from modelward_operator.cluster.kinds import BUDGET, CHILDREN, MODEL, POLICY, PRICES, PRIVACY, Resource
from modelward_operator.policies.cost.reasons import BUDGET_INVALID
from tests.crd_specs import refused_paths, specs, without
from tests.integration.rig import Rig, make_rig

Json = dict[str, Any]
TRIES = 12
TWENTY = 20
PARSERS: dict[Resource, Any] = {
    MODEL: parse,
    PRIVACY: parse_privacy,
    BUDGET: parse_budget,
    POLICY: parse_policy,
    PRICES: parse_book,
}
UNKNOWABLE: dict[Resource, set[str]] = {BUDGET: {"spec.timeZone", "spec.override.expires"}}
"""What the API server cannot tell: whether a time zone, or a day of the calendar, exists."""
FAULTS = {
    "InvalidSpec",
    "PrivacyPolicyInvalid",
    "ModelPolicyInvalid",
    "ChildRejected",
    "ChildOverruled",
    "ChildNotOwned",
    "ChildUnwritten",
}
fuzz = settings(
    max_examples=TWENTY,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    database=None,
    derandomize=True,  # what chance would find must not stop a change that did not cause it
)


def body(resource: Resource, namespace: str, name: str, spec: Json) -> Json:
    where = {} if resource in {POLICY, PRICES} else {"namespace": namespace}
    head = {"apiVersion": resource.api_version, "kind": resource.kind}
    return {**head, "metadata": {"name": name, **where}, "spec": spec}


async def ask(client: Client, sent: Json, *, dry_run: bool) -> tuple[Json, str]:
    """What the API server makes of an object, or its refusal. That it is invalid is one; that somebody may not, or not now, is none."""
    resource = next(one for one in PARSERS if one.kind == sent["kind"])
    try:
        return await client.create(resource, sent, manager="user", dry_run=dry_run), ""
    except Rejected as refusal:
        if "is invalid: " not in str(refusal):
            raise
        return {}, str(refusal)


def is_unknowable(resource: Resource, read: object) -> bool:
    """True for what only `parse` finds wrong, as it must."""
    known = UNKNOWABLE.get(resource, set())
    return isinstance(read, Invalid) and all(error.path in known for error in read.errors)


async def accepted(client: Client, resource: Resource, namespace: str, spec: Json) -> Json:
    """What is left of a spec when all that the API server refuses is gone; on the way, `parse` says the same as it."""
    for _ in range(TRIES):
        sent = body(resource, namespace, "fuzz", spec)
        made, refusal = await ask(client, sent, dry_run=True)
        for read in (PARSERS[resource](sent), PARSERS[resource](made or sent)):
            agreed = bool(refusal) == isinstance(read, Invalid) or is_unknowable(resource, read)
            assert agreed, (
                f"the API server: {refusal or 'taken'}; parse: {read if isinstance(read, Invalid) else 'taken'}; of {spec}"
            )
        if not refusal:
            return spec
        spec = without(resource.plural, spec, refused_paths(refusal))
    return {}


@pytest.fixture
def taken() -> Counter[bool]:
    """How many drawn specs were accepted in the end, and how many not."""
    return Counter()


@pytest.mark.parametrize("resource", PARSERS, ids=lambda resource: resource.kind)
@fuzz
@given(data=st.data())
async def test_parse_and_the_api_server_say_the_same(
    resource: Resource, data: st.DataObject, client: Client, namespace: str, taken: Counter[bool]
) -> None:
    taken[bool(await accepted(client, resource, namespace, data.draw(specs(resource.plural))))] += 1
    assert taken.total() < TWENTY or taken[True] >= 3, "too little is accepted to say anything"


@pytest.fixture
async def rig(client: Client, namespace: str, home: str) -> AsyncIterator[Rig]:
    """The operator's parts, which know the kinds of the cluster too."""
    async with make_rig(client, namespace, clusterwide=True, home=home) as made:
        yield made


_serial = itertools.count()


@fuzz
@given(data=st.data())
async def test_whatever_is_accepted_gets_whole_passes(data: st.DataObject, rig: Rig, taken: Counter[bool]) -> None:
    name = f"fuzz-{next(_serial)}"
    spec = await accepted(rig.admin, MODEL, rig.namespace, data.draw(specs(MODEL.plural)))
    around = [one for resource in (PRIVACY, POLICY, PRICES) if (one := await make(rig, resource, name, data))]
    if any(one["kind"] == PRIVACY.kind for one in around):
        spec = {**spec, "privacy": {"policyRef": {"name": name}}}
    made, refusal = await ask(rig.admin, body(MODEL, rig.namespace, name, spec), dry_run=False)
    taken[not refusal] += 1
    assert taken.total() < TWENTY or taken[True] >= 3, "too little is accepted to say anything"
    if not refusal:
        await rig.heard(MODEL.kind, name, int(made["metadata"]["resourceVersion"]))
        await is_at_rest(rig, name, spec)
    for one in around:  # a ModelPolicy would hold for all that come after
        resource = next(resource for resource in PARSERS if resource.kind == one["kind"])
        meta = one["metadata"]
        await rig.admin.delete(resource, meta.get("namespace", ""), meta["name"], uid=meta["uid"])
        await forgotten(rig, one)


async def make(rig: Rig, resource: Resource, name: str, data: st.DataObject) -> Json:
    """Create an object of what was drawn and is accepted, and wait until the operator knows it; nothing where nothing is."""
    spec = await accepted(rig.admin, resource, rig.namespace, data.draw(specs(resource.plural)))
    if not spec:
        return {}
    made, refusal = await ask(rig.admin, body(resource, rig.namespace, name, spec), dry_run=False)
    assert not refusal, "taken a moment ago"
    await rig.until(lambda: is_known(rig, made))
    return made


async def forgotten(rig: Rig, one: Json) -> None:
    """Wait until the operator has heard that an object is gone."""
    await rig.until(lambda: not is_known(rig, one))


def is_known(rig: Rig, one: Json) -> bool:
    return bool(rig.store.read(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]))


async def is_at_rest(rig: Rig, name: str, spec: Json) -> None:
    for _ in range(8):
        before = await written(rig, name)
        await rig.reconcile(name)
        if before == await written(rig, name):
            break
    else:
        pytest.fail(f"it never rests: {spec}")
    ready = await rig.condition("Ready", name)
    assert ready["reason"] not in FAULTS, f"{ready['message']}; of {spec}"


@fuzz
@given(data=st.data())
async def test_a_budget_is_evaluated_or_says_why_not(data: st.DataObject, rig: Rig, taken: Counter[bool]) -> None:
    if not (made := await make(rig, BUDGET, f"fuzz-{next(_serial)}", data)):
        return
    await rig.costs.look(rig.namespace)
    status = (await rig.admin.get(BUDGET, rig.namespace, made["metadata"]["name"]))["status"]
    (evaluated,) = (one for one in status["conditions"] if one["type"] == "Evaluated")
    read = parse_budget(made)
    assert (evaluated["reason"] == BUDGET_INVALID) == isinstance(read, Invalid), evaluated
    assert not isinstance(read, Invalid) or all(error.path in evaluated["message"] for error in read.errors)
    taken[not isinstance(read, Invalid)] += 1
    assert taken.total() < TWENTY or min(taken[True], taken[False]) >= 3, "one of the two hardly ever happened"


async def written(rig: Rig, name: str) -> list[tuple[str, str]]:
    """The versions of a model and its children, as the operator knows them from the answers to its writes."""
    found = rig.store.of_model(rig.key(name), [MODEL.kind, *(resource.kind for resource in CHILDREN)])
    return [(f"{one['kind']} {one['metadata']['name']}", one["metadata"]["resourceVersion"]) for one in found]
