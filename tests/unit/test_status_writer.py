"""The answer to a write of the status tells of a person's change before the watch does; the watch must still be news then."""

import copy
from typing import Any, cast

import pytest

from modelward_operator.cluster.adoption import confirm
from modelward_operator.cluster.client import Client
from modelward_operator.cluster.status import StatusWriter
from modelward_operator.cluster.store import Store
from modelward_operator.facts import Json
from tests.makers import make_given


class Answering:
    """An API server at which somebody was meanwhile."""

    def __init__(self, now: Json) -> None:
        self.now = now

    async def patch(self, *_: Any, **__: Any) -> Json:
        return self.now

    async def get(self, *_: Any) -> Json:
        return self.now


def versions(change: dict[str, Any], *, generation: int) -> tuple[Store, Any, Json, Json]:
    """A store with version 10 of a model, the facts of it, what a person made of it as 11, and as 12 what our write answers."""
    given = make_given()
    given.raw["metadata"].update(resourceVersion="10", generation=1)
    store = Store()
    store.feed(given.raw)
    changed = copy.deepcopy(dict(given.raw))
    changed["metadata"] |= {"resourceVersion": "11", "generation": generation, **change}
    answer = copy.deepcopy(changed)
    answer["metadata"]["resourceVersion"] = "12"
    return store, given, changed, answer


CHANGES = [({}, 2), ({"annotations": {"kubernetes.io/change-cause": "why"}}, 1), ({"labels": {"team": "a"}}, 1)]


@pytest.mark.parametrize(("change", "generation"), CHANGES)
async def test_a_change_by_a_person_stays_news_to_the_watch(change: dict[str, Any], generation: int) -> None:
    store, given, changed, answer = versions(change, generation=generation)
    await StatusWriter(cast("Client", Answering(answer)), store).write(given, {"conditions": []})
    assert store.feed(changed), "nobody would be rung for"
    store, given, changed, answer = versions(change, generation=generation)
    await confirm(cast("Client", Answering(answer)), store, given)
    assert store.feed(changed)


async def test_of_what_only_the_operator_changed_the_watch_tells_nothing_new() -> None:
    store, given, _, answer = versions({}, generation=1)
    await StatusWriter(cast("Client", Answering(answer)), store).write(given, {"conditions": []})
    assert not store.feed(answer)
