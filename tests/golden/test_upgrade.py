"""An upgrade of the operator restarts no model: what it makes of an unchanged manifest has the pod template that it had before.

`revisions.yaml` remembers, of each manifest, its hash and the revisions of its pod templates, the hash of boot.json within. `make golden`
adds manifests that are new or were edited, and never touches those that were not: who means to restart every model deletes the lines by
hand, and says so under "Changed (breaking)" in CHANGELOG.md. The serving image is no part of it: a live Deployment keeps its own.
"""

import hashlib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from modelward_operator.plan import names
from tests.golden.test_plan_goldens import HERE, MANIFESTS, planned

FILE: Final = HERE / "revisions.yaml"


def remembered() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text()) or {}) if FILE.exists() else {}


def fingerprint(manifest: Path) -> str:
    return hashlib.sha256(manifest.read_bytes()).hexdigest()[:16]


def revisions(manifest: Path) -> dict[str, str]:
    """The revision of each pod template, by the Deployment's name."""
    objects = [one for one in yaml.safe_load_all(planned(manifest)) if one and one["kind"] == "Deployment"]
    templates = {one["metadata"]["name"]: one["spec"]["template"] for one in objects}
    return {name: template["metadata"]["annotations"][names.REVISION] for name, template in templates.items()}


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_an_unchanged_manifest_has_the_pods_that_it_had(manifest: Path, rewrite: bool) -> None:
    known = remembered()
    before = known.get(manifest.name)
    if rewrite and (before is None or before["manifest"] != fingerprint(manifest)):
        known[manifest.name] = {"manifest": fingerprint(manifest), "revisions": revisions(manifest)}
        FILE.write_text(yaml.safe_dump(known, width=120))
        return
    assert before is not None, "a new manifest: run `make golden`"
    assert before["manifest"] == fingerprint(manifest), "the manifest was edited: run `make golden`"
    assert before["revisions"] == revisions(manifest), "an upgrade to this version would restart this model"


def test_nothing_is_remembered_of_what_is_gone() -> None:
    assert remembered().keys() <= {manifest.name for manifest in MANIFESTS}


def test_a_changed_template_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: one more label on the pods is another revision."""
    manifest = next(path for path in MANIFESTS if path.stem == "minimal")
    before = revisions(manifest)
    assert before == remembered()[manifest.name]["revisions"]
    monkeypatch.setattr(names, "ADMIN_PORT", names.ADMIN_PORT + 1)
    monkeypatch.setattr("modelward_operator.plan.pod.names.ADMIN_PORT", names.ADMIN_PORT, raising=False)
    assert before != revisions(manifest)
