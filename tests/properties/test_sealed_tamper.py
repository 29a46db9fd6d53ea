"""Nothing that was done to a sealed folder opens it: thousands of changes of dozens of kinds, each refused with a reason that fits.

Every byte of every file is flipped, but of a large one only those that tell: header, borders of segments, tags, and a spread of the rest.
`MODELWARD_TAMPER_MASKS=3` flips each in three ways. `-s` shows the counts.
"""

import os
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.sealed import opening
from modelward_runtime.store.sealed.decrypt import wipe
from tests.sealed_folders import Sealed
from tests.sealed_mutations import FILES, Copies, make_victim, mutations, older_sealing

MASKS = int(os.environ.get("MODELWARD_TAMPER_MASKS", "1"))
STAGES = {
    LoadReason.NOT_SEALED: "verify",  # what the load path says of a folder that no longer looks sealed
    LoadReason.SIGNATURE_MISSING: "verify",
    LoadReason.SIGNATURE_INVALID: "verify",
    LoadReason.SIGNER_UNTRUSTED: "verify",
    LoadReason.SEAL_INVALID: "verify",
    LoadReason.SEAL_MISMATCH: "verify",
    LoadReason.KEY_WRONG: "decrypt",
    LoadReason.KEY_NOT_FOUND: "decrypt",
    LoadReason.DECRYPTION_FAILED: "decrypt",
}


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def attempt(folder: Path, sealed: Sealed) -> str:
    """What the load path does with a folder: the reason it is refused with, or `opened`."""
    names = [file.relative_to(folder).as_posix() for file in folder.rglob("*")]
    if not opening.is_sealed(names):
        return LoadReason.NOT_SEALED
    try:
        checked = opening.check(folder, sealed.expected)
        buffers = opening.decrypt(checked, opening.unwrap(checked, sealed.kek).data_key, threads=1)
    except LoadError as error:
        is_proper = STAGES.get(error.reason) == error.stage and error.permanent and error.message.isprintable()
        is_proper = is_proper and 10 < len(error.message) < 2000
        return error.reason if is_proper else f"improper: {error!r}"
    wipe(buffers.values())
    return "opened"


@pytest.mark.timeout(900)
def test_nothing_that_was_tampered_with_opens(tmp_path: Path) -> None:
    victim, others = make_victim(tmp_path)
    assert attempt(victim.folder, victim) == "opened"
    copies = Copies(victim, tmp_path)
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    opened = []  # or refused in a way that is not of the contract
    for mutation in mutations(victim, others, masks=MASKS):
        folder = copies.fresh()
        mutation.apply(folder)
        outcome = attempt(folder, victim)
        outcomes[mutation.kind][outcome] += 1
        if outcome not in STAGES:
            opened.append(f"{mutation.kind}: {mutation.description}")
    total = sum(count.total() for count in outcomes.values())
    for kind, count in sorted(outcomes.items()):
        say(f"{count.total():6}  {kind}: {', '.join(f'{reason} {n}' for reason, n in count.most_common())}")
    say(f"{total:6}  mutations of {len(outcomes)} classes, {len(opened)} opened")
    assert opened == []
    assert len(outcomes) >= 25
    assert total >= 4000


def test_an_older_sealing_of_the_same_version_opens_and_has_another_digest(tmp_path: Path) -> None:
    """SECURITY.md, "Rollback within a version": the load path refuses it where the spec declares a digest (test_load_sealed.py)."""
    victim, others = make_victim(tmp_path)
    folder = Copies(victim, tmp_path).fresh()
    older_sealing(others).apply(folder)
    assert attempt(folder, victim) == "opened"
    assert opening.check(folder, victim.expected).digest != opening.check(victim.folder, victim.expected).digest


def test_what_is_undone_opens_again(tmp_path: Path) -> None:
    """The refusals above are the mutations' doing: the same steps without them open."""
    victim, _ = make_victim(tmp_path)
    copies = Copies(victim, tmp_path)
    (copies.fresh() / "data" / "1").write_bytes(b"and the copies notice")
    folder = copies.fresh()
    assert attempt(folder, victim) == "opened"
    checked = opening.check(folder, victim.expected)
    buffers = opening.decrypt(checked, opening.unwrap(checked, victim.kek).data_key, threads=3)
    assert {path: bytes(buffer) for path, buffer in buffers.items()} == FILES


@pytest.mark.parametrize("threads", [1, 4])
def test_no_plaintext_is_left_when_a_late_byte_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    victim, _ = make_victim(tmp_path)
    checked = opening.check(victim.folder, victim.expected)
    key = opening.unwrap(checked, victim.kek).data_key
    monkeypatch.setattr(
        "modelward_runtime.store.sealed.decrypt._AT_ONCE", 1
    )  # else so small a file is hashed before any of it is decrypted
    with (victim.folder / "data" / "1").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    seen: list[bytes] = []

    def wipe_and_look(buffers: object) -> None:
        kept = list(buffers)  # type: ignore[call-overload]
        seen.extend(bytes(buffer[:64]) for buffer in kept)
        for buffer in kept:
            for start in range(0, len(buffer), 1 << 20):
                buffer[start : start + (1 << 20)] = bytes(len(buffer[start : start + (1 << 20)]))
        seen.extend(bytes(buffer) for buffer in kept)

    monkeypatch.setattr("modelward_runtime.store.sealed.decrypt.wipe", wipe_and_look)
    with pytest.raises(LoadError) as caught:
        opening.decrypt(checked, key, threads)
    assert caught.value.reason is LoadReason.SEAL_INVALID
    assert FILES["model.onnx.data"][:64] in seen, "something had been decrypted"
    assert not any(any(content) for content in seen[3:])
