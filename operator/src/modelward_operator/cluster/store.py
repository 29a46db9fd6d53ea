"""A cache of live objects, so that a pass reads the cluster without asking it.

It is fed by watch streams and listings (watch.py), by kopf's events (handlers.py) and by the answers to our own writes
(apply.py, status.py), in any order. One rule makes that safe: the newer resourceVersion wins, and a deletion is remembered for
a while, so that an older event cannot bring an object back.

    feed(obj)     ─┐                       ┌─ newer ──▶ kept, True: somebody should look
    replace(list) ─┼─▶ resourceVersion ? ──┤
    drop(obj)     ─┘                       └─ older or same ──▶ ignored, False

Objects are kept as compact JSON (compact.py, which says what is left out), of children and pods by what tells them from others of their
kind (packing.py), and parsed when read: a fraction of the memory of dicts, and no reader can change what another one sees. It does no I/O
and rings no bell: whoever feeds it does.
resourceVersions are compared as numbers, which Kubernetes 1.35 guarantees for objects of one kind.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelward_operator.cluster.compact import compact
from modelward_operator.cluster.kinds import (
    BUDGET,
    CHILDREN,
    GATEWAY,
    MODEL,
    NAMED,
    NAMESPACE,
    NODE,
    OBSERVED,
    POD,
    POLICY,
    PRICES,
    SURROUNDINGS,
)
from modelward_operator.cluster.notation import read_json, write_json
from modelward_operator.cluster.packing import Packer
from modelward_operator.facts import Json, Key
from modelward_operator.plan.exposure import claims
from modelward_operator.plan.names import MODEL_LABEL

REMEMBERED: Final = 600.0
"""Seconds for which a deletion is remembered: longer than any answer or event can be under way."""

SPARE: Final = 10_000
"""Words that are kept at least, whether or not they are of use."""
CLAIMED: Final = 1_000
"""What a route may ask for; one that asks for more is none of a model's."""

OF_NO_MODEL: Final = frozenset(resource.kind for resource in (*SURROUNDINGS, *NAMED, GATEWAY))
"""Kinds that belong to no model: their key is their own."""

INDEXED: Final = frozenset({MODEL.kind, POLICY.kind, NAMESPACE.kind, NODE.kind, PRICES.kind, BUDGET.kind})
"""Kinds that are looked up by kind and namespace, not by model."""

PACKED: Final = frozenset(resource.kind for resource in (*CHILDREN, *OBSERVED))
"""Kinds of which there are as many as models, or more; ModelDeployments are looked through for words as they lie."""

_NO_CLAIMS: Final[frozenset[str]] = frozenset()
"""One for all: an empty set is larger than many a name."""

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
    claims: frozenset[str] = frozenset()
    """What it asks of a gateway, where it is a route."""


@dataclass(frozen=True, slots=True)
class _Grave:
    version: int
    uid: str
    """Set when the API itself said that this object is gone: a UID never comes back. Leaving a watch's selector is less final."""
    since: float

    def holds(self, version: int, uid: str) -> bool:
        """True when an object of that version and UID is older than its deletion."""
        return version <= self.version or (bool(self.uid) and uid == self.uid)


class _Words:
    """Strings of which there is one each: a model's nine objects name the same namespace, and most of them the same name.

    Not `sys.intern`: what that was given once stays for ever in Python 3.12, and names of objects are others' to choose.
    """

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._most = SPARE

    def one(self, word: str) -> str:
        """Return the string that is equal to this one."""
        return self._known.setdefault(word, word)

    def tidy(self, records: Mapping[Ref, _Record]) -> None:
        """Forget what no record says any more, once that may be as much as what they do."""
        if len(self._known) > self._most:
            said = {word for ref, record in records.items() for word in (*ref, record.model)}
            self._known = {word: self._known.get(word, word) for word in said}
            self._most = 2 * len(said) + SPARE


def ref_of(obj: Json) -> Ref:
    """Return what names the object."""
    return obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


class Store:
    """The live objects that this process knows of. Not thread-safe: one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, keep: Callable[[Json], bytes] = compact) -> None:
        self._clock, self._keep = clock, keep
        self._records: dict[Ref, _Record] = {}
        self._words = _Words()
        self._packer = Packer()
        self._gone: dict[Ref, _Grave] = {}  # insertion order is age
        self._by_model: defaultdict[Key, set[Ref]] = defaultdict(set)
        self._names: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        """By kind and namespace, of the kinds in INDEXED."""
        self._claimed: defaultdict[str, set[Ref]] = defaultdict(set)
        """The routes that ask for the same."""
        self._owed: set[tuple[str, str]] = set()
        self._unserved: set[tuple[str, str]] = set()

    # ---- feeding

    def feed(self, obj: Json) -> bool:
        """Take an object as it was at its resourceVersion; True when that is news. What is nobody's business is as one that is gone."""
        ref, version = ref_of(obj), _version(obj)
        known = self._records.get(ref)
        if known is not None and version <= known.version:
            return False
        if ref in self._gone and self._gone[ref].holds(version, obj["metadata"].get("uid", "")):
            return False
        if not (body := self._keep(obj)):
            return self.drop(obj)
        if ref[0] in PACKED:
            body = self._packer.pack(ref[0], body)
        ref = ref if known else self._shared(ref)
        asked = (claims(obj) if _model(obj) else None) or _NO_CLAIMS
        asked = asked if len(asked) <= CLAIMED else _NO_CLAIMS
        if known is not None and (known.model, known.claims) != (_model(obj), asked):
            self._unlink(ref, known)
        self._records[ref] = record = _Record(
            version, obj["metadata"].get("uid", ""), self._words.one(_model(obj)), self._clock(), body, asked
        )
        for claim in asked:
            self._claimed[claim].add(ref)
        self._by_model[Key(ref[1], record.model)].add(ref)
        if ref[0] in INDEXED:
            self._names[ref[:2]].add(ref[2])
        self._gone.pop(ref, None)
        return True

    def feed_answer(self, obj: Json, before: Json) -> None:
        """Take the answer to a question or a write of our own about what was `before`, unless a person changed it meanwhile.

        The watch will tell of their change, and it has to be news then: who was fed it here would be rung for by nobody.
        """
        if _asked(obj) == _asked(before):
            self.feed(obj)

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

    def replace(self, kind: str, scope: str, objects: Iterable[Ref], version: int | None) -> list[tuple[Ref, Key]]:
        """End a listing: what it did not contain is gone. Returns what was dropped, and whose it was.

        `scope` is a namespace, or empty for all. What is newer than the listing stays, but for one without a version, when the kind
        itself is gone. The kind counts as listed from here.
        """
        present = set(objects)
        lost = [
            (ref, _key(ref, record.model))
            for ref, record in self._records.items()
            if ref[0] == kind and scope in {"", ref[1]} and ref not in present
            if version is None or record.version <= version
        ]
        for ref, _ in lost:
            self._bury(ref, version or 0)
        self._owed.discard((kind, scope))
        self._expire()
        return lost

    def expect(self, kind: str, scope: str) -> None:
        """Say that a listing of `kind` in `scope` will come, and that the store is half-filled until then."""
        self._owed.add((kind, scope))

    def mark_served(self, kind: str, scope: str, *, is_served: bool) -> bool:
        """Say whether the API server serves an optional kind now; True when that is news."""
        before = len(self._unserved)
        (self._unserved.discard if is_served else self._unserved.add)((kind, scope))
        return before != len(self._unserved)

    # ---- reading

    @property
    def unserved(self) -> frozenset[str]:
        """The optional kinds that the API server does not serve."""
        return frozenset(kind for kind, _ in self._unserved)

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
        ref = kind, namespace, name
        return self._expand(ref) if ref in self._records else {}

    def of_model(self, key: Key, kinds: Iterable[str]) -> list[dict[str, Any]]:
        """Return fresh copies of the objects of `kinds` that carry the model's label, sorted by kind and name."""
        wanted = set(kinds)
        refs = sorted(ref for ref in self._by_model.get(key, ()) if ref[0] in wanted)
        return [self._expand(ref) for ref in refs]

    def keys_of(self, obj: Json) -> set[Key]:
        """Return whom to ring for when this object changes: whose it is, and whose it was, should its label have changed.

        What is no model's rings by its own key; a route also for whom it contends with, or did until now.
        """
        ref = ref_of(obj)
        if ref[0] in OF_NO_MODEL:
            return {_key(ref, "")}
        known = self._records.get(ref)
        models = {_model(obj), known.model if known else ""} - {""}
        return {_key(ref, model) for model in models} | self.rivals_of(obj)

    def rivals_of(self, obj: Json) -> set[Key]:
        """Return the models whose routes ask for what this route asks for, or did until now; its own model may be among them."""
        known = self._records.get(ref_of(obj))
        asked = claims(obj) | (known.claims if known else frozenset())
        others = {other for claim in asked for other in self._claimed.get(claim, ())}
        return {_key(other, self._records[other].model) for other in others}

    def contenders(self, claimed: Iterable[str], key: Key) -> list[dict[str, Any]]:
        """Return fresh copies of the routes of other models that ask for one of these, the oldest first."""
        refs = {ref for claim in claimed for ref in self._claimed.get(claim, ())}
        found = [self._expand(ref) for ref in refs if Key(ref[1], self._records[ref].model) != key]
        return sorted(found, key=lambda obj: (obj["metadata"]["creationTimestamp"], ref_of(obj)))

    def heard(self, ref: Ref) -> float:
        """Return when the object was last fed, on the store's clock; -inf when it is unknown."""
        record = self._records.get(ref)
        return record.heard if record else float("-inf")

    def budgets_in(self, namespace: str) -> list[dict[str, Any]]:
        """Return fresh copies of the CostBudgets of a namespace, sorted by name."""
        names = self._names.get((BUDGET.kind, namespace), ())
        return [self._expand((BUDGET.kind, namespace, name)) for name in sorted(names)]

    def budgeted(self) -> list[str]:
        """Return the namespaces that hold CostBudgets."""
        return sorted(namespace for kind, namespace in self._names if kind == BUDGET.kind)

    def policies(self) -> list[dict[str, Any]]:
        """Return fresh copies of all ModelPolicies, sorted by name."""
        return self.of_cluster(POLICY.kind)

    def of_cluster(self, kind: str) -> list[dict[str, Any]]:
        """Return fresh copies of all objects of a kind that is the cluster's, sorted by name; of those in `INDEXED`."""
        return [self._expand((kind, "", name)) for name in sorted(self._names.get((kind, ""), ()))]

    def version(self, kind: str, namespace: str, name: str) -> int:
        """Return the resourceVersion of an object, 0 where it is not there: whether it changed is told without parsing it."""
        record = self._records.get((kind, namespace, name))
        return record.version if record else 0

    def namespaces(self) -> list[str]:
        """Return the namespaces that hold ModelDeployments."""
        return sorted(namespace for kind, namespace in self._names if kind == MODEL.kind)

    def labelled(self, label: str, value: str) -> list[str]:
        """Return the Namespaces that have the label with that value, sorted."""
        said = write_json({label: value})[1:-1]
        names = sorted(self._names.get((NAMESPACE.kind, ""), ()))
        found = [name for name in names if said in self._records[NAMESPACE.kind, "", name].body]  # few are parsed
        return [
            n for n in found if (self.read(NAMESPACE.kind, "", n)["metadata"].get("labels") or {}).get(label) == value
        ]

    def mentioning(self, kind: str, word: str) -> list[dict[str, Any]]:
        """Return fresh copies of the objects of a kind in which a word stands, sorted by name; the others are not parsed."""
        said = word.encode()
        refs = sorted(ref for ref in self._records if ref[0] == kind and said in self._body(ref))
        return [self._expand(ref) for ref in refs]

    def versions(self, kind: str) -> dict[str, int]:
        """Return the resourceVersions of all objects of a kind that is the cluster's, by name."""
        return {name: self.version(kind, "", name) for name in self._names.get((kind, ""), ())}

    def models_with_pods(self) -> list[Key]:
        """Return the keys of what pods belong to, whether or not the ModelDeployment still exists."""
        return sorted(
            key for key, refs in self._by_model.items() if key.name and any(ref[0] == POD.kind for ref in refs)
        )

    def models_in(self, namespace: str, saying: str = "") -> list[Key]:
        """Return the keys of the ModelDeployments of a namespace; only of those that may have the JSON string `saying` somewhere."""
        said = json.dumps(saying).encode() if saying else b""
        names = sorted(self._names.get((MODEL.kind, namespace), ()))
        return [Key(namespace, name) for name in names if said in self._records[MODEL.kind, namespace, name].body]

    def sizes(self) -> Mapping[str, int]:
        """Return the number of objects per kind."""
        counts: defaultdict[str, int] = defaultdict(int)
        for ref in self._records:
            counts[ref[0]] += 1
        return counts

    # ---- inside

    def _body(self, ref: Ref) -> bytes:
        body = self._records[ref].body
        return self._packer.unpack(ref[0], body) if ref[0] in PACKED else body

    def _expand(self, ref: Ref) -> dict[str, Any]:
        parsed: dict[str, Any] = read_json(self._body(ref))
        return parsed

    def _shared(self, ref: Ref) -> Ref:
        self._words.tidy(self._records)
        kind, namespace, name = ref
        return self._words.one(kind), self._words.one(namespace), self._words.one(name)

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
        for claim in record.claims:
            self._claimed[claim].discard(ref)
            if not self._claimed[claim]:
                del self._claimed[claim]
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


def _asked(obj: Json) -> tuple[object, ...]:
    """Return what people write of an object: its status is ours."""
    meta = obj["metadata"]
    return (
        meta["uid"],
        meta.get("generation"),
        meta.get("deletionTimestamp"),
        meta.get("labels"),
        meta.get("annotations"),
    )


def _version(obj: Json) -> int:
    return int(obj["metadata"]["resourceVersion"])
