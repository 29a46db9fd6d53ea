"""AWS KMS as a key provider, against moto's server: a KMS that nobody here wrote, over HTTP, with its own errors."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import botocore.session
import httpx
import pytest

from modelward_runtime.config import AwsKmsKeys
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.kek import WrappedKey, connect
from modelward_runtime.store.sealed import keys, opening, writing
from modelward_runtime.store.sealed.opening import Expected
from modelward_runtime.store.sealed.writing import Sealer
from tests.ports import free_ports
from tests.sealed_folders import IDENTITY, Bytes, signing_key

DATA_KEY, CONTEXT, REGION = bytes(range(32)), bytes(32), "eu-central-1"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running moto server."""
    (port,) = free_ports(1)
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    surroundings = {**os.environ, "MOTO_RECORDER_FILEPATH": str(tmp_path_factory.mktemp("moto") / "recording")}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=surroundings) as server:
        deadline = time.monotonic() + 240
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        server.kill()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


@pytest.fixture
def kms(endpoint: str) -> Any:
    return botocore.session.get_session().create_client("kms", region_name=REGION, endpoint_url=endpoint)


@pytest.fixture
def arn(kms: Any) -> str:
    return str(kms.create_key()["KeyMetadata"]["Arn"])


def key(endpoint: str, arn: str) -> Any:
    return connect(AwsKmsKeys(key=arn, region=REGION, endpoint=endpoint))


def refusal(key: Any, wrapped: WrappedKey, context: bytes = CONTEXT) -> LoadError:
    with pytest.raises(LoadError) as caught:
        key.unwrap(wrapped, context)
    assert "decrypt" == caught.value.stage
    assert "secret-of-the-test" not in caught.value.message
    return caught.value


def test_what_was_wrapped_is_unwrapped(endpoint: str, arn: str) -> None:
    wrapped = key(endpoint, arn).wrap(DATA_KEY, CONTEXT)
    assert ("AWSKMS", arn, arn.rpartition("/")[2]) == (wrapped.provider, wrapped.kek_id, wrapped.kek_version)
    assert DATA_KEY not in wrapped.wrapped
    assert DATA_KEY == key(endpoint, arn).unwrap(wrapped, CONTEXT)


def test_an_alias_names_a_key(endpoint: str, arn: str, kms: Any) -> None:
    kms.create_alias(AliasName="alias/fraud", TargetKeyId=arn)
    wrapped = key(endpoint, "alias/fraud").wrap(DATA_KEY, CONTEXT)
    assert ("alias/fraud", arn.rpartition("/")[2]) == (wrapped.kek_id, wrapped.kek_version)
    assert DATA_KEY == key(endpoint, "alias/fraud").unwrap(wrapped, CONTEXT)


def test_another_context_or_another_key_does_not_open(endpoint: str, arn: str) -> None:
    wrapped = key(endpoint, arn).wrap(DATA_KEY, CONTEXT)
    assert LoadReason.KEY_WRONG is refusal(key(endpoint, arn), wrapped, bytes(31) + b"\1").reason
    assert LoadReason.KEY_NOT_FOUND is refusal(key(endpoint, arn + "0"), wrapped).reason
    damaged = WrappedKey("AWSKMS", arn, "x", b"no ciphertext of KMS")
    assert refusal(key(endpoint, arn), damaged).reason in {LoadReason.KEY_WRONG, LoadReason.KEY_NOT_FOUND}


def test_the_tenant_stands_in_the_encryption_context_where_a_policy_can_ask_for_it(
    endpoint: str, arn: str, kms: Any, tmp_path: Path
) -> None:
    """What `seal` had KMS wrap opens only in a call that names the tenant in clear; the load path and `rewrap` name the manifest's."""
    kek = key(endpoint, arn)
    writing.seal([Bytes("model.onnx", b"graph")], tmp_path / "sealed", IDENTITY, Sealer(kek, arn, signing_key()))
    trust = {"ci": signing_key().public_key()}
    checked = opening.check(tmp_path / "sealed", Expected(IDENTITY.tenant, IDENTITY.model, IDENTITY.version, trust))
    data_key = opening.unwrap(checked, kek).data_key
    (entry,) = checked.keys
    bound = {"modelward.context": keys.context(checked.manifest_sha256, arn).hex(), "modelward.tenant": IDENTITY.tenant}
    asked = {"KeyId": arn, "CiphertextBlob": entry.wrapped}
    assert data_key == kms.decrypt(**asked, EncryptionContext=bound)["Plaintext"]
    for other in ({**bound, "modelward.tenant": "another"}, {"modelward.context": bound["modelward.context"]}):
        with pytest.raises(kms.exceptions.InvalidCiphertextException):
            kms.decrypt(**asked, EncryptionContext=other)
    again = writing.wrap(checked.manifest_sha256, checked.manifest.tenant, data_key, Sealer(kek, arn, signing_key()))
    assert data_key == kms.decrypt(**{**asked, "CiphertextBlob": again.wrapped}, EncryptionContext=bound)["Plaintext"]


def test_a_key_that_is_gone(endpoint: str, arn: str) -> None:
    wrapped = key(endpoint, arn).wrap(DATA_KEY, CONTEXT)
    gone = arn.rpartition("/")[0] + "/00000000-0000-0000-0000-000000000000"
    error = refusal(key(endpoint, gone), WrappedKey("AWSKMS", gone, "x", wrapped.wrapped))
    assert (LoadReason.KEY_NOT_FOUND, True) == (error.reason, error.permanent)


def test_no_credentials_is_a_denial(endpoint: str, arn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = key(endpoint, arn).wrap(DATA_KEY, CONTEXT)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    error = refusal(key(endpoint, arn), wrapped)
    assert (LoadReason.KEY_DENIED, True) == (error.reason, error.permanent)
    assert "holds no AWS credentials" in error.message


ROLE = "arn:aws:iam::123456789012:role/fraud-scorer"


@pytest.fixture
def projected(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The environment that EKS's webhook gives a pod whose ServiceAccount names a role; the file of the projected token."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    token = tmp_path / "token"
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoint)
    monkeypatch.setenv("AWS_REGION", REGION)
    return token


def seen(endpoint: str, act: Callable[[], object]) -> list[dict[str, Any]]:
    """What the server was asked meanwhile, as moto records it."""
    httpx.post(f"{endpoint}/moto-api/recorder/start-recording", trust_env=False)
    act()
    httpx.post(f"{endpoint}/moto-api/recorder/stop-recording", trust_env=False)
    recording = httpx.get(f"{endpoint}/moto-api/recorder/download-recording", trust_env=False).text
    httpx.post(f"{endpoint}/moto-api/recorder/reset-recording", trust_env=False)
    return [json.loads(line) for line in recording.splitlines()]


def test_a_pods_projected_token_is_exchanged_for_its_roles_credentials_anew_at_each_use(
    endpoint: str, arn: str, kms: Any, projected: Path
) -> None:
    projected.write_text("first.projected.token")
    wrapped = key(endpoint, arn).wrap(DATA_KEY, CONTEXT)
    projected.write_text("second.projected.token")  # as the kubelet renews it

    def unwrap() -> None:
        assert DATA_KEY == key(endpoint, arn).unwrap(wrapped, CONTEXT)

    exchange, decrypt = seen(endpoint, unwrap)
    sent = parse_qs(base64.b64decode(exchange["body"]).decode())
    assert ["AssumeRoleWithWebIdentity"] == sent["Action"]
    assert ([ROLE], ["second.projected.token"]) == (sent["RoleArn"], sent["WebIdentityToken"])
    assert "authorization" not in {name.lower() for name in exchange["headers"]}, "the token speaks for itself"
    headers = {name.lower(): text for name, text in decrypt["headers"].items()}
    assert "TrentService.Decrypt" == headers["x-amz-target"]
    assert "Credential=ASIA" in headers["authorization"], "signed with what STS gave for a while"
    assert "projected.token" not in json.dumps(decrypt)


def test_a_projected_token_that_is_not_there_is_a_denial(endpoint: str, arn: str, projected: Path) -> None:
    error = refusal(key(endpoint, arn), WrappedKey("AWSKMS", arn, "x", b"x"))
    assert (LoadReason.KEY_DENIED, True) == (error.reason, error.permanent)
    assert str(projected) in error.message


@pytest.mark.parametrize("code", ["InvalidIdentityToken", "IDPRejectedClaim", "ExpiredTokenException", "AccessDenied"])
def test_a_token_that_sts_does_not_take_is_a_denial(endpoint: str, arn: str, code: str) -> None:
    error = key(endpoint, arn)._explain("decrypt", {"Code": code, "Message": "told by STS"})
    assert (LoadReason.KEY_DENIED, True) == (error.reason, error.permanent)


def test_nobody_there_is_transient(arn: str) -> None:
    (port,) = free_ports(1)
    error = refusal(key(f"http://127.0.0.1:{port}", arn), WrappedKey("AWSKMS", arn, "x", b"x"))
    assert (LoadReason.KEY_SERVICE_UNREACHABLE, False) == (error.reason, error.permanent)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("ThrottlingException", LoadReason.KEY_SERVICE_UNREACHABLE),
        ("KMSInternalException", LoadReason.KEY_SERVICE_UNREACHABLE),
        ("AccessDeniedException", LoadReason.KEY_DENIED),
        ("DisabledException", LoadReason.KEY_DENIED),
        ("KMSInvalidStateException", LoadReason.KEY_DENIED),
        ("IncorrectKeyException", LoadReason.KEY_WRONG),
    ],
)
def test_what_kms_says_that_moto_never_does(endpoint: str, arn: str, code: str, reason: LoadReason) -> None:
    error = key(endpoint, arn)._explain("decrypt", {"Code": code, "Message": "told by KMS"})
    assert reason is error.reason
    assert "told by KMS" in error.message


def test_without_botocore_it_says_what_to_install(endpoint: str, arn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    with pytest.raises(LoadError, match=r"install modelward-runtime\[aws\]") as caught:
        key(endpoint, arn).wrap(DATA_KEY, CONTEXT)
    assert LoadReason.CONFIG_INVALID is caught.value.reason
