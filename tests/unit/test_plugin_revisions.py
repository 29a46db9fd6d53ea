"""History and the way back: what is compared, what is brought back, what is left alone, and who owns the object."""

from typing import Any

import pytest

from modelward_operator.plugin.history import changed, history, ours
from modelward_operator.plugin.rollback import owner_of, way_back
from tests.makers import make_model
from tests.plugin_models import DIGESTS, SPECS, entries, with_history

Json = dict[str, Any]


def test_only_the_models_own_entries_count_in_their_order() -> None:
    model = with_history(dict(SPECS[2]))
    stranger = {**entries()[0], "metadata": {**entries()[0]["metadata"], "ownerReferences": [{"uid": "other"}]}}
    shapeless = {**entries()[0], "data": {"spec": "x"}}
    orphan = {**entries()[0], "metadata": {"name": "fraud-rev-9"}}
    misnamed = {**entries()[0], "revision": 9, "metadata": {**entries()[0]["metadata"], "name": "fraud-rev-8"}}
    others = [stranger, shapeless, orphan, misnamed]
    assert [1, 2, 3] == [one["revision"] for one in ours(model, [*reversed(entries()), *others])]


@pytest.mark.parametrize(
    ("reason", "before", "after", "paths"),
    [
        ("nothing", {"a": 1}, {"a": 1}, []),
        ("a leaf", {"a": {"b": 1}}, {"a": {"b": 2}}, ["a.b"]),
        ("a struct comes", {}, {"a": {"b": 1, "c": {"d": 2}}}, ["a.b", "a.c.d"]),
        ("a struct goes", {"a": {"b": 1}}, {}, ["a.b"]),
        ("an empty struct is none", {"a": {}}, {}, []),
        ("a list is one thing", {"a": [1, 2]}, {"a": [2, 1]}, ["a"]),
        ("another kind of thing", {"a": {"b": 1}}, {"a": 3}, ["a"]),
    ],
)
def test_changed_paths(reason: str, before: Json, after: Json, paths: list[str]) -> None:
    assert paths == changed(before, after), reason


def test_a_spec_that_cannot_be_read_is_said() -> None:
    model = with_history(dict(SPECS[0]))
    model["spec"] = {"model": {"uri": "ftp://x"}}
    found = history(model, entries())
    assert "uri must be" in found["present"]["invalid"]
    with pytest.raises(ValueError, match="cannot be read"):
        way_back(model, entries()[0])


LATER: Json = {
    "model": {"uri": "s3://models/fraud/9/", "version": "9"},
    "runtime": {"threads": 2},
    "scaling": {"minReplicas": 3, "maxReplicas": 8},
    "suspend": False,
    "rollout": {"strategy": "Recreate"},
    "security": {"authentication": {"mode": "None"}},
    "privacy": {"policyRef": {"name": "strict"}},
}


def patched(model: Json, patch: list[Json]) -> Json:
    """Apply the few operations that are used, as RFC 6902 has them."""
    spec = dict(model["spec"])
    for one in patch:
        _, where, name = one["path"].split("/", 2)
        if where == "spec" and one["op"] == "add":
            spec[name] = one["value"]
        elif where == "spec":
            assert "remove" == one["op"]
            del spec[name]
    return spec


def test_what_runs_comes_back_and_what_protects_and_how_many_stay() -> None:
    model = with_history(LATER)
    way = way_back(model, entries()[1])
    spec = patched(model, list(way.patch))
    assert {"uri": "s3://models/fraud/2/", "version": "2", "digest": DIGESTS[0]} == spec["model"]
    assert {"limits": {"memory": "2Gi"}} == spec["resources"]
    assert "runtime" not in spec
    for section in ("scaling", "suspend", "rollout", "security", "privacy"):
        assert LATER[section] == spec[section]
    assert ["privacy.policyRef.name", "security.authentication.mode"] == list(way.kept)
    assert DIGESTS[0] == way.pinned


def test_the_pods_own_labels_and_their_account_come_back_and_the_way_in_does_not() -> None:
    labels = {"podMetadata": {"labels": {"cost-center": "fraud"}}}
    then = {**SPECS[1], **labels, "serviceAccount": {"name": "reader"}}
    entry = entries()[1]
    entry["data"]["spec"] = then
    entrance = {"hostnames": ["fraud.example.com"], "gateway": {"parentRefs": [{"name": "public"}]}}
    model = with_history({**LATER, "serviceAccount": {"name": "writer"}, "exposure": entrance})
    way = way_back(model, entry)
    spec = patched(model, list(way.patch))
    assert (labels["podMetadata"], {"name": "reader"}, entrance) == (
        spec["podMetadata"],
        spec["serviceAccount"],
        spec["exposure"],
    )
    assert any(path.startswith("exposure") for path in way.kept)
    back = way_back(with_history({**LATER, **labels, "serviceAccount": {"name": "writer"}}), entries()[1])
    gone = patched(with_history({**LATER, **labels, "serviceAccount": {"name": "writer"}}), list(back.patch))
    assert not {"podMetadata", "serviceAccount"} & {*gone}, "what it did not have then goes"


def test_a_declared_digest_is_not_pinned_and_without_a_pin_none_is() -> None:
    entry = entries()[1]
    entry["data"]["spec"]["model"]["digest"] = DIGESTS[5]
    way = way_back(with_history(LATER), entry)
    assert ("", DIGESTS[5]) == (way.pinned, way.spec["model"]["digest"])
    way = way_back(with_history(LATER), entries()[1], pin=False)
    assert "" == way.pinned
    assert "digest" not in way.spec["model"]


def test_where_only_protection_differs_there_is_nothing_to_bring_back() -> None:
    model = with_history({**SPECS[2], "model": {**SPECS[2]["model"], "digest": DIGESTS[0]}})
    way = way_back(model, entries()[1])
    assert ([], {}) == (list(way.changed), dict(way.spec))
    assert ["security.authentication.allowedSubjects"] == list(way.kept)


def test_the_patch_is_bound_to_what_was_read_and_leaves_its_cause() -> None:
    first, *_, last = way_back(with_history(LATER), entries()[0]).patch
    assert {"op": "replace", "path": "/metadata/resourceVersion", "value": "77"} == first
    assert {"kubernetes.io/change-cause": "rolled back to revision 1"} == last["value"]
    noted = with_history(LATER, annotations={"a": "b"})
    last = way_back(noted, entries()[0], cause="it was too slow").patch[-1]
    assert ("/metadata/annotations/kubernetes.io~1change-cause", "it was too slow") == (last["path"], last["value"])


@pytest.mark.parametrize(
    ("tool", "metadata", "words"),
    [
        (
            "Flux",
            {
                "labels": {
                    "kustomize.toolkit.fluxcd.io/name": "apps",
                    "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
                }
            },
            "flux suspend kustomization apps -n flux-system",
        ),
        (
            "Flux",
            {
                "labels": {
                    "helm.toolkit.fluxcd.io/name": "ml",
                    "helm.toolkit.fluxcd.io/namespace": "risk",
                    "app.kubernetes.io/managed-by": "Helm",
                },
                "annotations": {"meta.helm.sh/release-name": "ml"},
            },
            "flux suspend helmrelease ml -n risk",
        ),
        (
            "Argo CD",
            {"annotations": {"argocd.argoproj.io/tracking-id": "scoring:modelward.dev/ModelDeployment:risk/fraud"}},
            "argocd app set scoring --sync-policy none",
        ),
        ("Argo CD", {"labels": {"argocd.argoproj.io/instance": "scoring"}}, "argocd app set scoring"),
        (
            "Helm",
            {
                "labels": {"app.kubernetes.io/managed-by": "Helm"},
                "annotations": {"meta.helm.sh/release-name": "ml", "meta.helm.sh/release-namespace": "risk"},
            },
            "helm rollback ml -n risk",
        ),
        ("", {"labels": {"app.kubernetes.io/managed-by": "Helm"}}, ""),
        ("", {}, ""),
    ],
)
def test_who_owns_the_object_is_told_by_the_marks_that_tools_leave(tool: str, metadata: Json, words: str) -> None:
    owner = owner_of(make_model(None, **metadata))
    assert tool == (owner.tool if owner else "")
    assert words in (owner.instead if owner else "")
