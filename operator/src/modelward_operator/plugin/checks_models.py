"""Checks of `doctor` on what comes of it all: the models, their images, and the network around them. Pure."""

from collections import Counter
from typing import Any

from modelward_operator.plugin.examination import Finding, Result, Seen, few, unread
from modelward_operator.status.conditions import Reason, Type
from modelward_operator.status.endpoint import NOT_KNOWN
from modelward_operator.status.remedies import remedy

Json = dict[str, Any]


def check_versions(seen: Seen) -> Finding:
    """Which serving images are in use, and which the operator would choose now."""
    if missing := unread(seen, "models"):
        return missing
    images = {_name(one): one.get("status", {}).get("effective", {}).get("image", "") for one in seen.models}
    told = ", ".join(f"{image} ({count})" for image, count in Counter(filter(None, images.values())).most_common())
    chosen = next(
        (env.get("value", "") for one in seen.operators for env in _env(one) if env["name"] == "RUNTIME_IMAGE"), ""
    )
    free = [_name(one) for one in seen.models if not one["spec"].get("runtime", {}).get("image")]
    behind = [name for name in free if images[name] and chosen and images[name] != chosen]
    if behind:
        return Finding(
            Result.WARNING,
            f"{len(behind)} models serve with another image than the operator's {chosen}: {told}",
            "An upgrade restarts no model: each takes the operator's image when its spec changes, or with runtime.upgradePolicy.",
        )
    return Finding(Result.OK, told or "no model serves yet")


def check_network(seen: Seen) -> Finding:
    """NetworkPolicies are enforced, as far as the operator has found."""
    if missing := unread(seen, "models"):
        return missing
    told = [(_name(one), _condition(one, Type.ENDPOINT_SECURED)) for one in seen.models]
    found = Counter(one.get("reason", "") for _, one in told)
    open_ = found[Reason.NETWORK_OPEN] + found[Reason.NETWORK_POLICY_NOT_ENFORCED]
    if open_:
        return Finding(
            Result.WARNING,
            f"a forbidden connection went through; models that are open to the cluster: {open_}",
            "Install a network plug-in that enforces NetworkPolicies.",
        )
    untold = sum(one.get("reason") == Reason.SECURED and NOT_KNOWN in one["message"] for _, one in told)
    shown = found[Reason.SECURED] - untold
    enforced = f"enforced where it was tried; secured models: {shown}"
    if declared := [name for name, one in told if one.get("reason") == Reason.ENFORCEMENT_UNKNOWN]:
        namespace, _, name = declared[0].partition("/")
        return Finding(
            Result.UNKNOWN,
            f"{f'{enforced}; ' if shown else ''}whether what security.networkPolicy declares is enforced is not known of {few(declared)}",
            f"{remedy(Reason.ENFORCEMENT_UNKNOWN, name, namespace)} Why: kubectl modelward status {name} -n {namespace}",
        )
    if shown:
        return Finding(Result.OK, enforced)
    if untold:
        return Finding(
            Result.UNKNOWN, f"not tried yet, or only where the policy lets the operator in; models: {untold}"
        )
    return Finding(Result.UNKNOWN, "no model serves with a network policy yet, so it was not tried")


def check_models(seen: Seen) -> Finding:
    """How the models stand."""
    if missing := unread(seen, "models"):
        return missing
    if not seen.models:
        return Finding(Result.OK, "there are none")
    unseen = [
        _name(one)
        for one in seen.models
        if one.get("status", {}).get("observedGeneration") != one["metadata"].get("generation")
    ]
    if unseen:
        return Finding(
            Result.WARNING,
            f"the operator has not looked at the present spec of {few(unseen)}",
            "Look again in a moment; if it stays, see the checks above.",
        )
    bad = [one for one in seen.models if _status(one) != "True"]
    reasons = ", ".join(
        f"{reason} ({count})" for reason, count in Counter(_reason(one, Type.READY) for one in bad).most_common()
    )
    if bad:
        first = bad[0]["metadata"]
        return Finding(
            Result.WARNING,
            f"{len(bad)} of {len(seen.models)} are not ready: {reasons}",
            f"kubectl modelward status {first['name']} -n {first['namespace']}",
        )
    outdated = [one for one in seen.models if _reason(one, Type.PRIVACY_ENFORCED) == Reason.PRIVACY_POLICY_OUTDATED]
    if outdated:
        first = outdated[0]["metadata"]
        return Finding(
            Result.WARNING,
            f"PrivacyPolicies that the rules of this release refuse hold as they are stored: of {few([_name(one) for one in outdated])}",
            f"kubectl modelward status {first['name']} -n {first['namespace']}",
        )
    return Finding(Result.OK, f"{len(seen.models)} of {len(seen.models)} ready")


def _env(deployment: Json) -> list[Json]:
    return [env for c in deployment["spec"]["template"]["spec"]["containers"] for env in c.get("env", ())]


def _name(model: Json) -> str:
    return f"{model['metadata']['namespace']}/{model['metadata']['name']}"


def _condition(model: Json, type_: str) -> Json:
    found: Json = next((c for c in model.get("status", {}).get("conditions", ()) if c["type"] == type_), {})
    return found


def _status(model: Json) -> str:
    return str(_condition(model, Type.READY).get("status", "Unknown"))


def _reason(model: Json, type_: str) -> str:
    return str(_condition(model, type_).get("reason", ""))
