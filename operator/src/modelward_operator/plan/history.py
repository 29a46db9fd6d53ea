"""A model's history: what of a spec is a revision, which one is due to be noted down, and how its entry looks. Called by `draw.py`; the
entries are written by `cluster/historian.py` and read by `plugin/`. operator/decisions/0020-revisions-are-what-has-served.md says why.

    spec without suspend, scaling, rollout ┐
                                           ├─▶ hash ── not that of status.revision ──▶ due
    the one digest that its ready pods say ┘

How many replicas run is no part of it, so that going back changes no scale. An entry is never changed; its number is counted up.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from modelward_operator.api.modeldeployment import GROUP, KIND, VERSION, ModelDeploymentSpec
from modelward_operator.facts import Given, History, Json, Pod
from modelward_operator.plan import names
from modelward_operator.plan.pod import revision

NO_PART: Final = {"suspend", "scaling", "rollout"}
"""Sections of the spec that make no revision: how many pods run, and how they are replaced."""
CAUSE_LIMIT: Final = 1024
NUMBERS: Final = 1 << 31
"""Numbers of entries are less: what says more was not counted up."""
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


def history(given: Given, spec: ModelDeploymentSpec, objects: Iterable[Json]) -> History:
    """Return what the history shall be; with an entry when what serves has none."""
    limit = spec.rollout.revision_history_limit
    workload = next(one for one in objects if one["kind"] == "Deployment")
    digest = _served(given.pods, revision(workload["spec"]["template"]))
    if not digest:
        return History(limit)
    kept = content(spec)
    found = hash_of(kept, digest)
    if found == given.raw.get("status", {}).get("revision", {}).get("hash"):
        return History(limit)
    data = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "generation": given.generation,
        "spec": kept,
        "served": {"digest": digest, "time": given.now.astimezone(UTC).strftime(_TIME)},
    }
    cause = str(given.raw["metadata"].get("annotations", {}).get(names.CHANGE_CAUSE, ""))
    return History(limit, data, found, cause[:CAUSE_LIMIT])


def content(spec: ModelDeploymentSpec) -> dict[str, Any]:
    """Return what of a spec is a revision. Defaults are left out, so that a new field of a newer operator makes none."""
    return spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=NO_PART)


def hash_of(kept: Mapping[str, Any], digest: str) -> str:
    """Return the hash of what a revision is, without when."""
    return names.fingerprint({"spec": kept, "digest": digest})[:16]


def entry(given: Given, due: History, number: int) -> Json:
    """Return the ControllerRevision of what is due."""
    name = names.revision_name(given.key.name, number)
    drawn = names.child(given, "apps/v1", "ControllerRevision", name, data=due.data, revision=number)
    if due.cause:
        drawn["metadata"]["annotations"] = {names.CHANGE_CAUSE: due.cause}
    return drawn


def is_entry(live: Json) -> bool:
    """True for a ControllerRevision that has the form of an entry: anybody may have made it, and the status must be able to repeat it."""
    data, number = live.get("data"), live.get("revision")
    if not isinstance(number, int) or not 0 < number < NUMBERS or not isinstance(data, dict):
        return False
    served, spec = data.get("served"), data.get("spec")
    if not isinstance(spec, dict) or not isinstance(spec.get("model"), dict) or not isinstance(served, dict):
        return False
    return bool(_DIGEST.fullmatch(str(served.get("digest")))) and _is_time(str(served.get("time")))


def _is_time(said: str) -> bool:
    try:
        return datetime.strptime(said, _TIME).replace(tzinfo=UTC).strftime(_TIME) == said
    except ValueError:
        return False


def noted(number: int, oldest: int, data: Json) -> dict[str, Any]:
    """Return `status.revision` of an entry."""
    found = hash_of(data["spec"], data["served"]["digest"])
    return {"number": number, "oldest": oldest, "hash": found, "servedTime": data["served"]["time"]}


def _served(pods: Iterable[Pod], current: str) -> str:
    """Return the digest that the pods serve who are of the current template; empty while none does, or they do not agree."""
    said = {
        str(pod.loaded.get("model", {}).get("digest", ""))
        for pod in pods
        if revision(pod.raw) == current and pod.loaded and _takes_requests(pod.raw)
    }
    digest = said.pop() if len(said) == 1 else ""
    return digest if _DIGEST.fullmatch(digest) else ""


def _takes_requests(pod: Json) -> bool:
    conditions = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions", ())}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]
