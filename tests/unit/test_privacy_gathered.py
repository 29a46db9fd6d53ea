"""A PrivacyPolicy reaches the models that name it: from the store, from the API before it counts as missing, and by a bell."""

from typing import Any, cast

import aiohttp
import pytest

from modelward_operator.cluster.bells import Bells
from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.gather import Gatherer
from modelward_operator.cluster.kinds import Resource
from modelward_operator.cluster.store import Store, key_of
from modelward_operator.cluster.surroundings import Surveyor, privacy_policy_of
from modelward_operator.errors import Conflict, Unreadable
from modelward_operator.facts import Json, Key
from tests.makers import INSTALLATION, NOW, make_model
from tests.privacy_specs import privacy_policy

KEY = Key("risk", "fraud")
NAMED = {"privacy": {"policyRef": {"name": "standard"}}}


def standard(version: int = 1, namespace: str = "risk", spec: str = "{input: {maxElements: 10}}") -> dict[str, Any]:
    """Return a live PrivacyPolicy `standard`."""
    made = privacy_policy(spec, "standard")
    meta = {"namespace": namespace, "uid": namespace, "resourceVersion": str(version), "generation": version}
    return {**made, "metadata": {**made["metadata"], **meta}}


class Api:
    """A client that knows the objects that it is given, counts what it is asked, and changes the store when told so."""

    def __init__(self, *objects: Json, down: bool = False) -> None:
        self.objects = {obj["metadata"]["name"]: obj for obj in objects}
        self.asked, self.down = list[str](), down

    async def get(self, resource: Resource, namespace: str, name: str) -> Json:
        self.asked.append(f"{resource.kind} {namespace}/{name}")
        if self.down:
            raise Unreadable("503")
        if name not in self.objects:
            raise NotFound("404")
        return self.objects[name]


def filled(*objects: Json) -> Store:
    store = Store()
    for obj in objects:
        store.feed(obj)
    return store


def surveyor(api: Api, store: Store) -> Surveyor:
    return Surveyor(cast("Client", api), store, clusterwide=False, clock=lambda: 0.0)


async def test_it_is_read_from_the_store_wherever_the_operator_serves() -> None:
    api = Api()
    found = await surveyor(api, filled(standard(4))).read(KEY, make_model(NAMED))
    assert (found.privacy["standard"].generation, found.privacy["standard"].spec.input is not None) == (4, True)
    assert api.asked == []


async def test_a_model_that_names_none_costs_nothing() -> None:
    api = Api()
    assert (await surveyor(api, filled(standard())).read(KEY, make_model())).privacy == {}
    assert api.asked == []


async def test_before_it_counts_as_missing_the_api_is_asked() -> None:
    """Model and policy come by two watches: the model's news may be the first."""
    api = Api(standard())
    assert {"standard"} == (await surveyor(api, Store()).read(KEY, make_model(NAMED))).privacy.keys()
    assert api.asked == ["PrivacyPolicy risk/standard"]
    assert (await surveyor(Api(), Store()).read(KEY, make_model(NAMED))).privacy == {}


async def test_a_policy_of_another_namespace_is_not_this_one() -> None:
    assert (await surveyor(Api(), filled(standard(namespace="shop"))).read(KEY, make_model(NAMED))).privacy == {}


async def test_what_cannot_be_read_is_unknown_and_not_missing() -> None:
    with pytest.raises(Unreadable, match="503"):
        await surveyor(Api(down=True), Store()).read(KEY, make_model(NAMED))


async def test_one_that_is_stored_and_wrong_is_neither_missing_nor_a_reason_to_try_again() -> None:
    found = await surveyor(Api(), filled(standard(5, spec="{input: {maxElements: many}}"))).read(KEY, make_model(NAMED))
    assert (
        "PrivacyPolicy standard (generation 5) cannot be read: spec.input.maxElements: input should be a valid integer"
        == found.unread
    )
    assert {} == found.privacy


@pytest.mark.parametrize(
    ("reason", "spec", "expected"),
    [
        ("it names one", NAMED, "standard"),
        ("none", {}, ""),
        ("a spec that cannot be parsed", {**NAMED, "runtime": {"threads": "four"}}, "standard"),
        ("a word", {"privacy": "standard"}, ""),
        ("a list", {"privacy": {"policyRef": ["standard"]}}, ""),
        ("nothing", {"privacy": None}, ""),
    ],
)
def test_the_name_is_read_from_whatever_is_stored(reason: str, spec: Json, expected: str) -> None:
    assert privacy_policy_of(make_model(spec)) == expected, reason


async def test_a_model_that_names_another_while_facts_are_read_is_looked_at_anew() -> None:
    store = filled(make_model(NAMED, resourceVersion="1"))

    class Meanwhile(Api):
        async def get(self, resource: Resource, namespace: str, name: str) -> Json:
            store.feed(make_model({"privacy": {"policyRef": {"name": "other"}}}, resourceVersion="2"))
            return await super().get(resource, namespace, name)

    async with aiohttp.ClientSession() as session:
        gatherer = Gatherer(cast("Client", Meanwhile()), store, INSTALLATION, session, now=lambda: NOW)
        with pytest.raises(Conflict, match="names another PrivacyPolicy"):
            await gatherer.gather(KEY)


def model(name: str, namespace: str, policy: str = "") -> Json:
    spec = {"privacy": {"policyRef": {"name": policy}}} if policy else None
    return make_model(spec, name=name, namespace=namespace, uid=f"{namespace}-{name}", resourceVersion="1")


def test_a_change_rings_for_the_models_that_name_it() -> None:
    rung: list[tuple[str, bool]] = []
    store = filled(
        model("a", "risk", "standard"),
        model("b", "risk", "other"),
        model("c", "risk"),
        model("d", "risk", "standard"),
        model("e", "shop", "standard"),
    )
    bells = Bells(store, lambda key, live: rung.append((str(key), live)))
    assert {Key("risk", "standard", "PrivacyPolicy")} == store.keys_of(standard()) == {key_of(standard())}
    bells.ring(key_of(standard()), True)
    assert rung == [("risk/a", True), ("risk/d", True)]


def test_a_listing_without_a_policy_that_was_known_rings_for_it() -> None:
    store = filled(standard())
    lost = (("PrivacyPolicy", "risk", "standard"), Key("risk", "standard", "PrivacyPolicy"))
    assert store.replace("PrivacyPolicy", "risk", [], 9) == [lost]


def test_a_policy_that_is_labelled_as_a_models_own_is_still_nobodys() -> None:
    labelled = standard()
    labelled["metadata"]["labels"] = {"modelward.dev/model": "fraud"}
    assert {Key("risk", "standard", "PrivacyPolicy")} == filled(labelled).keys_of(labelled)
