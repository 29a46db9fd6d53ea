"""Every boot.json and policy.json that the operator's goldens hold is read by the runtime's parser: one contract, two hands."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from modelward_runtime.config import boot_id, parse_boot, parse_policy

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
    assert boot.model.uri.startswith("s3://") != boot.model.uri.startswith("pvc://"), golden
    assert boot.model.uri.startswith("pvc://") == bool(boot.model.directory), (
        "a volume names the folder where it is mounted"
    )
