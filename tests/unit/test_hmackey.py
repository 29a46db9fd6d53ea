"""Keys of HMACs: one rule for everybody who reads one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modelward_runtime.audit.keys import load_input_key
from modelward_runtime.epsilon.config import LedgerPlace
from modelward_runtime.epsilon.subjects import subjects_of
from modelward_runtime.errors import LoadError
from modelward_runtime.hmackey import LONGEST, SHORTEST, KeyUnusable, read_key
from modelward_runtime.model import Array
from modelward_runtime.privacy.compile import compile_rules
from tests.privacy_policies import CLASSIFIER, policy


def hashed_by(file: Path) -> Array:
    rules = compile_rules(
        policy(input={"pii": [{"kinds": ["Email"], "action": "Hash"}], "hashKeyFile": str(file)}), CLASSIFIER
    )
    return rules.clear({"text": np.array([["jo@example.com"]], object)})["text"]


def named_by(file: Path) -> str:
    place = LedgerPlace(
        namespace="n", policy="p", server="https://api", token_file="t", ca_file="c", key_file=str(file)
    )
    return subjects_of(place).name("alice")


READERS: list[Callable[[Path], object]] = [
    lambda file: hashed_by(file).ravel().tolist(),
    load_input_key,
    named_by,
]
NAMES = ["hashes of personal data", "hashes of inputs", "names in the ledger"]


@pytest.mark.parametrize("read", READERS, ids=NAMES)
def test_every_byte_of_the_file_counts_a_last_newline_too(tmp_path: Path, read: Callable[[Path], object]) -> None:
    bare, ended = tmp_path / "bare", tmp_path / "ended"
    bare.write_bytes(b"k" * SHORTEST)
    ended.write_bytes(b"k" * SHORTEST + b"\n")
    assert read(bare) != read(ended)


@pytest.mark.parametrize("read", READERS, ids=NAMES)
@pytest.mark.parametrize(
    ("reason", "content", "is_key"),
    [
        ("a byte short", b"k" * (SHORTEST - 1), False),
        ("whitespace is not taken away", b"k" * (SHORTEST - 1) + b"\n", True),
        ("the longest", b"k" * LONGEST, True),
        ("a byte too many", b"k" * (LONGEST + 1), False),
        ("not there", None, False),
    ],
)
def test_the_bounds_are_the_same_for_all(
    tmp_path: Path, read: Callable[[Path], object], reason: str, content: bytes | None, is_key: bool
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    if is_key:
        read(file)
        return
    with pytest.raises((LoadError, KeyUnusable)) as caught:
        read(file)
    assert str(file) in str(caught.value), reason
    assert "kkk" not in str(caught.value)


def test_a_fifo_or_device_is_not_read_to_its_end() -> None:
    with pytest.raises(KeyUnusable, match="more than"):
        read_key("/dev/zero")
