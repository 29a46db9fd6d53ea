"""Every boot.json and policy.json that the operator's goldens hold is read by the runtime's parser: one contract, two hands."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from modelward_operator.status.conditions import LOAD_FAILURES, POLICY_FAILURES
from modelward_runtime.config import AwsKmsKeys, SecretKeys, VaultKeys, boot_id, parse_boot, parse_policy
from modelward_runtime.errors import LoadReason

GOLDEN = Path(__file__).parents[1] / "golden"


def config_files() -> Iterator[tuple[str, str, str]]:
    """Golden file, name of the entry, its text."""
    for golden in sorted(GOLDEN.rglob("*.yaml")):
        for document in yaml.safe_load_all(golden.read_text()):
            if isinstance(document, dict) and document.get("kind") == "ConfigMap":
                for name, text in (document.get("data") or {}).items():
                    if name in {"boot.json", "policy.json"}:
                        yield str(golden.relative_to(GOLDEN)), name, text


FILES = list(config_files())


def test_there_are_goldens_to_read() -> None:
    assert {"boot.json", "policy.json"} == {name for _, name, _ in FILES}


@pytest.mark.parametrize(("golden", "name", "text"), FILES, ids=[f"{golden}:{name}" for golden, name, _ in FILES])
def test_the_operators_files_are_read_by_the_runtime(golden: str, name: str, text: str) -> None:
    if name == "policy.json":
        assert parse_policy(text.encode()).generation, golden
        return
    boot = parse_boot(text.encode())
    assert len(boot_id(text.encode())) == 12
    assert boot.model.uri.partition("://")[0] in {"s3", "gs", "https", "oci", "pvc"}, golden
    assert boot.model.uri.startswith("pvc://") == bool(boot.model.directory), (
        "a volume names the folder where it is mounted"
    )


def test_there_are_goldens_of_every_key_provider_and_mode() -> None:
    securities = [
        boot.security for _, name, text in FILES if name == "boot.json" and (boot := parse_boot(text.encode()))
    ]
    encryptions = [security.encryption for security in securities if security and security.encryption]
    assert {SecretKeys, VaultKeys, AwsKmsKeys} == {type(encryption.keys) for encryption in encryptions}
    modes = {security.verification.mode for security in securities if security and security.verification}
    assert modes == {"Required", "Warn"}
    signers = {security.verification.signers for security in securities if security and security.verification}
    assert {None, frozenset({f"sha256:{'0' * 64}"})} == signers, "bounded by a policy, and by none"
    assert {"default", "risk-eu"} == {security.tenant for security in securities if security}


def test_operator_and_runtime_know_the_same_reasons_of_a_failed_load() -> None:
    assert {str(reason) for reason in LoadReason} == LOAD_FAILURES.keys() | POLICY_FAILURES
