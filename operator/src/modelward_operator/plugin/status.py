"""How one model stands: its conditions as a chain, in the order in which Ready looks for its reason, each with what to do next. Pure.

    ModelVerified ▶ ModelDecrypted ▶ ModelAvailable ▶ WorkloadAvailable ▶ RolloutComplete ▶ PrivacyEnforced ▶ … ▶ Ready

`status_cli.py` reads, `status_text.py` shows. What each reason asks for stands in `status/remedies.py`, and nowhere else.
"""

from collections.abc import Iterator
from typing import Any

from modelward_operator.status.conditions import Type
from modelward_operator.status.remedies import remedy

Json = dict[str, Any]


def status(model: Json) -> Json:
    """Return the document about a live ModelDeployment."""
    metadata, spec, told = model["metadata"], model["spec"], model.get("status", {})
    known = {condition["type"]: condition for condition in told.get("conditions", ())}
    ready = known.get(Type.READY, {})
    return {
        "kind": "Status",
        "apiVersion": "modelward.dev/v1alpha1",
        "model": {key: metadata.get(key) for key in ("namespace", "name", "uid", "generation")}
        | {"uri": spec["model"]["uri"], "version": spec["model"].get("version", "")},
        "ready": ready.get("status", "Unknown") if _is_fresh(ready, metadata) else "Unknown",
        "reason": ready.get("reason", ""),
        "serves": {key: told.get(key) for key in ("replicas", "readyReplicas", "url") if key in told}
        | {key: told.get("model", {}).get(key) for key in ("digest", "version") if key in told.get("model", {})},
        "revision": told.get("revision", {}).get("number"),
        "conditions": [_link(known[type_], model) for type_ in _order(known)],
        "notes": list(_notes(model, known)),
    }


def _order(known: Json) -> list[str]:
    """The chain's own order, and what a newer operator says after it; without Stalled, which says what `next` says of Ready's reason."""
    chain = [str(type_) for type_ in Type if type_ is not Type.STALLED]
    known = {type_: told for type_, told in known.items() if type_ != Type.STALLED}
    return [type_ for type_ in chain if type_ in known] + sorted(known.keys() - set(chain))


def _link(condition: Json, model: Json) -> Json:
    metadata = model["metadata"]
    found = {key: condition.get(key, "") for key in ("type", "status", "reason", "message", "lastTransitionTime")}
    return found | {
        "current": _is_fresh(condition, metadata),
        "next": remedy(condition.get("reason", ""), metadata["name"], metadata["namespace"]),
    }


def _is_fresh(condition: Json, metadata: Json) -> bool:
    """True when the condition speaks of the present spec."""
    return bool(condition.get("observedGeneration") == metadata.get("generation"))


def _notes(model: Json, known: Json) -> Iterator[str]:
    metadata, told = model["metadata"], model.get("status", {})
    generation = metadata.get("generation")
    if "deletionTimestamp" in metadata:
        held = ", ".join(metadata.get("finalizers", ())) or "nothing"
        yield f"it is being deleted, since {metadata['deletionTimestamp']}; held by: {held}"
    if not known:
        yield "the operator has said nothing about it yet: is it running? `kubectl modelward doctor`"
    elif told.get("observedGeneration") != generation:
        yield (
            f"the operator has not looked at generation {generation} of the spec yet, only at "
            f"{told.get('observedGeneration')}: if that stays, "
            "`kubectl modelward doctor`"
        )
    failure = told.get("model", {}).get("lastFailure", "")
    if failure and not any(condition["message"].startswith(failure.partition(": ")[2]) for condition in known.values()):
        yield f"the last load that failed: {failure}"
    if known.get(Type.ROLLOUT_COMPLETE, {}).get("status") == "False" and told.get("revision"):
        back = f"kubectl modelward rollback {metadata['name']} -n {metadata['namespace']}"
        yield f"back to revision {told['revision'].get('number')}, which served last: `{back}`"
    if why := told.get("scaling", {}).get("why"):
        yield f"the load asks for {told['scaling'].get('wanted')} replicas: {why}"
    if cost := told.get("cost", {}).get("hourly"):
        yield f"it costs {cost} {told['cost'].get('currency', '')} an hour"
