"""`is_superset` is the quick answer to what `differences` tells at length: they never disagree."""

from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from modelward_operator.cluster.compare import differences, is_superset

WORDS: Final = st.sampled_from(["a", "b", ""])
SCALARS: Final = st.one_of(WORDS, st.booleans(), st.integers(0, 2), st.none())
FIELDS: Final = st.sampled_from(["x", "args", "selector", "emptyDir", "secretKeyRef", "spec"])
MERGED: Final = {
    "containers": ("name",),
    "env": ("name",),
    "ports": ("containerPort", "protocol"),
    "ownerReferences": ("uid",),
    "volumeMounts": ("mountPath",),
}


def _objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(FIELDS, values, max_size=3)


def _items(name: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A list of maps under a name by which the API server merges, with the keys that it merges by, or without one."""
    keys = st.fixed_dictionaries({}, optional=dict.fromkeys(MERGED[name], st.sampled_from(["a", "b", "TCP", 1])))
    item = st.builds(lambda key, rest: {**rest, **key}, keys, _objects(values))
    return st.builds(lambda items: {name: items}, st.lists(item, max_size=3))


bodies = st.recursive(
    st.one_of(SCALARS, st.lists(SCALARS, max_size=2)),
    lambda inner: st.one_of(
        _objects(inner), st.lists(_objects(inner), max_size=2), *(_items(n, inner) for n in MERGED)
    ),
    max_leaves=12,
)
objects = st.one_of(_objects(bodies), *(_items(name, bodies) for name in MERGED))


@given(objects, objects)
def test_the_quick_answer_is_that_of_the_list(live: dict[str, Any], desired: dict[str, Any]) -> None:
    assert (not list(differences(live, desired))) == is_superset(live, desired)


@given(st.data(), objects)
def test_so_it_is_where_nearly_all_is_the_same(data: st.DataObject, desired: dict[str, Any]) -> None:
    live = _changed(data, desired)
    assert (not list(differences(live, desired))) == is_superset(live, desired)


def _changed(data: st.DataObject, value: Any) -> Any:
    """A copy in which here and there something is another, gone, or more. An item that is a map stays one, as the schema has it."""
    if data.draw(st.integers(0, 11)) == 0:
        return data.draw(_objects(bodies) if isinstance(value, dict) else SCALARS)
    if isinstance(value, dict):
        kept = {key: _changed(data, one) for key, one in value.items() if data.draw(st.integers(0, 11))}
        return kept | (data.draw(_objects(SCALARS)) if data.draw(st.integers(0, 3)) == 0 else {})
    if isinstance(value, list):
        more = [value[0]] if value and data.draw(st.integers(0, 7)) == 0 else []
        return [*(_changed(data, one) for one in value), *more]
    return value
