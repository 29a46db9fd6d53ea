"""A model's history as a document: what served, since when, what changed from one to the next, and how the present spec stands to it.

Pure: `revisions_cli.py` reads, this module compares, `revisions_text.py` shows. Entries are ControllerRevisions that the operator made
(`plan/history.py`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from modelward_operator.api.model import Model
from modelward_operator.api.parse import Invalid, parse
from modelward_operator.plan.history import content, is_entry
from modelward_operator.plan.names import CHANGE_CAUSE, revision_name

Json = dict[str, Any]
_ABSENT: Final = object()


def ours(model: Json, entries: Iterable[Json]) -> list[Json]:
    """Return the model's own entries in their order; what only has their labels, or not their form or name, is none."""
    name, uid = model["metadata"]["name"], model["metadata"]["uid"]
    found = (one for one in entries if any(o["uid"] == uid for o in one["metadata"].get("ownerReferences", ())))
    formed = (
        one for one in found if is_entry(one) and one["metadata"]["name"] == revision_name(name, int(one["revision"]))
    )
    return sorted(formed, key=lambda one: int(one["revision"]))


def history(model: Json, entries: Sequence[Json]) -> Json:
    """Return the document; `entries` are `ours`."""
    metadata, before = model["metadata"], list[Json]([{}, *(one["data"]["spec"] for one in entries)])
    rows = [_row(one, old) for one, old in zip(entries, before, strict=False)]
    if rows:
        rows[0]["changed"] = []  # what came before is forgotten
    return {
        "kind": "History",
        "apiVersion": "modelward.dev/v1alpha1",
        "model": {key: metadata.get(key) for key in ("namespace", "name", "uid", "generation")},
        "serving": model.get("status", {}).get("revision", {}).get("number"),
        "revisions": rows,
        "present": _present(model, entries),
    }


def _row(entry: Json, before: Json) -> Json:
    data, served = entry["data"], entry["data"]["served"]
    return {
        "revision": int(entry["revision"]),
        "servedTime": served.get("time", ""),
        "digest": served.get("digest", ""),
        "version": _version(data["spec"]),
        "generation": data.get("generation"),
        "cause": entry["metadata"].get("annotations", {}).get(CHANGE_CAUSE, ""),
        "changed": changed(before, data["spec"]),
        "spec": data["spec"],
    }


def _version(spec: Json) -> str:
    return str(spec.get("model", {}).get("version", Model.model_fields["version"].default))


def _present(model: Json, entries: Sequence[Json]) -> Json:
    """How the spec that is asked for now stands to what served last."""
    conditions = {c["type"]: c for c in model.get("status", {}).get("conditions", ())}
    ready = {key: conditions.get("Ready", {}).get(key, "") for key in ("status", "reason", "message")}
    spec = parse(model)
    if isinstance(spec, Invalid):
        return {"served": False, "changed": [], "invalid": str(spec), "ready": ready}
    now = content(spec)
    last = entries[-1]["data"]["spec"] if entries else {}
    cause = model["metadata"].get("annotations", {}).get(CHANGE_CAUSE, "")
    return {
        "served": bool(entries) and now == last,
        "changed": changed(last, now) if entries else [],
        "version": _version(now),
        "cause": cause,
        "ready": ready,
    }


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the paths that differ, sorted; of a list as a whole. An absent struct has the fields of an empty one: none."""
    return sorted(_changed(before, after, ""))


def _changed(before: object, after: object, path: str) -> Iterator[str]:
    if isinstance(before, Mapping) and after is _ABSENT:
        after = {}
    if isinstance(after, Mapping) and before is _ABSENT:
        before = {}
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in before.keys() | after.keys():
            yield from _changed(before.get(name, _ABSENT), after.get(name, _ABSENT), f"{path}.{name}" if path else name)
    elif before != after:
        yield path
