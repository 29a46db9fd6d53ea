"""The largest sealed model that the format allows is written and read within the format's own limits."""

import pytest

from modelward_runtime.errors import LoadError
from modelward_runtime.store.sealed import canonical, manifest, signature
from modelward_runtime.store.sealed.manifest import Manifest, SealedFile
from modelward_runtime.store.sealed.stream import ciphertext_size
from tests.sealed_folders import signing_key


def test_the_most_files_with_the_longest_paths_fit() -> None:
    size = (1 << 47) + 12345
    made = Manifest(
        tenant="t" * 253,
        model="m" * 253,
        version="v" * 253,
        key_commitment="c" * 64,
        files=tuple(
            SealedFile(
                path=f"{number:05}" + "x" * (manifest.LONGEST_PATH - 5),
                plaintext_size=size,
                size=ciphertext_size(size),
                sha256="a" * 64,
            )
            for number in range(manifest.MOST_FILES)
        ),
    )
    content = canonical.encode(made)
    assert len(content) <= manifest.MOST_BYTES
    assert manifest.parse(content) == made
    signed = dict.fromkeys(("manifest.json", *made.data_names), "b" * 64)
    bundle = signature.sign(signing_key(), signed, "m" * 253)
    assert len(bundle) <= signature.MOST_BYTES
    _, files_signed = signature.verify(bundle, {"ci": signing_key().public_key()}, "model.sig", low_s=True)
    assert files_signed == signed


def test_more_files_than_there_can_be_are_refused_before_one_is_sealed() -> None:
    with pytest.raises(LoadError, match="10000 files at most, and these are 10001"):
        manifest.check_paths([f"{number:05}" for number in range(10_001)])
