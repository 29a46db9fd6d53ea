"""Sealed models on the cluster: what serves, what never does, keys that change, and what a ModelPolicy forbids."""

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from e2e.cases import manifests
from e2e.cases.case import PATIENCE, Case
from e2e.cases.clients import add
from e2e.cases.conftest import RUN, upload
from e2e.cases.kube import Kube, Refused, wait
from e2e.cases.manifests import NAME, Object
from e2e.cases.sealing import TRUST, Workshop, copy, flip, security
from e2e.cases.tiny_models import adder
from e2e.cluster.paths import REPOSITORY
from tests.certificates import Draft, ca, days_ago, issue, leaf, pem

pytestmark = pytest.mark.core
TENANT_LABEL = "modelward.dev/tenant"


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="module")
def plain(workshop: Workshop) -> Path:
    file = workshop.folder / "adder.onnx"
    onnx.save(adder(1), str(file))
    return file


def put(case: Case, folder: Path, name: str = "") -> str:
    """Upload a folder for this case; its URI."""
    where = f"{case.prefix}/{case.namespace}/{name or folder.name}/"
    upload(folder, where)
    return where


def declare(case: Case, uri: str, **spec: Any) -> Object:
    """A ModelDeployment of an uploaded folder that must be sealed."""
    spec.setdefault("security", security())
    return manifests.model_deployment(uri, manifests.storage(case.store), **spec)


def test_a_sealed_model_serves_and_its_key_changes_without_a_restart(
    case: Case, workshop: Workshop, plain: Path
) -> None:
    sealed = workshop.seal(plain, case.namespace)
    uri = put(case, sealed)
    case.apply(workshop.key_secret("k1"), workshop.trust_map(), declare(case, uri))
    case.wait_ready()
    assert add(case.service_address()) == 1
    told = case.model()["status"]["model"]
    assert (told["signer"], told["keyId"], told["encrypted"]) == ("ci", "k1", True)
    assert case.condition("ModelVerified")["reason"] == "SignatureValid"
    assert case.condition("ModelDecrypted")["reason"] == "Decrypted"
    (before,) = case.pods()

    workshop.rewrap(sealed, "k1", "k2")
    put(case, sealed)
    case.apply(workshop.key_secret("k2"))  # k1 is gone
    assert add(case.service_address()) == 1
    assert [before["metadata"]["uid"]] == [pod["metadata"]["uid"] for pod in case.pods()], "nothing was restarted"

    case.kube.delete("Pod", before["metadata"]["name"], case.namespace, grace=0)
    wait("the next pod opens it with the new key", lambda: _key(case) == "k2", within=PATIENCE, last=case.told)
    case.wait_ready()
    assert told["digest"] == case.model()["status"]["model"]["digest"], "the model is the same one"
    assert add(case.service_address()) == 1


def test_a_key_changes_with_a_new_version_of_the_model(case: Case, workshop: Workshop, plain: Path) -> None:
    """The other rotation: the next version is sealed for the new key, and the old key goes when its version is gone."""
    case.apply(workshop.key_secret("k1"), workshop.trust_map())
    case.apply(declare(case, put(case, workshop.seal(plain, case.namespace)), model={"version": "1"}))
    case.wait_ready()

    second = workshop.folder / "second.onnx"
    onnx.save(adder(2), str(second))
    sealed = workshop.seal(second, case.namespace, version="2", kek=str(workshop.kek("k2")), kek_id="k2")
    uri = put(case, sealed)
    case.apply(workshop.key_secret("k1", "k2"))
    case.change({"model": {"uri": uri, "version": "2"}})
    case.wait_ready()
    case.apply(workshop.key_secret("k2"))
    assert _key(case) == "k2"
    assert add(case.service_address()) == 2


def test_whoever_a_trusted_ca_certifies_may_sign_and_nobody_else(case: Case, workshop: Workshop, plain: Path) -> None:
    """The signer's certificate and an intermediate CA's lie in the signature; the cluster trusts the root alone."""
    root, stranger = (_authority(name) for name in ("model-signing", "stranger"))
    between = replace(_authority("between"), path_length=0)
    trust = workshop.trust_map() | {"data": {"public.pem": pem(issue(root)).decode()}}
    case.apply(workshop.key_secret("k1"), trust)

    def sealed(issuer: Draft) -> str:
        chain, certificate = workshop.folder / f"{issuer.name}.chain.pem", workshop.folder / f"{issuer.name}.leaf.pem"
        chain.write_bytes(pem(issue(between, issuer)))
        certificate.write_bytes(pem(issue(_signer(workshop), between)))
        return put(case, workshop.seal(plain, case.namespace, certificate=str(certificate), chain=str(chain)))

    case.apply(declare(case, sealed(stranger)))
    case.wait_condition(NAME, "ModelVerified", "False", "SignerUntrusted")
    case.apply(declare(case, sealed(root)))
    case.wait_ready()
    assert case.condition("ModelVerified")["reason"] == "SignatureValid"
    assert add(case.service_address()) == 1


def _authority(name: str) -> Draft:
    return ca(name, key=ec.generate_private_key(ec.SECP256R1()), first=days_ago(1), last=days_ago(-30))


def _signer(workshop: Workshop) -> Draft:
    """A certificate for code signing of the workshop's own key."""
    key = load_pem_private_key(workshop.signing_key().read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return leaf("ci", key=key, first=days_ago(1), last=days_ago(-30))


def _key(case: Case) -> str:
    return str(case.model()["status"].get("model", {}).get("keyId", ""))


class Bad(NamedTuple):
    """One way in which a model must not serve, and what the user is told."""

    named: str
    prepare: Callable[[Case, Workshop, Path], Path]
    condition: str
    reason: str
    text: str


def _of_another_tenant(case: Case, workshop: Workshop, plain: Path) -> Path:
    return workshop.seal(plain, "somebody-else")


def _of_another_version(case: Case, workshop: Workshop, plain: Path) -> Path:
    return workshop.seal(plain, case.namespace, version="0")


def _signed_by_a_stranger(case: Case, workshop: Workshop, plain: Path) -> Path:
    return workshop.seal(plain, case.namespace, sign_key=str(workshop.signing_key("stranger")))


def _with_a_strangers_key(case: Case, workshop: Workshop, plain: Path) -> Path:
    return workshop.seal(plain, case.namespace, kek=str(workshop.kek("other")))


def _with_a_key_that_is_not_there(case: Case, workshop: Workshop, plain: Path) -> Path:
    return workshop.seal(plain, case.namespace, kek_id="k9")


def _with_a_changed_byte(case: Case, workshop: Workshop, plain: Path) -> Path:
    sealed = workshop.seal(plain, case.namespace)
    tampered = copy(sealed, f"{sealed.name}.tampered")
    flip(tampered / "data" / "0", -1)
    return tampered


def _plain(case: Case, workshop: Workshop, plain: Path) -> Path:
    folder = workshop.folder / "plain"
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(plain.read_bytes())
    return folder


TABLE = (
    Bad("another tenant", _of_another_tenant, "ModelVerified", "SealMismatch", "for the tenant 'somebody-else'"),
    Bad("an older version", _of_another_version, "ModelVerified", "SealMismatch", "for the version '0'"),
    Bad("a stranger's signature", _signed_by_a_stranger, "ModelVerified", "SignerUntrusted", "model.sig"),
    Bad("a changed byte", _with_a_changed_byte, "ModelVerified", "SealInvalid", "data/0"),
    Bad("another key under the id", _with_a_strangers_key, "ModelDecrypted", "KeyWrong", "k1"),
    Bad("a key that is not there", _with_a_key_that_is_not_there, "ModelDecrypted", "KeyNotFound", "/k9"),
    Bad("a plain model", _plain, "ModelDecrypted", "NotSealed", "modelward seal"),
)


@pytest.mark.parametrize("bad", TABLE, ids=[bad.named.replace(" ", "-") for bad in TABLE])
def test_what_must_not_serve_does_not(case: Case, workshop: Workshop, plain: Path, bad: Bad) -> None:
    uri = put(case, bad.prepare(case, workshop, plain), "model")
    case.apply(workshop.key_secret("k1"), workshop.trust_map(), declare(case, uri))
    case.wait_condition(NAME, bad.condition, "False", bad.reason, bad.text)
    case.wait_condition(NAME, "Ready", "False", bad.reason, bad.text)
    assert case.model()["status"]["readyReplicas"] == 0


def test_missing_trust_and_missing_keys_are_named_and_heal(case: Case, workshop: Workshop, plain: Path) -> None:
    case.apply(declare(case, put(case, workshop.seal(plain, case.namespace))))
    missing = ("False", "SecretNotFound"), ("False", "ConfigMapNotFound")  # whichever the kubelet looks for first

    def is_missed() -> bool:
        ready = case.condition("Ready")
        return (ready.get("status"), ready.get("reason")) in missing

    wait("one of them is missed", is_missed, within=PATIENCE, last=case.told)
    case.apply(workshop.key_secret("k1"))
    case.wait_condition(NAME, "Ready", "False", "ConfigMapNotFound", TRUST)
    case.apply(workshop.trust_map())
    case.wait_ready()


def test_the_namespaces_label_is_the_tenant(case: Case, workshop: Workshop, plain: Path) -> None:
    uri = put(case, workshop.seal(plain, "risk"))
    case.apply(workshop.key_secret("k1"), workshop.trust_map(), declare(case, uri))
    case.wait_condition(NAME, "Ready", "False", "SealMismatch", "for the tenant 'risk'")
    case.kube.kubectl("label", "namespace", case.namespace, f"{TENANT_LABEL}=risk")
    case.wait_ready()
    assert add(case.service_address()) == 1


@pytest.fixture
def no_exec(case: Case, kube: Kube) -> Iterator[None]:
    """The policy that SECURITY.md proposes against a shell in a serving pod, as it stands there."""
    text = (REPOSITORY / "runtime" / "SECURITY.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    objects = list(yaml.safe_load_all(textwrap.dedent(text)))
    kube.apply(*objects)
    kube.kubectl("label", "namespace", case.namespace, "modelward.dev/no-exec=true")
    yield
    for one in objects:
        kube.kubectl("delete", one["kind"], one["metadata"]["name"])


@pytest.mark.usefixtures("no_exec")
def test_the_proposed_policy_keeps_shells_out_of_serving_pods(case: Case) -> None:
    case.serve()
    (pod,) = case.pods()

    def refused() -> bool:
        try:
            case.kube.kubectl("exec", "-n", case.namespace, pod["metadata"]["name"], "--", "true")
        except Refused as refusal:
            return "serving pods of sealed models take no exec" in str(refusal)
        return False

    wait("exec is refused", refused, within=30)


@pytest.fixture
def policy(case: Case, kube: Kube) -> Iterator[Object]:
    """A ModelPolicy for the case's namespace alone."""
    name = f"sealed-only-{RUN}"
    drawn = {
        "apiVersion": "modelward.dev/v1alpha1",
        "kind": "ModelPolicy",
        "metadata": {"name": name},
        "spec": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": case.namespace}},
            "requireEncryption": True,
            "requireVerification": True,
        },
    }
    yield drawn
    kube.kubectl("delete", "modelpolicy", name, "--ignore-not-found")


def test_a_policy_denies_what_serves_in_the_plain_and_refuses_to_take_more(case: Case, policy: Object) -> None:
    case.serve()
    case.kube.apply(policy)
    case.wait_condition(NAME, "Ready", "False", "ModelPolicyViolated", policy["metadata"]["name"])
    case.wait_pods(0)
    with pytest.raises(Refused, match=policy["metadata"]["name"]):
        case.apply(case.model_service(name="another"))
    case.kube.kubectl("delete", "modelpolicy", policy["metadata"]["name"])
    case.wait_ready()


def test_a_policy_knows_a_signer_by_the_key_and_not_by_its_name(
    case: Case, workshop: Workshop, plain: Path, policy: Object
) -> None:
    uri = put(case, workshop.seal(plain, case.namespace))
    case.apply(workshop.key_secret("k1"), workshop.trust_map(), declare(case, uri))
    case.wait_ready()
    fingerprint = case.model()["status"]["model"]["signerFingerprint"]

    policy["spec"]["trustedSigners"] = ["sha256:" + "0" * 64]
    case.kube.apply(policy)
    case.wait_condition(NAME, "Ready", "False", "ModelPolicyViolated", fingerprint)
    case.wait_pods(0)
    policy["spec"]["trustedSigners"] = [fingerprint]
    case.kube.apply(policy)
    case.wait_ready()
