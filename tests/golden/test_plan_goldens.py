"""Every example and every manifest here, as the children that it makes: the effect of a change is a diff of these files.

The files are plain YAML for `kubectl apply`; tests/integration applies each object to a real API server, and tests/contract
parses every boot.json and policy.json with the runtime's parser. `make golden` rewrites them.
"""

from pathlib import Path

import pytest
import yaml

from modelward_operator.api.parse import Invalid, parse
from modelward_operator.facts import Installation
from modelward_operator.offline import offline
from modelward_operator.plan import names
from modelward_operator.plan.settled import settled
from modelward_operator.policies.rooms import rule

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "crds" / "examples"
MANIFESTS = sorted([*EXAMPLES.glob("*.yaml"), *(HERE / "manifests").glob("*.yaml")])
INSTALLATION = Installation("modelward-system", "modelward-runtime:golden")


def planned(manifest: Path) -> str:
    text = ""
    documents = [document for document in yaml.safe_load_all(manifest.read_text()) if document]
    for document in documents:
        if document["kind"] != "ModelDeployment":
            continue
        given = offline(document, "default", INSTALLATION, documents)
        spec = parse(given.raw)
        assert not isinstance(spec, Invalid), spec
        plan = settled(given, spec, rule(given, spec))
        text += "".join("---\n" + yaml.safe_dump(o, sort_keys=False, width=100) for o in (*plan.ledgers, *plan.objects))
    return text


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_the_plan_of_a_manifest_is_its_golden(manifest: Path, rewrite: bool) -> None:
    golden = HERE / "plan" / manifest.name
    if rewrite:
        golden.write_text(planned(manifest))
    assert golden.read_text() == planned(manifest)


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.stem)
def test_every_child_of_a_plan_has_a_name_by_which_it_can_be_taken_back(manifest: Path) -> None:
    children = [one for one in yaml.safe_load_all(planned(manifest)) if "ownerReferences" in one["metadata"]]
    for one in children:
        meta = one["metadata"]
        assert names.may_be_child(one["kind"], meta["name"], meta["labels"][names.MODEL_LABEL]), meta["name"]


def test_every_golden_has_a_manifest() -> None:
    assert {path.name for path in (HERE / "plan").glob("*.yaml")} == {path.name for path in MANIFESTS}
