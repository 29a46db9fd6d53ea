"""A cache of live objects, so that a pass reads the cluster without asking it.

It is fed by watch streams and listings (watch.py), by kopf's events (handlers.py) and by the answers to our own writes
(apply.py, status.py), in any order. One rule makes that safe: the newer resourceVersion wins, and a deletion is remembered for
a while, so that an older event cannot bring an object back.

    feed(obj)     ─┐                       ┌─ newer ──▶ kept, True: somebody should look
    replace(list) ─┼─▶ resourceVersion ? ──┤
    drop(obj)     ─┘                       └─ older or same ──▶ ignored, False

Objects are kept as compact JSON (compact.py, which says what is left out) and parsed when read: a fifth of the memory of dicts, and no
reader can change what another one sees. It does no I/O and rings no bell: whoever feeds it does.
resourceVersions are compared as numbers, which Kubernetes 1.35 guarantees for objects of one kind.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelward_operator.cluster.compact import compact
from modelward_operator.cluster.kinds import MODEL, NAMED, NAMESPACE, POLICY, SURROUNDINGS
from modelward_operator.facts import Json, Key
from modelward_operator.plan.names import MODEL_LABEL

REMEMBERED: Final = 600.0
"""Seconds for which a deletion is remembered: longer than any answer or event can be under way."""

OF_NO_MODEL: Final = frozenset(resource.kind for resource in (*SURROUNDINGS, *NAMED))
"""Kinds that belong to no model: their key is their own."""

INDEXED: Final = frozenset({MODEL.kind, POLICY.kind, NAMESPACE.kind})
"""Kinds that are looked up by kind and namespace, not by model."""

Ref = tuple[str, str, str]
"""Kind, namespace, name."""


@dataclass(frozen=True, slots=True)
class _Record:
    version: int
    uid: str
    model: str
    """The model that the object belongs to: its label; for a ModelDeployment its own name."""
    heard: float
    body: bytes


@dataclass(frozen=True, slots=True)
class _Grave:
    version: int
    uid: str
    """Set when the API itself said that this object is gone: a UID never comes back. Leaving a watch's selector is less final."""
    since: float

    def holds(self, version: int, uid: str) -> bool:
        """True when an object of that version and UID is older than its deletion."""
        return version <= self.version or (bool(self.uid) and uid == self.uid)


def ref_of(obj: Json) -> Ref:
    """Return what names the object."""
    return obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


class Store:
    """The live objects that this process knows of. Not thread-safe: one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: dict[Ref, _Record] = {}
        self._gone: dict[Ref, _Grave] = {}  # insertion order is age
        self._by_model: defaultdict[Key, set[Ref]] = defaultdict(set)
        self._names: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        """By kind and namespace, of the kinds in INDEXED."""
        self._owed: set[tuple[str, str]] = set()

    # ---- feeding

    def feed(self, obj: Json) -> bool:
        """Take an object as it was at its resourceVersion; True when that is news."""
        ref, version = ref_of(obj), _version(obj)
        known = self._records.get(ref)
        if known is not None and version <= known.version:
            return False
        if ref in self._gone and self._gone[ref].holds(version, obj["metadata"].get("uid", "")):
            return False
        if known is not None and known.model != _model(obj):
            self._unlink(ref, known)
        self._records[ref] = record = _Record(
            version, obj["metadata"].get("uid", ""), _model(obj), self._clock(), compact(obj)
        )
        self._by_model[Key(ref[1], record.model)].add(ref)
        if ref[0] in INDEXED:
            self._names[ref[:2]].add(ref[2])
        self._gone.pop(ref, None)
        return True

    def drop(self, obj: Json) -> bool:
        """Take a deletion; `obj` is the last state, at the resourceVersion of the deletion. True when that is news."""
        ref, version = ref_of(obj), _version(obj)
        known = self._records.get(ref)
        if known is not None and version < known.version:
            return False  # an older incarnation
        self._bury(ref, version)
        return known is not None

    def forget(self, ref: Ref, uid: str) -> bool:
        """Take an API answer that the object with `uid` is not there (any more). True when that is news."""
        known = self._records.get(ref)
        if known is None or known.uid != uid:
            return False
        self._bury(ref, known.version, uid)
        return True

    def replace(self, kind: str, scope: str, objects: Iterable[Ref], version: int) -> list[tuple[Ref, Key]]:
        """End a listing: what it did not contain is gone. Returns what was dropped, and whose it was.

        `scope` is a namespace, or empty for all. What is newer than the listing stays. The kind counts as listed from here.
        """
        present = set(objects)
        lost = [
            (ref, _key(ref, record.model))
            for ref, record in self._records.items()
            if ref[0] == kind and scope in {"", ref[1]} and ref not in present and record.version <= version
        ]
        for ref, _ in lost:
            self._bury(ref, version)
        self._owed.discard((kind, scope))
        self._expire()
        return lost

    def expect(self, kind: str, scope: str) -> None:
        """Say that a listing of `kind` in `scope` will come, and that the store is half-filled until then."""
        self._owed.add((kind, scope))

    # ---- reading

    @property
    def complete(self) -> bool:
        """True once everything expected was listed: only then does absence mean absence."""
        return not self._owed

    @property
    def missing(self) -> list[str]:
        """The kinds that are still to be listed, for messages."""
        return sorted({kind for kind, _ in self._owed})

    def read(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """Return a fresh copy of the object, or an empty one."""
        record = self._records.get((kind, namespace, name))
        return _expand(record) if record else {}

    def of_model(self, key: Key, kinds: Iterable[str]) -> list[dict[str, Any]]:
        """Return fresh copies of the objects of `kinds` that carry the model's label, sorted by kind and name."""
        wanted = set(kinds)
        refs = sorted(ref for ref in self._by_model.get(key, ()) if ref[0] in wanted)
        return [_expand(self._records[ref]) for ref in refs]

    def keys_of(self, obj: Json) -> set[Key]:
        """Return whom to ring for when this object changes: whose it is, and whose it was, should its label have changed.

        What is no model's rings by its own key.
        """
        ref = ref_of(obj)
        if ref[0] in OF_NO_MODEL:
            return {_key(ref, "")}
        known = self._records.get(ref)
        models = {_model(obj), known.model if known else ""} - {""}
        return {_key(ref, model) for model in models}

    def heard(self, ref: Ref) -> float:
        """Return when the object was last fed, on the store's clock; -inf when it is unknown."""
        record = self._records.get(ref)
        return record.heard if record else float("-inf")

    def policies(self) -> list[dict[str, Any]]:
        """Return fresh copies of all ModelPolicies, sorted by name."""
        names = self._names.get((POLICY.kind, ""), ())
        return [_expand(self._records[POLICY.kind, "", name]) for name in sorted(names)]

    def namespaces(self) -> list[str]:
        """Return the namespaces that hold ModelDeployments."""
        return sorted(namespace for kind, namespace in self._names if kind == MODEL.kind)

    def labelled(self, label: str, value: str) -> list[str]:
        """Return the Namespaces that have the label with that value, sorted."""
        said = json.dumps({label: value}, separators=(",", ":"), ensure_ascii=False)[1:-1].encode()
        names = sorted(self._names.get((NAMESPACE.kind, ""), ()))
        found = [name for name in names if said in self._records[NAMESPACE.kind, "", name].body]  # few are parsed
        return [
            n for n in found if (self.read(NAMESPACE.kind, "", n)["metadata"].get("labels") or {}).get(label) == value
        ]

    def models_in(self, namespace: str) -> list[Key]:
        """Return the keys of the ModelDeployments of a namespace."""
        return [Key(namespace, name) for name in sorted(self._names.get((MODEL.kind, namespace), ()))]

    def sizes(self) -> Mapping[str, int]:
        """Return the number of objects per kind."""
        counts: defaultdict[str, int] = defaultdict(int)
        for ref in self._records:
            counts[ref[0]] += 1
        return counts

    # ---- inside

    def _bury(self, ref: Ref, version: int, uid: str = "") -> None:
        record = self._records.pop(ref, None)
        if record is not None:
            self._unlink(ref, record)
            version = max(version, record.version)
        grave = self._gone.pop(ref, None)  # so that it goes to the end of the line
        if grave is not None:
            version, uid = max(version, grave.version), uid or grave.uid
        self._gone[ref] = _Grave(version, uid, self._clock())
        self._expire()

    def _unlink(self, ref: Ref, record: _Record) -> None:
        key = Key(ref[1], record.model)
        self._by_model[key].discard(ref)
        if not self._by_model[key]:
            del self._by_model[key]
        if ref[0] in INDEXED:
            self._names[ref[:2]].discard(ref[2])
            if not self._names[ref[:2]]:
                del self._names[ref[:2]]

    def _expire(self) -> None:
        limit = self._clock() - REMEMBERED
        while self._gone:
            oldest = next(iter(self._gone))
            if self._gone[oldest].since > limit:
                return
            del self._gone[oldest]


def key_of(obj: Json) -> Key:
    """Return the key to ring for when this object changes: its model's, or its own where it belongs to none."""
    return _key(ref_of(obj), _model(obj))


def _key(ref: Ref, model: str) -> Key:
    return Key(ref[1], ref[2], ref[0]) if ref[0] in OF_NO_MODEL else Key(ref[1], model)


def _model(obj: Json) -> str:
    meta = obj["metadata"]
    return str(meta["name"] if obj["kind"] == "ModelDeployment" else meta.get("labels", {}).get(MODEL_LABEL, ""))


def _version(obj: Json) -> int:
    return int(obj["metadata"]["resourceVersion"])


def _expand(record: _Record) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(record.body)
    return parsed
