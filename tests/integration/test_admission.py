"""What the chart's ValidatingAdmissionPolicies refuse and let through, on a real API server."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import yaml

from modelward_operator.api.parse import Invalid, parse_policy
from modelward_operator.facts import Policy, Surroundings
from modelward_operator.policies.governance.rule import EVERYBODY, governance
from tests.integration.apiserver import ApiServer
from tests.integration.guard import MERGE, PATIENCE, allow, guard, refusal, until_refused
from tests.integration.rest import Json, request
from tests.makers import make_given, parsed
from tests.specs import HEX, TRUST, model, policy

POLICIES = "/apis/modelward.dev/v1alpha1/modelpolicies"
_numbers = itertools.count(1)

SIGNED = f"verification: {{mode: Required, {TRUST}}}"
SEALED = f"encryption: {{mode: Required, keyRef: {{provider: Secret, name: kek}}}}, {SIGNED}"
ENCRYPTION = "spec.security.encryption.mode must be Required"
VERIFICATION = "spec.security.verification.mode must be Required"


AUTHENTICATION = "spec.security.authentication.mode must not be None"
MODEL = "model: {uri: 's3://models/risk/fraud/7/'}"
IMAGES = "allowedImages: ['registry.example/ml/', 'ghcr.example/x/runtime:', 'ghcr.example/y:1']"


NOBODY_ALLOWS = (
    "{model: {uri: 's3://elsewhere/'}, runtime: {image: elsewhere/runtime}, security: {authentication: {mode: None}}}"
)


def running(image: str) -> str:
    return f"{{{MODEL}, runtime: {{image: '{image}'}}}}"


def spec(security: str = "", uri: str = "s3://models/risk/fraud/7/") -> str:
    return f"{{model: {{uri: '{uri}'}}, security: {{{security}}}}}"


@pytest.fixture(scope="module")
def guarded(server: ApiServer) -> ApiServer:
    """The server with the chart's admission policies in force."""
    return guard(server)


@pytest.fixture
def room(guarded: ApiServer) -> "Iterator[Room]":
    """A namespace `tier: prod` of the test's own; its policies end with the test."""
    made = Room(guarded, f"admission-{next(_numbers)}")
    yield made
    made.close()


class Room:
    """One namespace and the policies over it."""

    def __init__(self, server: ApiServer, name: str) -> None:
        self.server, self.name, self.policies = server, name, list[str]()
        labels = {"tier": f"prod-{name}"}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        request(server, "POST", "/api/v1/namespaces", body)

    def govern(self, demands: str, selector: str = "", name: str = "floor") -> None:
        """Create a policy, by default over this namespace alone, and wait until it refuses what breaks all of them."""
        selector = selector or f"{{matchLabels: {{tier: prod-{self.name}}}}}"
        made = policy(f"{{namespaceSelector: {selector}, {demands}}}", f"{self.name}-{name}")
        request(self.server, "POST", POLICIES, made)
        self.policies.append(made["metadata"]["name"])

    def in_force(self) -> None:
        """Wait until the policies refuse a model that nothing allows."""
        for name in self.policies:
            until_refused(lambda: self.create(NOBODY_ALLOWS), name)

    def create(self, text: str, *, dry_run: bool = True, name: str = "fraud") -> Json:
        path = f"/apis/modelward.dev/v1alpha1/namespaces/{self.name}/modeldeployments"
        return request(self.server, "POST", path + ("?dryRun=All" if dry_run else ""), model(text, name))

    def patch(self, body: Json, name: str = "fraud") -> Json:
        path = f"/apis/modelward.dev/v1alpha1/namespaces/{self.name}/modeldeployments/{name}"
        return request(self.server, "PATCH", path, body, headers={"Content-Type": "application/merge-patch+json"})

    def close(self) -> None:
        for name in self.policies:
            request(self.server, "DELETE", f"{POLICIES}/{name}")


ROWS = [
    # why this row, what the policy demands, the model, the refusal (empty: it is let through)
    ("plain under encryption", "requireEncryption: true", spec(), ENCRYPTION),
    ("encryption that is off", "requireEncryption: true", spec("encryption: {mode: Disabled}"), ENCRYPTION),
    ("signed is not sealed", "requireEncryption: true", spec(SIGNED), ENCRYPTION),
    ("sealed", "requireEncryption: true", spec(SEALED), ""),
    ("unsigned under verification", "requireVerification: true", spec(), VERIFICATION),
    (
        "a signature that only warns",
        "requireVerification: true",
        spec(f"verification: {{mode: Warn, {TRUST}}}"),
        VERIFICATION,
    ),
    ("signed", "requireVerification: true", spec(SIGNED), ""),
    (
        "whose key it is, only reconcile can know",
        f"requireVerification: true, trustedSigners: ['sha256:{HEX}']",
        spec(SIGNED),
        "",
    ),
    ("no digest", "requireDigest: true", spec(SEALED), "spec.model.digest must be set"),
    ("a digest", "requireDigest: true", f"{{model: {{uri: 's3://models/a/', digest: 'sha256:{HEX}'}}}}", ""),
    ("another bucket", "allowedUriPrefixes: ['s3://other/']", spec(), "spec.model.uri must begin with s3://other/"),
    (
        "a neighbour's name begins alike",
        "allowedUriPrefixes: ['s3://models/risk/']",
        spec(uri="s3://models/risk-of-others/a/"),
        "spec.model.uri must begin with s3://models/risk/",
    ),
    ("a registry", "allowedUriPrefixes: ['oci://r.example/risk/']", spec(uri="oci://r.example/risk/fraud:7"), ""),
    (
        "another registry",
        "allowedUriPrefixes: ['oci://r.example/risk/']",
        spec(uri="oci://r.example:5000/risk/fraud:7"),
        "spec.model.uri must begin with oci://r.example/risk/",
    ),
    ("one of two prefixes", "allowedUriPrefixes: ['pvc://a/', 's3://models/']", spec(), ""),
    (
        "nobody is asked who they are",
        "requireAuthentication: true",
        spec("authentication: {mode: None}"),
        AUTHENTICATION,
    ),
    *(
        (
            f"the group {group} is let in",
            "requireAuthentication: true",
            spec(f"authentication: {{allowedSubjects: [{{kind: Group, name: '{group}'}}]}}"),
            "allowedSubjects must not hold the groups",
        )
        for group in EVERYBODY
    ),
    (
        "a group of some is let in",
        "requireAuthentication: true",
        spec("authentication: {allowedSubjects: [{kind: Group, name: 'system:serviceaccounts:shop'}]}"),
        "",
    ),
    ("absent is TokenReview", "requireAuthentication: true", spec(), ""),
    ("TokenReview, written out", "requireAuthentication: true", spec("authentication: {mode: TokenReview}"), ""),
    ("no privacy policy", "requirePrivacyPolicy: true", spec(), "spec.privacy.policyRef must be set"),
    ("a privacy policy", "requirePrivacyPolicy: true", f"{{{MODEL}, privacy: {{policyRef: {{name: standard}}}}}}", ""),
    (
        "another image",
        IMAGES,
        running("registry.example/other/runtime:1"),
        "spec.runtime.image must be left out, or be or begin with",
    ),
    (
        "a neighbour's image begins alike",
        IMAGES,
        running("registry.example/ml-of-others/runtime:1"),
        "spec.runtime.image must be left out",
    ),
    ("an image of the folder", IMAGES, running("registry.example/ml/a/b@sha256:" + HEX), ""),
    ("an image of the repository", IMAGES, running("ghcr.example/x/runtime:2"), ""),
    ("the very image", IMAGES, running("ghcr.example/y:1"), ""),
    ("the very image is not a prefix", IMAGES, running("ghcr.example/y:1.1"), "spec.runtime.image must be left out"),
    ("the operator's own image", IMAGES, spec(), ""),
    ("the operator's own image, written out", IMAGES, running(""), ""),
    ("the very prefix, without its slash", "allowedUriPrefixes: ['s3://models/']", spec(uri="s3://models"), ""),
]


@pytest.mark.parametrize(("reason", "demands", "text", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_a_model_under_a_policy(reason: str, demands: str, text: str, expected: str, room: Room) -> None:
    room.govern(demands)
    room.in_force()
    said = refusal(lambda: room.create(text))
    assert bool(expected) == bool(said), reason
    assert expected in said
    assert not said or f"ModelPolicy {room.name}-floor: " in said
    assert bool(expected) == denied(demands, text), (
        "the operator, in Python, is of one mind with the API server, in CEL"
    )


def denied(demands: str, text: str) -> bool:
    """Return what the room says to the same model under the same policy."""
    floor = parse_policy(policy(f"{{namespaceSelector: {{}}, {demands}}}"))
    assert not isinstance(floor, Invalid)
    given = replace(make_given(yaml.safe_load(text)), around=Surroundings({}, (Policy("floor", floor),), {}))
    return governance(given, parsed(given)).denied


def test_policies_add_up_and_each_says_what_it_demands(room: Room) -> None:
    room.govern("requireEncryption: true", name="a")
    room.govern("allowedUriPrefixes: ['s3://models/']", name="b")
    room.in_force()
    assert f"ModelPolicy {room.name}-a" in refusal(lambda: room.create(spec()))
    assert f"ModelPolicy {room.name}-b" in refusal(lambda: room.create(spec(SEALED, uri="s3://elsewhere/")))
    assert refusal(lambda: room.create(spec(SEALED))) == ""


def test_a_policy_over_other_namespaces_holds_nobody_here(room: Room) -> None:
    room.govern(
        "requireEncryption: true", selector=f"{{matchLabels: {{tier: prod-{room.name}, more: 'yes'}}}}", name="more"
    )
    room.policies, kept = [], room.policies
    room.govern("allowedUriPrefixes: ['s3://models/']", name="here")
    room.in_force()  # the later one is heard of, so the earlier one is
    assert refusal(lambda: room.create(spec())) == ""
    room.policies += kept


def test_what_existed_before_may_change_but_for_its_spec_and_may_be_mended(room: Room) -> None:
    room.create(spec(), dry_run=False)
    room.govern("requireEncryption: true")
    room.in_force()
    room.patch({"metadata": {"labels": {"team": "risk"}, "finalizers": ["example.com/wait"]}})
    assert ENCRYPTION in refusal(lambda: room.patch({"spec": {"runtime": {"threads": 2}}}))
    mended = yaml.safe_load(spec(SEALED))
    assert refusal(lambda: room.patch({"spec": mended})) == ""
    assert ENCRYPTION in refusal(
        lambda: room.patch({"spec": {"security": {"encryption": {"mode": "Disabled", "keyRef": None}}}})
    )
    room.patch({"metadata": {"finalizers": None}})


def test_the_end_of_a_policy_is_the_end_of_its_demands(room: Room) -> None:
    room.govern("requireEncryption: true")
    room.in_force()
    room.close()
    room.policies = []
    limit = time.monotonic() + PATIENCE
    while refusal(lambda: room.create(spec())):
        assert time.monotonic() < limit
        time.sleep(0.1)


ADMIN = {"Impersonate-User": "root", "Impersonate-Group": "system:masters"}
EDITOR = {"Impersonate-User": "editor"}
TRUSTEE = {"Impersonate-User": "trustee"}
TENANT = "modelward.dev/tenant"
LABEL_WORDS = "may be set, changed or removed only by who may `assign` `tenants.modelward.dev`"


@pytest.fixture(scope="module")
def people(guarded: ApiServer) -> ApiServer:
    """`editor` and `trustee` may do everything with namespaces; `trustee` may assign tenants as well."""
    namespaces: Json = {
        "apiGroups": [""],
        "resources": ["namespaces", "namespaces/status", "namespaces/finalize"],
        "verbs": ["*"],
    }
    assigns: Json = {"apiGroups": ["modelward.dev"], "resources": ["tenants"], "verbs": ["assign"]}
    allow(guarded, "editor", namespaces)
    allow(guarded, "trustee", namespaces, assigns)
    create = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant-probe", "labels": {TENANT: "a"}}}
    until_refused(
        lambda: request(guarded, "POST", "/api/v1/namespaces?dryRun=All", create, headers=EDITOR), LABEL_WORDS
    )
    return guarded


LABELS: list[tuple[str, Json, Json, Json, bool]] = [
    # why this row, who, labels before (None: the namespace is new), labels that are written, let through
    ("an administrator sets it", ADMIN, {}, {TENANT: "risk"}, True),
    ("who may assign tenants sets it", TRUSTEE, {}, {TENANT: "risk"}, True),
    ("who may only edit namespaces does not set it", EDITOR, {}, {TENANT: "risk"}, False),
    ("nor change it", EDITOR, {TENANT: "risk"}, {TENANT: "shop"}, False),
    ("nor remove it", EDITOR, {TENANT: "risk"}, {TENANT: None}, False),
    ("other labels are nobody's business", EDITOR, {TENANT: "risk"}, {"team": "a"}, True),
    ("to write what is there changes nothing", EDITOR, {TENANT: "risk"}, {TENANT: "risk", "team": "a"}, True),
]


@pytest.mark.parametrize(("reason", "who", "before", "written", "allowed"), LABELS, ids=[row[0] for row in LABELS])
@pytest.mark.parametrize("subresource", ["", "/status"])
def test_the_tenant_of_a_namespace(
    reason: str, who: Json, before: Json, written: Json, allowed: bool, subresource: str, people: ApiServer
) -> None:
    name = f"tenant-{next(_numbers)}"
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": before}}
    request(people, "POST", "/api/v1/namespaces", made)
    path = f"/api/v1/namespaces/{name}{subresource}"
    said = refusal(lambda: request(people, "PATCH", path, {"metadata": {"labels": written}}, headers={**who, **MERGE}))
    assert allowed == (said == ""), f"{reason}: {said}"
    assert allowed or LABEL_WORDS in said


@pytest.mark.parametrize(("who", "allowed"), [(ADMIN, True), (TRUSTEE, True), (EDITOR, False)])
def test_the_tenant_of_a_new_namespace(who: Json, *, allowed: bool, people: ApiServer) -> None:
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant-new", "labels": {TENANT: "risk"}}}
    said = refusal(lambda: request(people, "POST", "/api/v1/namespaces?dryRun=All", made, headers=who))
    assert allowed == (said == "")
    assert allowed or LABEL_WORDS in said
