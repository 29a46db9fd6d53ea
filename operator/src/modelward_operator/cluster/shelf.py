"""The live objects of the operator's own namespace that concern the activator: its pods, its routes, who may connect to it.

Apart from the models' store, because nothing here belongs to a model, and because the two would drop each other's objects: a listing
ends with what it did not contain. Fed by streams of watch.py, read by switchboard.py and hearing.py.
"""

from typing import Any, Final

from modelward_operator.cluster.kinds import CONFIG_MAP, NETWORK_POLICY, POD, Resource
from modelward_operator.cluster.notation import write_json
from modelward_operator.cluster.store import Store, ref_of
from modelward_operator.facts import Json, Key
from modelward_operator.plan import names
from modelward_operator.plan.routes import CALLERS, ROUTES

FOLLOWED: Final[tuple[tuple[Resource, str], ...]] = (
    (POD, ",".join(f"{key}={value}" for key, value in names.ACTIVATOR_PODS.items())),
    (CONFIG_MAP, f"{names.ACTIVATOR_PART}={ROUTES}"),
    (NETWORK_POLICY, f"{names.ACTIVATOR_PART}={CALLERS}"),
)
"""What is followed, and by which labels."""


def _whole(obj: Json) -> bytes:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return write_json({**obj, "metadata": metadata})


class Shelf(Store):
    """A store whose objects ring by their own names."""

    def __init__(self, namespace: str) -> None:
        super().__init__(keep=_whole)
        self._own = Key(namespace, "")

    def keys_of(self, obj: Json) -> set[Key]:
        """Return the object's own key: whoever is rung looks at everything here."""
        kind, namespace, name = ref_of(obj)
        return {Key(namespace, name, kind)}

    def all(self, resource: Resource) -> list[dict[str, Any]]:
        """Return fresh copies of the objects of a kind, sorted by name."""
        return self.of_model(self._own, [resource.kind])
