"""Does the live object hold what is desired? Pure, so that a pass without differences costs no write.

`is_superset(live, desired)` finds exactly the drift that a server-side apply can repair: what it would leave alone (fields and list
items of others) does not count, what it would set or replace does. Hence the same rules as the API's schema:

    map           granular: desired keys must be there           but what `is_atomic` names is compared whole
    list of maps  with a merge key of `merge_keys`: item by item else atomic: compared whole
    other lists   atomic: compared whole

An item that comes twice under a merge key of ours is a difference too: an apply leaves one.

`unclashed(live, desired)` is for what an apply cannot repair: an item of others that bears the name of one of ours under another merge key,
as a port whose protocol somebody changed, which the API server would not have beside ours.

Builders emit the API server's canonical form (quantities, defaults inside atomic lists), which the goldens prove on a real server;
`tests/integration/test_merge_rules.py` holds these rules to the API server's own schema.
Called by apply.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from modelward_operator.facts import Json

Path = tuple[str, ...]
"""Where a value lies: names of fields, and in brackets the merge keys of an item."""

_ATOMIC_MAPS: Final = frozenset(
    {
        "fieldRef",
        "imagePullSecrets",
        "labelSelector",
        "namespaceSelector",
        "nodeSelector",
        "ownerReferences",
        "podSelector",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "roleRef",
        "secretKeyRef",
        "selector",
    }
)
"""Also of lists: each item is then one such map."""

_MERGE_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "ownerReferences": ("uid",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
_PORT_KEYS: Final = {"containers": ("containerPort", "protocol"), "spec": ("port", "protocol")}
"""`ports` merges by what it lies in: a container's and a Service's have different keys, a NetworkPolicy's are atomic."""
_MAPS: Final = (dict, Mapping)  # dict first: to ask the abstract class takes far longer
_LISTS: Final = (list, tuple)
_TWICE: Final[Json] = {}
"""Stands for the items that share a merge key."""
_DEFAULTS: Final = {"protocol": "TCP"}
"""Of merge keys: an item that lacks one is known by it."""


def is_superset(live: Json, desired: Json) -> bool:
    """True when applying `desired` over `live` would change nothing: `differences` would find none, and says which, in twice the time."""
    return _holds(live, desired, "", "")


def differences(live: Json, desired: Json) -> Iterator[tuple[Path, object]]:
    """Yield where applying `desired` over `live` would change something, and what is there now; None where nothing is."""
    return _differences(live, desired, "", "")


def unclashed(live: Json, desired: Json) -> Json:
    """Return of the live object what is desired, as it would be after an apply, but without the items of others that clash with ours."""
    return {key: _merged(live.get(key), value, key, "") for key, value in desired.items()}


def is_atomic(name: str) -> bool:
    """True when a field of that name holds a map that an apply replaces whole."""
    return name in _ATOMIC_MAPS


def merge_keys(name: str, parent: str) -> tuple[str, ...]:
    """Return what tells the items of a list apart, by its name and that of the field which holds it; empty when it is atomic."""
    return _PORT_KEYS.get(parent, ()) if name == "ports" else _MERGE_KEYS.get(name, ())


def _holds(live: object, desired: object, name: str, parent: str) -> bool:
    """Answer as `_differences` does, in half its time: every pass asks it of every child, and hardly ever is there a difference.

    Both say the same rules; `tests/properties/test_drift.py` holds them to each other.
    """
    if isinstance(desired, str):  # most values are
        return live == desired
    if isinstance(desired, _MAPS):
        return _holds_map(live, desired, name) if isinstance(live, _MAPS) else live is None and not desired
    if isinstance(desired, _LISTS):
        items = live if isinstance(live, list) else []
        keys = merge_keys(name, parent)
        return _holds_items(items, desired, keys, name) if keys else list(desired) == items
    return live == desired and isinstance(live, bool) == isinstance(desired, bool)


def _holds_map(live: Json, desired: Json, name: str) -> bool:
    if name in _ATOMIC_MAPS:
        return live == desired
    for key, value in desired.items():  # noqa: SIM110  -- all() with a generator takes half as long again
        if not _holds(live.get(key), value, key, name):
            return False
    return True


def _holds_items(live: Sequence[Json], desired: Sequence[Json], keys: tuple[str, ...], name: str) -> bool:
    by_key: dict[tuple[object, ...], Json | None] = {}
    for item in live:
        identity = _identity(item, keys)
        by_key[identity] = _TWICE if identity in by_key else item
    for item in desired:
        found = by_key.get(_identity(item, keys))
        if found is _TWICE or not _holds(found, item, name, ""):
            return False
    return True


def _differences(live: object, desired: object, name: str, parent: str) -> Iterator[tuple[Path, object]]:
    """`name` is the field that holds the values, `parent` the one that holds that field."""
    if isinstance(desired, Mapping):
        if not isinstance(live, Mapping):
            if desired or live is not None:  # the server drops empty maps
                yield (), live
        elif is_atomic(name):
            yield from _unless(live == desired, live)
        else:
            for key, value in desired.items():
                for path, found in _differences(live.get(key), value, key, name):
                    yield (key, *path), found
    elif isinstance(desired, list | tuple):
        items = live if isinstance(live, list) else []
        if keys := merge_keys(name, parent):
            yield from _item_differences(items, desired, keys, name)
        else:
            yield from _unless(list(desired) == items, live)
    else:
        yield from _unless(live == desired and isinstance(live, bool) == isinstance(desired, bool), live)


def _unless(same: bool, live: object) -> Iterator[tuple[Path, object]]:
    if not same:
        yield (), live


def _item_differences(
    live: Sequence[Json], desired: Sequence[Json], keys: tuple[str, ...], name: str
) -> Iterator[tuple[Path, object]]:
    """Associative lists: each desired item has one live one with the same merge keys, and that holds it."""
    by_key: dict[tuple[object, ...], list[Json]] = {}
    for item in live:
        by_key.setdefault(_identity(item, keys), []).append(item)
    for item in desired:
        found = by_key.get(_identity(item, keys), [None])
        where = f"[{', '.join(map(str, _identity(item, keys)))}]"
        if len(found) > 1:
            yield (where,), found
        else:
            for path, value in _differences(found[0], item, name, ""):
                yield (where, *path), value


def _merged(live: object, desired: object, name: str, parent: str) -> object:
    if isinstance(desired, Mapping) and isinstance(live, Mapping) and not is_atomic(name):
        return {**live, **{key: _merged(live.get(key), value, key, name) for key, value in desired.items()}}
    if isinstance(desired, list | tuple) and isinstance(live, list) and (keys := merge_keys(name, parent)):
        return _merged_items(live, desired, keys, name)
    return desired


def _merged_items(live: Sequence[Json], desired: Sequence[Json], keys: tuple[str, ...], name: str) -> list[object]:
    there = {_identity(item, keys): item for item in live}
    ours = {_identity(item, keys) for item in desired}
    named = {item["name"] for item in desired if "name" in item and "name" not in keys and name != "volumeMounts"}
    others = [item for item in live if _identity(item, keys) not in ours and item.get("name") not in named]
    return [*(_merged(there.get(_identity(item, keys)), item, name, "") for item in desired), *others]


def _identity(item: Json, keys: tuple[str, ...]) -> tuple[object, ...]:
    if len(keys) == 1:  # a tuple by hand: most lists have one key, and this is asked of every item of every child
        return (item.get(keys[0], _DEFAULTS.get(keys[0])),)
    return tuple([item.get(key, _DEFAULTS.get(key)) for key in keys])
