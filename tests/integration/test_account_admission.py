"""Whose identity a model's pods may have, on a real API server: who names a ServiceAccount must be able to act as it already."""

import itertools

import pytest

from tests.integration.apiserver import ApiServer
from tests.integration.guard import MERGE, allow, guard, refusal, until_refused
from tests.integration.rest import Json, request
from tests.specs import URI, model

WORDS = "may be written, and the image of a model that runs as it changed, only by who may `impersonate` that ServiceAccount"
WRITE: Json = {
    "apiGroups": ["modelward.dev"],
    "resources": ["modeldeployments"],
    "verbs": ["create", "update", "patch", "get"],
}
AS_DEPLOYER: Json = {
    "apiGroups": [""],
    "resources": ["serviceaccounts"],
    "resourceNames": ["model-servers"],
    "verbs": ["impersonate"],
}
MAKES_PODS: Json = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}
NAMED = f"{{{URI}, serviceAccount: {{name: model-servers}}}}"
OTHER = f"{{{URI}, serviceAccount: {{name: cluster-admin}}}}"
ANNOTATED = f"{{{URI}, serviceAccount: {{annotations: {{example.com/a: b}}}}}}"
_numbers = itertools.count(1)


class Writers:
    """Who may write ModelDeployments: nothing else, acting as one account as well, making pods as well."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.editor = allow(server, "account-editor", WRITE)
        self.trusted = allow(server, "account-trusted", WRITE, AS_DEPLOYER)
        self.developer = allow(server, "account-developer", WRITE, MAKES_PODS)
        self.models = "/apis/modelward.dev/v1alpha1/namespaces/default/modeldeployments"

    def create(self, who: Json, text: str, name: str = "fraud", *, dry_run: bool = True) -> Json:
        path = self.models + ("?dryRun=All" if dry_run else "")
        return request(self.server, "POST", path, model(text, name), headers=who)

    def change(self, who: Json, name: str, spec: Json) -> Json:
        return request(
            self.server, "PATCH", f"{self.models}/{name}?dryRun=All", {"spec": spec}, headers={**MERGE, **who}
        )


@pytest.fixture(scope="module")
def writers(server: ApiServer) -> Writers:
    """The chart's policies in force."""
    made = Writers(guard(server))
    until_refused(lambda: made.create(made.editor, NAMED), WORDS)
    return made


def test_who_may_only_write_models_names_no_account(writers: Writers) -> None:
    said = refusal(lambda: writers.create(writers.editor, NAMED))
    assert f"spec.serviceAccount.name model-servers {WORDS} or `create` pods in the namespace" in said


def test_who_may_act_as_the_account_names_that_one_and_no_other(writers: Writers) -> None:
    writers.create(writers.trusted, NAMED)
    assert WORDS in refusal(lambda: writers.create(writers.trusted, OTHER))


def test_who_may_make_pods_could_use_any_account_anyway(writers: Writers) -> None:
    writers.create(writers.developer, OTHER)


def test_the_operators_own_account_takes_no_right_whatever_it_is_annotated_with(writers: Writers) -> None:
    writers.create(writers.editor, URI)
    writers.create(writers.editor, ANNOTATED)


def test_on_a_model_that_runs_as_an_account_only_name_and_image_take_the_right(writers: Writers) -> None:
    name = f"served-{next(_numbers)}"
    writers.create(writers.trusted, NAMED, name, dry_run=False)
    writers.change(writers.editor, name, {"model": {"version": "8"}})
    writers.change(writers.editor, name, {"serviceAccount": None})
    assert WORDS in refusal(lambda: writers.change(writers.editor, name, {"runtime": {"image": "elsewhere/runtime:1"}}))
    assert WORDS in refusal(lambda: writers.change(writers.editor, name, {"serviceAccount": {"name": "other"}}))
    writers.change(writers.trusted, name, {"runtime": {"image": "elsewhere/runtime:1"}})
