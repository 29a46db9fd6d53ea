"""What `kubectl modelward` prints, page by page: a change of its words is a diff of these files. `make golden` rewrites them."""

from collections.abc import Callable

import pytest

from modelward_operator.plugin.doctor import examine
from modelward_operator.plugin.doctor_text import page as doctor_page
from modelward_operator.plugin.history import history, ours
from modelward_operator.plugin.revisions_text import history_page, owned_page, revision_page, way_page
from modelward_operator.plugin.rollback import owner_of, way_back
from modelward_operator.plugin.status import status
from modelward_operator.plugin.status_text import page as status_page
from tests.golden.test_plan_goldens import HERE
from tests.makers import make_model
from tests.plugin_models import (
    NOW,
    SPECS,
    broken,
    crds,
    deployment,
    entries,
    installation,
    network_not_known,
    under_outdated_policy,
    under_unread_floor,
    under_unread_policy,
    well,
    with_history,
)

FLUX = {"kustomize.toolkit.fluxcd.io/name": "models", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
NEXT = {"model": {"uri": "s3://models/fraud/3/", "version": "3"}, "scheduling": {"nodeSelector": {"zone": "a"}}}


def history_of(spec: dict[str, object]) -> str:
    model = with_history(spec)
    return history_page(history(model, ours(model, entries())))


def back(number: int, **metadata: object) -> str:
    model = with_history(NEXT, **metadata)
    way, owner = way_back(model, entries()[number - 1]), owner_of(model)
    return owned_page("risk/fraud", way, owner) if owner else way_page("risk/fraud", way, done="the spec is back to")


PAGES: dict[str, Callable[[], str]] = {
    "status-serving": lambda: status_page(status(well()), NOW),
    "status-former-revision-serves": lambda: status_page(status(broken()), NOW),
    "status-network-not-known": lambda: status_page(status(network_not_known()), NOW),
    "status-privacy-policy-outdated": lambda: status_page(status(under_outdated_policy()), NOW),
    "status-privacy-policy-invalid": lambda: status_page(status(under_unread_policy()), NOW),
    "status-model-policy-invalid": lambda: status_page(status(under_unread_floor()), NOW),
    "status-nobody-has-looked": lambda: status_page(status(make_model()), NOW),
    "history": lambda: history_of(dict(SPECS[2])),
    "history-not-served-yet": lambda: history_of(NEXT),
    "history-empty": lambda: history_page(history(well(), [])),
    "history-of-one": lambda: revision_page(history(well(), entries())["revisions"][1]),
    "rollback": lambda: back(2),
    "rollback-owned": lambda: back(2, labels=FLUX),
    "doctor-well": lambda: doctor_page(examine(installation())),
    "doctor-network-not-known": lambda: doctor_page(examine(installation(models=[network_not_known()]))),
    "doctor-ill": lambda: doctor_page(
        examine(
            installation(
                crds=crds()[1:],
                operators=[deployment("modelward-operator", ready=1)],
                lease={},
                refused=["create controllerrevisions.apps"],
                admission=[],
                models=[broken(), make_model()],
                unread={"clocks": "configmaps is forbidden"},
                clocks=None,
            )
        )
    ),
    "doctor-no-cluster": lambda: doctor_page(
        examine(installation(server_version="", unread={"server_version": "refused"}))
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_its_golden(name: str, rewrite: bool) -> None:
    golden, printed = HERE / "plugin" / f"{name}.txt", PAGES[name]() + "\n"
    if rewrite:
        golden.write_text(printed)
    assert golden.read_text() == printed


def test_every_golden_has_a_page() -> None:
    assert {path.stem for path in (HERE / "plugin").glob("*.txt")} == PAGES.keys()
