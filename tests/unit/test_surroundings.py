"""What lies around a model: read once for all, asked for only where it matters, and Unreadable rather than guessed."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from modelward_operator.api.parse import Invalid, parse_privacy
from modelward_operator.cluster.bells import Bells
from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.kinds import Resource
from modelward_operator.cluster.store import Store
from modelward_operator.cluster.surroundings import Surveyor
from modelward_operator.errors import Unreadable
from modelward_operator.facts import Json, Key
from tests.makers import make_model
from tests.privacy_specs import FILE, audit, privacy_policy
from tests.specs import HEX

KEY = Key("risk", "fraud")
TRUST = {"mode": "Required", "trust": [{"name": "ci", "keyRef": {"name": "ci-pub"}}]}
SIGNED = {"security": {"verification": TRUST}}
SIGNERS: dict[str, Any] = {"requireVerification": True, "trustedSigners": [f"sha256:{HEX}"]}


class Api:
    """A client that answers from a table, counts what it is asked, and is down when told so."""

    def __init__(self, **objects: Json) -> None:
        self.objects, self.asked, self.down = objects, list[str](), False

    async def get(self, resource: Resource, namespace: str, name: str) -> Json:
        self.asked.append(f"{resource.kind} {namespace}/{name}")
        if self.down:
            raise Unreadable("503")
        if name not in self.objects:
            raise NotFound("404")
        return self.objects[name]


def namespace(version: int = 1, name: str = "risk", **labels: str) -> Json:
    metadata = {"name": name, "uid": name, "resourceVersion": str(version), "labels": labels}
    return {"kind": "Namespace", "metadata": metadata, "spec": {"finalizers": ["kubernetes"]}}


def policy(name: str = "floor", version: int = 1, selector: Json | None = None, **demands: Any) -> dict[str, Any]:
    spec = {"namespaceSelector": {"matchLabels": selector or {}}, **(demands or {"requireEncryption": True})}
    return {
        "kind": "ModelPolicy",
        "metadata": {"name": name, "uid": name, "resourceVersion": str(version)},
        "spec": spec,
    }


def filled(*objects: Json) -> Store:
    store = Store()
    for obj in objects:
        store.feed(obj)
    return store


def surveyor(
    api: Api, store: Store | None = None, *, clusterwide: bool = True, clock: Callable[[], float] = lambda: 0.0
) -> Surveyor:
    return Surveyor(cast("Client", api), store or Store(), clusterwide=clusterwide, clock=clock)


async def test_where_every_namespace_is_served_labels_and_policies_cost_no_request() -> None:
    api = Api()
    store = filled(namespace(tier="prod"), policy(selector={"tier": "prod"}), policy("other", selector={"tier": "dev"}))
    found = await surveyor(api, store).read(KEY, make_model(SIGNED))
    assert found.labels == {"tier": "prod"}
    assert [p.name for p in found.policies] == ["floor"]
    assert api.asked == []


async def test_a_namespace_that_is_not_known_yet_is_not_one_without_labels() -> None:
    with pytest.raises(Unreadable, match="namespace risk"):
        await surveyor(Api(), Store()).read(KEY, make_model())


async def test_a_policy_that_cannot_be_read_is_not_none() -> None:
    store = filled(namespace(), policy(requireEncryption="maybe"))
    found = await surveyor(Api(), store).read(KEY, make_model())
    assert () == found.policies
    (told,) = found.unread_policies
    assert told.startswith("ModelPolicy floor (generation 0) cannot be read: spec.requireEncryption: "), told


@pytest.mark.parametrize(
    ("reason", "selector", "holds"),
    [
        ("clearly another namespace", {"matchLabels": {"tier": "dev"}}, False),
        ("this one", {"matchLabels": {"tier": "prod"}}, True),
        ("everybody", {}, True),
        ("a selector that cannot be read either", {"matchLabels": ["tier"]}, True),
        ("none", None, True),
    ],
)
async def test_a_policy_that_cannot_be_read_holds_up_those_that_it_may_select(
    reason: str, selector: Json | None, holds: bool
) -> None:
    broken = policy(requireEncryption="maybe")
    broken["spec"]["namespaceSelector"] = selector
    subject = surveyor(Api(), filled(namespace(tier="prod"), broken))
    found = await subject.read(KEY, make_model())
    assert ((), holds) == (found.policies, bool(found.unread_policies)), reason


async def test_where_some_namespaces_are_served_the_tenant_is_asked_for_only_where_it_matters_and_kept() -> None:
    now = 0.0
    api = Api(risk={"metadata": {"labels": {"modelward.dev/tenant": "a"}}})
    subject = surveyor(api, clusterwide=False, clock=lambda: now)
    assert (await subject.read(KEY, make_model())).labels == {}
    assert api.asked == []
    for _ in range(3):
        assert (await subject.read(KEY, make_model(SIGNED))).labels == {"modelward.dev/tenant": "a"}
    assert api.asked == ["Namespace /risk"]
    now = 31.0
    await subject.read(KEY, make_model(SIGNED))
    assert len(api.asked) == 2


CLAIMS: list[tuple[str, Json, Json, bool, str]] = [
    # why this row, the labels of risk, the model's spec, whether every namespace is served, who claims its name
    ("its name is another's tenant", {}, SIGNED, True, "shop"),
    ("an empty label is none", {"modelward.dev/tenant": ""}, SIGNED, True, "shop"),
    ("it has a label of its own", {"modelward.dev/tenant": "acme"}, SIGNED, True, ""),
    ("they are one tenant on purpose", {"modelward.dev/tenant": "risk"}, SIGNED, True, ""),
    ("nothing of the model depends on the tenant", {}, {}, True, ""),
]


@pytest.mark.parametrize(
    ("reason", "labels", "spec", "clusterwide", "expected"), CLAIMS, ids=[case[0] for case in CLAIMS]
)
async def test_a_name_that_another_namespace_claims_as_its_tenant(
    reason: str, labels: Json, spec: Json, clusterwide: bool, expected: str
) -> None:
    store = filled(
        namespace(**labels),
        namespace(1, "shop", **{"modelward.dev/tenant": "risk"}),
        namespace(1, "other", **{"modelward.dev/tenant": "risk-eu"}),
        namespace(1, "decoy", **{"example.com/note": '"modelward.dev/tenant":"risk"'}),
    )
    found = await surveyor(Api(), store, clusterwide=clusterwide).read(KEY, make_model(spec))
    assert found.tenant_claimed_by == expected, reason


async def test_a_tenant_that_cannot_be_read_is_not_the_namespaces_name() -> None:
    api = Api()
    api.down = True
    with pytest.raises(Unreadable):
        await surveyor(api, clusterwide=False).read(KEY, make_model(SIGNED))


@pytest.mark.parametrize(
    "spec",
    [
        audit(f"required: true, {FILE}"),
        audit(f"{FILE}, retention: {{minDays: 1, maxDays: 7}}"),
        f"{{logging: {{mode: Metadata, {FILE}, retention: {{minDays: 1, maxDays: 7}}}}}}",
    ],
)
async def test_a_privacy_policy_of_an_earlier_release_stays_in_force(spec: str) -> None:
    """Admission refuses it now, in the words that its models repeat."""
    raw = privacy_policy(spec)
    refused = parse_privacy(raw)
    assert isinstance(refused, Invalid)
    named = make_model({"privacy": {"policyRef": {"name": "standard"}}})
    found = await surveyor(Api(standard={**raw, "metadata": {"name": "standard"}}), filled(namespace())).read(
        KEY, named
    )
    assert list(found.privacy) == ["standard"]
    assert (str(refused), "") == (found.privacy["standard"].outdated, found.unread)


async def test_public_keys_are_read_only_under_a_policy_that_names_signers() -> None:
    api = Api(**{"ci-pub": {"data": {"public.pem": "x"}}})
    await surveyor(api, filled(namespace(), policy())).read(KEY, make_model(SIGNED))
    assert api.asked == []
    found = await surveyor(api, filled(namespace(), policy(**SIGNERS))).read(KEY, make_model(SIGNED))
    assert api.asked == ["ConfigMap risk/ci-pub"]
    assert found.trust == {"ci-pub": {"data": {"public.pem": "x"}}}


async def test_a_public_key_that_is_not_there_is_absent_and_one_that_cannot_be_read_is_unknown() -> None:
    api, store = Api(), filled(namespace(), policy(**SIGNERS))
    assert (await surveyor(api, store).read(KEY, make_model(SIGNED))).trust == {}
    api.down = True
    with pytest.raises(Unreadable):
        await surveyor(api, store).read(KEY, make_model(SIGNED))


def model(name: str, where: str) -> Json:
    return make_model(name=name, namespace=where, uid=f"{where}-{name}", resourceVersion="1")


def rung(bells: Bells, key: Key, rings: list[Key]) -> list[str]:
    rings.clear()
    bells.ring(key, True)
    return sorted(map(str, rings))


def test_a_change_rings_for_the_models_that_it_bears_on() -> None:
    rings: list[Key] = []
    store = filled(
        namespace(name="risk", tier="prod"),
        namespace(name="shop", tier="dev"),
        model("a", "risk"),
        model("b", "shop"),
        model("c", "shop"),
    )
    bells = Bells(store, lambda key, _live: rings.append(key))
    floor = Key("", "floor", "ModelPolicy")
    assert rung(bells, KEY, rings) == ["risk/fraud"]
    assert rung(bells, Key("", "shop", "Namespace"), rings) == ["shop/b", "shop/c"]
    store.feed(policy(version=2, selector={"tier": "prod"}))
    assert rung(bells, floor, rings) == ["risk/a"]
    store.feed(policy(version=3, selector={"tier": "dev"}))
    assert rung(bells, floor, rings) == ["risk/a", "shop/b", "shop/c"], "what it held before as well"
    store.drop(policy(version=4))
    assert rung(bells, floor, rings) == ["shop/b", "shop/c"]
    store.feed(policy(version=5, requireEncryption="maybe"))
    assert rung(bells, floor, rings) == ["risk/a", "shop/b", "shop/c"], "whom it holds is not known"


def test_a_tenant_label_rings_for_the_namespace_of_that_name_as_well() -> None:
    rings: list[Key] = []
    store = filled(namespace(name="risk"), namespace(name="shop"), model("a", "risk"), model("b", "shop"))
    bells, shop = Bells(store, lambda key, _live: rings.append(key)), Key("", "shop", "Namespace")
    assert rung(bells, shop, rings) == ["shop/b"]
    store.feed(namespace(2, "shop", **{"modelward.dev/tenant": "risk"}))
    assert rung(bells, shop, rings) == ["risk/a", "shop/b"]
    store.feed(namespace(3, "shop", **{"modelward.dev/tenant": "risk", "team": "x"}))
    assert rung(bells, shop, rings) == ["shop/b"], "the tenant is the same"
    store.drop(namespace(4, "shop"))
    assert rung(bells, shop, rings) == ["risk/a", "shop/b"], "its claim is over"


def test_a_namespace_that_was_labelled_after_the_policy_is_rung_for_when_the_policy_lets_go() -> None:
    rings: list[Key] = []
    store = filled(namespace(tier="dev"), model("a", "risk"), policy(selector={"tier": "prod"}))
    bells = Bells(store, lambda key, _live: rings.append(key))
    floor = Key("", "floor", "ModelPolicy")
    assert rung(bells, floor, rings) == []
    store.feed(namespace(version=2, tier="prod"))
    store.drop(policy(version=3))
    assert rung(bells, floor, rings) == ["risk/a"]


def test_the_store_keeps_of_a_namespace_no_more_than_its_labels() -> None:
    body = namespace(tier="prod")
    body["metadata"]["annotations"] = {"big": "x" * 1000}
    assert filled(body).read("Namespace", "", "risk") == {
        "kind": "Namespace",
        "metadata": {"name": "risk", "uid": "risk", "resourceVersion": "1", "labels": {"tier": "prod"}},
    }


def test_a_listing_without_a_policy_that_was_known_rings_for_it() -> None:
    store = filled(policy(), model("a", "risk"))
    assert store.replace("ModelPolicy", "", [], 9) == [(("ModelPolicy", "", "floor"), Key("", "floor", "ModelPolicy"))]
    assert store.policies() == []
    assert store.models_in("risk") == [Key("risk", "a")]
    store.drop({**model("a", "risk"), "metadata": {**model("a", "risk")["metadata"], "resourceVersion": "5"}})
    assert (store.models_in("risk"), store.namespaces()) == ([], [])
