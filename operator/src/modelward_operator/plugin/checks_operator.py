"""Checks of `doctor` on the operator and the activator: that they run, lead, may, hear, and keep up. Pure."""

from collections.abc import Sequence
from typing import Any, Final

from modelward_operator.plugin.examination import OPERATOR, Finding, Result, Seen, age_of, few, unread

Json = dict[str, Any]
STALE: Final = 120.0
"""Seconds of silence after which a watch, which should speak every 60, is called stale."""
LISTED: Final = {"ModelDeployment": 300.0}
"""Seconds between listings of the kind whose watch is kopf's, which does not tell that it spoke where nothing changed."""
LATE: Final = 60.0
"""Seconds for which a key may wait in the queue of a healthy operator."""


def check_operator(seen: Seen) -> Finding:
    """One operator is installed, and its pods are ready."""
    if missing := unread(seen, "operators"):
        return missing
    install = "helm install modelward helm/modelward --namespace modelward-system --create-namespace"
    if not seen.operators:
        return Finding(
            Result.FAILED,
            f"no operator in {seen.namespace}",
            f"Install it ({install}, with your images: operator/tasks/deploy.md), or say where it is: --operator-namespace.",
        )
    if len(seen.operators) > 1:
        places = ", ".join(sorted(one["metadata"]["namespace"] for one in seen.operators))
        return Finding(
            Result.FAILED,
            f"{len(seen.operators)} operators, which undo each other's work: in {places}",
            "Uninstall all but one.",
        )
    (operator,) = seen.operators
    ready, wanted = operator.get("status", {}).get("readyReplicas", 0), operator["spec"].get("replicas", 1)
    where = operator["metadata"]["namespace"]
    if not ready:
        look = f"kubectl describe pods -n {where} -l app.kubernetes.io/name={OPERATOR}; kubectl logs -n {where} deploy/{OPERATOR}"
        return Finding(Result.FAILED, f"none of {wanted} pods is ready", look)
    if ready < wanted or wanted < 2:
        told = f"{ready} of {wanted} pods ready: nobody stands by"
        return Finding(
            Result.WARNING,
            told,
            f"kubectl get pods -n {where} -l app.kubernetes.io/name={OPERATOR}; operator.replicas should be 2.",
        )
    return Finding(Result.OK, f"{ready} of {wanted} pods ready, image {', '.join(sorted(_images([operator])))}")


def check_leader(seen: Seen) -> Finding:
    """Somebody holds the Lease and renews it."""
    if missing := unread(seen, "lease"):
        return missing
    spec = seen.lease.get("spec", {})
    holder = spec.get("holderIdentity", "")
    restart = f"kubectl rollout restart deploy/{OPERATOR} -n {seen.namespace}"
    if not holder:
        return Finding(
            Result.FAILED,
            "nobody leads: no model is looked after",
            f"kubectl logs -n {seen.namespace} deploy/{OPERATOR}; {restart}",
        )
    if seen.clocks is None:
        return Finding(
            Result.UNKNOWN, f"{holder} holds the Lease; the API server's time is not known, so not since when"
        )
    age = age_of(spec.get("renewTime", ""), seen.clocks.before)
    duration = float(spec.get("leaseDurationSeconds", 15))
    if age > duration:
        return Finding(
            Result.FAILED,
            f"{holder} held the Lease last, and has not renewed it for {age:.0f} s",
            f"kubectl logs -n {seen.namespace} {holder.partition('_')[0]}; {restart}",
        )
    names = {pod["metadata"]["name"] for pod in seen.pods}
    if names and not any(holder.startswith(name) for name in names):
        return Finding(
            Result.WARNING,
            f"{holder} leads, which is no pod of this installation",
            "Find out what else runs as the operator: kubectl get pods -A",
        )
    return Finding(Result.OK, f"{holder} leads, and renewed the Lease {max(age, 0):.0f} s ago")


def check_rights(seen: Seen) -> Finding:
    """The operator's ServiceAccount may do what it does; and was not refused anything of late."""
    if seen.refused:
        return Finding(
            Result.FAILED,
            f"the operator may not {few(list(seen.refused))}",
            "Upgrade the chart whole: its rights come with each release.",
        )
    denied = sorted(
        {key[1] for one in seen.replicas for key, value in one.figures.items() if key[0] == "refused" and value}
    )
    if denied:
        return Finding(
            Result.WARNING,
            f"since it started the operator was refused (403): {few(denied)}",
            "A namespace that was being deleted, a policy or webhook of yours, or rights that were missing then.",
        )
    if missing := unread(seen, "rights"):
        return missing
    if not seen.asked:
        return Finding(Result.UNKNOWN, "there is no operator whose rights could be asked about")
    return Finding(Result.OK, f"all {seen.asked} that were asked about")


def check_watches(seen: Seen) -> Finding:
    """The operator hears of changes, and keeps up with them."""
    heard = [one for one in seen.replicas if not one.silence]
    if not heard:
        why = next((one.silence for one in seen.replicas), seen.unread.get("replicas", "no pod of it runs"))
        return Finding(
            Result.UNKNOWN,
            f"its figures cannot be read: {why}",
            "It takes the right to create pods/portforward in its namespace.",
        )
    stale = [
        (age, key[1], one.pod)
        for one in heard
        for key, age in one.figures.items()
        if key[0] == "modelward_watch_age_seconds" and age > STALE + LISTED.get(key[1], 0.0)
    ]
    if stale:
        age, kind, pod = max(stale)
        return Finding(
            Result.FAILED,
            f"{pod} has not heard of {kind}s for {age:.0f} s",
            f"kubectl logs -n {seen.namespace} {pod}; it ends by itself {'nine' if kind in LISTED else 'four'} minutes"
            " after it heard last.",
        )
    waits = [one.figures.get(("modelward_queue_oldest_seconds", ""), 0.0) for one in heard]
    if max(waits) > LATE:
        return Finding(
            Result.WARNING,
            f"a model has waited {max(waits):.0f} s for its turn",
            "Raise operator.workers, writesPerSecond or its CPU; `kubectl top pods` tells.",
        )
    leaders = [one.pod for one in heard if one.figures.get(("modelward_leader", ""), 0.0)]
    if len(leaders) > 1:
        return Finding(
            Result.FAILED,
            f"{len(leaders)} pods think that they lead: {', '.join(leaders)}",
            "Look again; if it stays, restart them and tell us.",
        )
    return Finding(Result.OK, f"{len(heard)} pods hear of every kind; nothing waits for longer than {max(waits):.0f} s")


def check_activator(seen: Seen) -> Finding:
    """Models may be at zero: somebody takes their calls."""
    if missing := unread(seen, "activators"):
        return missing
    at_zero = [one for one in seen.models if one["spec"].get("scaling", {}).get("minReplicas") == 0]
    if not seen.activators:
        if at_zero:
            return Finding(
                Result.WARNING,
                f"not installed, and {len(at_zero)} models have minReplicas 0: each keeps one replica",
                "Install with activator.enabled=true.",
            )
        return Finding(Result.OK, "not installed, and no model asks for it")
    ready = sum(one.get("status", {}).get("readyReplicas", 0) for one in seen.activators)
    if not ready:
        result = Result.FAILED if at_zero else Result.WARNING
        return Finding(
            result,
            f"no pod of it is ready; {len(at_zero)} models have minReplicas 0",
            f"kubectl describe pods -n {seen.namespace} -l app.kubernetes.io/name=modelward-activator",
        )
    return Finding(Result.OK, f"{ready} pods ready")


def _images(deployments: Sequence[Json]) -> set[str]:
    return {c["image"] for one in deployments for c in one["spec"]["template"]["spec"]["containers"]}
