"""Names that would collide or are as long as names may be: each model is served under its own, and nobody's object is taken over."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from e2e.cases import manifests
from e2e.cases.case import Case
from e2e.cases.clients import add
from e2e.cases.kube import Refused
from e2e.cases.stillness import children, stand_still

LOOKALIKES = {"fraud": 1, "fraud-policy": 2, "fraud-predict": 1}
"""Models whose names are those of the first one's children."""


def test_models_whose_names_look_like_children_are_served_side_by_side(case: Case) -> None:
    for name, addend in LOOKALIKES.items():
        case.apply(case.model_service(f"adder/{addend}/", name=name))
    for name, addend in LOOKALIKES.items():
        case.wait_ready(name)
        assert add(case.service_address(name), name) == addend
    owned = [set(children(case, name)) for name in LOOKALIKES]
    assert sum(map(len, owned)) == len(set.union(*owned)), "no child has two owners"
    stand_still(case, "fraud")

    case.kube.delete("ModelDeployment", "fraud-policy", case.namespace)
    case.wait_pods(0, "fraud-policy")
    case.wait_ready("fraud")
    assert add(case.service_address("fraud"), "fraud") == 1


def test_an_object_of_somebody_else_is_left_alone_until_it_goes(case: Case) -> None:
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "fraud-policy"}, "data": {"theirs": "1"}}
    case.apply(theirs)
    case.apply(case.model_service(name="fraud"))
    text = "ConfigMap fraud-policy: exists and belongs to nobody that ModelWard knows"
    case.wait_condition("fraud", "Ready", "False", "ChildNotOwned", text)
    assert case.kube.find("ConfigMap", "fraud-policy", case.namespace)["data"] == {"theirs": "1"}
    case.kube.delete("ConfigMap", "fraud-policy", case.namespace)
    case.wait_ready("fraud")
    assert add(case.service_address("fraud"), "fraud") == 1


@pytest.fixture
def longest(case: Case) -> Iterator[Case]:
    """A case in a namespace with a name of 63 characters."""
    opened = replace(case, namespace=case.namespace + "-" + "x" * (62 - len(case.namespace)))
    case.kube.apply(manifests.namespace(opened.namespace))
    opened.apply_credentials()
    yield opened
    case.kube.delete("Namespace", opened.namespace)


def test_names_at_the_length_limit_are_served(longest: Case) -> None:
    name = "m" * 50
    assert len(longest.namespace) == 63
    longest.serve("adder/2/", name=name)
    assert add(longest.service_address(name), name) == 2
    stand_still(longest, name)
    with pytest.raises(Refused, match="must be at most 50"):
        longest.apply(longest.model_service(name=name + "m"))
