"""Which ports of the activator are whose: unique, and a model's own for as long as it has its EndpointSlice.

A new leader reads once who has which, and goes on from there: from the table of routes first, which lies in the operator's namespace, and
from the slices of models that are not in it. A slice lies in its model's namespace, where its owner may write what he likes while nobody
leads; were it believed over the table, he would be given another model's port, and with it that model's callers and their tokens.

Numbers go round, so that a model that is gone is long forgotten when another gets its ports. Called by `activators.py` in passes, so only
where the Lease is held. It does no I/O.
"""

from collections.abc import Callable, Iterator, Mapping

from modelward_operator.cluster.kinds import ENDPOINT_SLICE, MODEL
from modelward_operator.cluster.store import Store
from modelward_operator.facts import Json, Key
from modelward_operator.plan import names
from modelward_operator.plan.routes import PORTS

Pair = tuple[int, int]


class Ports:
    """Gives out ports, and takes them back. `written` gives the HTTP port of each model in the live table of routes."""

    def __init__(self, store: Store, written: Callable[[], Mapping[Key, int]] = dict, numbers: range = PORTS) -> None:
        self._store, self._written, self._numbers = store, written, numbers
        self._of: dict[Key, int] = {}
        self._whose: dict[int, Key] = {}
        self._turn = 0
        self._is_read = False

    def allot(self, key: Key) -> Pair | None:
        """Return the model's ports, its own or new ones; None when all are taken. The store must be complete."""
        if not self._is_read:
            self._read()
        number = self._of.get(key)
        if number is None:
            number = self._free()
            if number is None:
                return None
            self._take(number, key)
        return number, number + 1

    def release(self, key: Key) -> None:
        """Take back what the model has, if anything: it needs no activator any more."""
        number = self._of.pop(key, None)
        if number is not None:
            del self._whose[number]

    def _read(self) -> None:
        """Adopt what the table says, and then the slices; of two slices that claim the same, the older one has it."""
        self._is_read = True
        written = sorted((number, key) for key, number in self._written().items() if self._exists(key))
        slices = [(number, key) for _, number, key in sorted(self._claims())]
        for number, key in [*written, *slices]:
            if number not in self._whose and key not in self._of:
                self._take(number, key)

    def _claims(self) -> Iterator[tuple[str, int, Key]]:
        for namespace in self._store.namespaces():
            for key in self._store.models_in(namespace):
                found = self._store.read(ENDPOINT_SLICE.kind, namespace, names.activator_slice_name(key.name))
                model = self._store.read(MODEL.kind, namespace, key.name)
                number = claimed(found, str(model["metadata"]["uid"]))
                if number in self._numbers:
                    yield str(found["metadata"].get("creationTimestamp", "")), number, key

    def _free(self) -> int | None:
        for sweep in (False, True):
            if sweep:
                self._sweep()
            for step in range(len(self._numbers)):
                number = self._numbers[(self._turn + step) % len(self._numbers)]
                if number not in self._whose:
                    return number
        return None

    def _sweep(self) -> None:
        """Take back the ports of models that are gone: no pass tells of them."""
        for key in [k for k in self._of if not self._exists(k)]:
            self.release(key)

    def _exists(self, key: Key) -> bool:
        return bool(self._store.read(MODEL.kind, key.namespace, key.name))

    def _take(self, number: int, key: Key) -> None:
        self._of[key], self._whose[number] = number, key
        self._turn = self._numbers.index(number) + 1


def claimed(found: Json, owner: str) -> int:
    """Return the HTTP port that a slice of this owner's claims; 0 for none. A hand may have edited the annotation."""
    metadata = found.get("metadata", {})
    if not any(reference["uid"] == owner for reference in metadata.get("ownerReferences", ())):
        return 0
    first, _, second = metadata.get("annotations", {}).get(names.ACTIVATOR_PORTS, "").partition(",")
    if not (first.isascii() and first.isdigit() and second.isascii() and second.isdigit()):
        return 0
    return int(first) if int(second) == int(first) + 1 else 0
