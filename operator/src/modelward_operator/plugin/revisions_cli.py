"""`kubectl modelward history` and `rollback`, by the user's own kubectl and rights. Called by `commands.py`.

The operator is not asked: entries are ControllerRevisions, which the role `view` may read, and a rollback is a patch of the spec, so that
admission, the schema and the verb `relax` hold for it as for any edit of the person's.
"""

import argparse
import json
import sys
from typing import Any

from modelward_operator.plan.names import selector
from modelward_operator.plugin.history import history, ours
from modelward_operator.plugin.kubectl import MODELS, Kubectl, KubectlError
from modelward_operator.plugin.revisions_text import history_page, owned_page, revision_page, way_page
from modelward_operator.plugin.rollback import Owner, Way, owner_of, way_back

Json = dict[str, Any]
MANAGER = "kubectl-modelward"


def show_history(kubectl: Kubectl, options: argparse.Namespace) -> int:
    """Run `history`; return its exit status."""
    model, entries = _read(kubectl, options)
    found = history(model, entries)
    if options.revision is None:
        print(json.dumps(found, indent=2) if options.output == "json" else history_page(found))
        return 0
    one = next((row for row in found["revisions"] if row["revision"] == options.revision), None)
    if one is None:
        raise KubectlError(_unknown(options.revision, entries))
    print(json.dumps(one, indent=2) if options.output == "json" else revision_page(one))
    return 0


def roll_back(kubectl: Kubectl, options: argparse.Namespace) -> int:
    """Run `rollback`; return its exit status: 0 done, or nothing to do; 1 refused."""
    model, entries = _read(kubectl, options)
    name = f"{model['metadata']['namespace']}/{model['metadata']['name']}"
    try:
        way = _way(model, entries, options)
    except ValueError as error:
        raise KubectlError(f"{name}: {error}") from error
    owner = owner_of(model)
    if way.changed and owner and not (options.force or options.dry_run):
        print(
            json.dumps(_document(way, owner, applied=False), indent=2)
            if options.output == "json"
            else owned_page(name, way, owner)
        )
        return 1
    if way.changed:
        _apply(kubectl, model, way, dry_run=options.dry_run)
    applied = bool(way.changed) and not options.dry_run
    if options.output == "json":
        print(json.dumps(_document(way, owner, applied=applied), indent=2))
        return 0
    print(
        way_page(
            name,
            way,
            done="the API server would take what is asked for: back to" if options.dry_run else "the spec is back to",
        )
    )
    if applied:
        print(
            f"Follow it with: kubectl modelward status {model['metadata']['name']} -n {model['metadata']['namespace']}"
        )
    if owner and way.changed:
        print(f"{name} is owned by {owner.tool} ({owner.what}): {owner.instead}, or it comes undone.", file=sys.stderr)
    return 0


def _read(kubectl: Kubectl, options: argparse.Namespace) -> tuple[Json, list[Json]]:
    namespace = options.namespace or kubectl.namespace()
    model = kubectl.read(MODELS, options.name, "-n", namespace)
    labels = ",".join(f"{key}={value}" for key, value in selector(options.name).items())
    return model, ours(model, kubectl.read("controllerrevisions.apps", "-n", namespace, "-l", labels)["items"])


def _way(model: Json, entries: list[Json], options: argparse.Namespace) -> Way:
    """The way to the revision that was asked for, or to the newest one that says something else than the spec does now."""
    for entry in reversed(entries):
        if options.to in {None, int(entry["revision"])}:
            way = way_back(model, entry, pin=not options.no_pin, cause=options.cause)
            # That its digest is not declared yet makes the revision that serves no other one.
            if options.to is not None or set(way.changed) - ({"model.digest"} if way.pinned else set()):
                return way
    raise ValueError(
        _unknown(options.to, entries)
        if options.to is not None
        else "no revision served anything else than the spec says now"
    )


def _unknown(number: int, entries: list[Json]) -> str:
    kept = ", ".join(str(one["revision"]) for one in entries) or "none"
    return f"there is no revision {number}; kept are: {kept}. spec.rollout.revisionHistoryLimit says how many are"


def _apply(kubectl: Kubectl, model: Json, way: Way, *, dry_run: bool) -> None:
    name, namespace = model["metadata"]["name"], model["metadata"]["namespace"]
    asked = ["--dry-run=server"] if dry_run else []
    patch = ("--type=json", "-p", json.dumps(way.patch), f"--field-manager={MANAGER}", *asked)
    kubectl.run("patch", MODELS, name, "-n", namespace, *patch)


def _document(way: Way, owner: Owner | None, *, applied: bool) -> Json:
    return {
        "kind": "Rollback",
        "apiVersion": "modelward.dev/v1alpha1",
        "to": way.to,
        "applied": applied,
        "changed": list(way.changed),
        "kept": list(way.kept),
        "pinned": way.pinned,
        "owner": {"tool": owner.tool, "what": owner.what, "instead": owner.instead} if owner else None,
        "spec": dict(way.spec),
        "patch": list(way.patch),
    }
