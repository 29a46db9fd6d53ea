"""Does the live object hold what is desired? Pure, so that a pass without differences costs no write.

`is_superset(live, desired)` finds exactly the drift that a server-side apply can repair: what it would leave alone (fields and list
items of others) does not count, what it would set or replace does. Hence the same rules as the API's schema:

    map           granular: desired keys must be there           but _ATOMIC_MAPS are compared whole
    list of maps  with a merge key in _MERGE_KEYS: item by item  else atomic: compared whole
    other lists   atomic: compared whole

Builders emit the API server's canonical form (quantities, defaults inside atomic lists), which the goldens prove on a real server.
Called by apply.py.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from modelward_operator.facts import Json

_ATOMIC_MAPS: Final = frozenset({"selector", "labelSelector", "podSelector", "namespaceSelector", "nodeSelector"})

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


def is_superset(live: Json, desired: Json) -> bool:
    """True when applying `desired` over `live` would change nothing."""
    return _holds(live, desired, "", "")


def _holds(live: object, desired: object, name: str, parent: str) -> bool:
    """`name` is the field that holds the values, `parent` the one that holds that field."""
    if isinstance(desired, Mapping):
        if not isinstance(live, Mapping):
            return not desired and live is None  # the server drops empty maps
        if name in _ATOMIC_MAPS:
            return bool(live == desired)
        return all(_holds(live.get(key), value, key, name) for key, value in desired.items())
    if isinstance(desired, list | tuple):
        keys = _PORT_KEYS.get(parent, ()) if name == "ports" else _MERGE_KEYS.get(name, ())
        if not keys:
            return list(desired) == (live if isinstance(live, list) else [])
        return _list_holds(live if isinstance(live, list) else [], desired, keys, name)
    return bool(live == desired and isinstance(live, bool) == isinstance(desired, bool))


def _list_holds(live: Sequence[Json], desired: Sequence[Json], keys: tuple[str, ...], name: str) -> bool:
    """Associative lists: each desired item has a live one with the same merge keys that holds it."""

    def identity(item: Json) -> tuple[object, ...]:
        return tuple(item.get(key, "TCP" if key == "protocol" else None) for key in keys)

    by_key = {identity(item): item for item in live}
    return all(_holds(by_key.get(identity(item)), item, name, "") for item in desired)
