"""`status.heard`: what running containers have said that they loaded, so that an operator that starts anew need not hear it again.

Written by `summarise.py` for models under a ModelPolicy, read back by `cluster/gather.py`. Under such a policy a pod that never says what
it has loaded is denied after a while; without this, an operator that starts where it can reach no pod would end every governed model.
Nobody but the operator may write a status, and what a container has loaded does not change while it runs.
"""

import hashlib
from collections import defaultdict
from typing import Any, Final

from modelward_operator.facts import Given, Json
from modelward_operator.plan.pod import running_container
from modelward_operator.status.diagnose import ending, text

MOST: Final = 16
"""Different things that are remembered; the pods of one revision say the same."""


def heard(given: Given) -> list[Json]:
    """Return what the containers have said, each thing with those that said it; nothing where no policy asks."""
    said: defaultdict[tuple[tuple[str, Any], ...], set[str]] = defaultdict(set)
    for pod in given.pods if given.around.policies else ():
        container = running_container(pod.raw)
        if pod.loaded and container and not pod.over and not ending(pod):
            said[_claims(pod.loaded)].add(short(container))
    return [{**dict(claims), "containers": sorted(said[claims])} for claims in sorted(said, key=str)[:MOST]]


def remembered(model: Json, container: str) -> Json:
    """Return the report that the raw ModelDeployment's status remembers of a container, as far as it goes; empty for none."""
    entries = model.get("status", {}).get("heard", ())
    said = next((entry for entry in entries if container and short(container) in entry.get("containers", ())), None)
    if said is None:
        return {}
    loaded = {name: said[name] for name in ("encrypted", "verified", "uri") if name in said}
    named = {"fingerprint": said.get("signerFingerprint"), "authority": said.get("signerAuthority")}
    if signer := {name: value for name, value in named.items() if value}:
        loaded["signer"] = signer
    access = {"access": {"authentication": said["authentication"]}} if "authentication" in said else {}
    return {"state": "Ready", "model": loaded, **access}


def short(container: str) -> str:
    """Return how the status names a container: 64 bits of a hash of its ID."""
    return hashlib.sha256(container.encode()).hexdigest()[:16]


def _claims(report: Json) -> tuple[tuple[str, Any], ...]:
    """What policies ask of a report, and nothing else of it."""
    model, access = _map(report.get("model")), _map(report.get("access"))
    signer = _map(model.get("signer"))
    found = {
        "encrypted": model.get("encrypted") is True,
        "verified": model.get("verified") is True,
        "signerFingerprint": _word(signer.get("fingerprint"), 128),
        "signerAuthority": _word(signer.get("authority"), 128),
        "uri": _word(model.get("uri"), 2048),
        "authentication": _word(access.get("authentication"), 64),
    }
    return tuple((name, value) for name, value in found.items() if value)


def _word(value: object, limit: int) -> str:
    return text(value, limit) if isinstance(value, str) else ""


def _map(value: object) -> Json:
    return value if isinstance(value, dict) else {}
