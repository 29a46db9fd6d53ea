"""What somebody without the key writes to mislead or to break the verifier: it is refused, in words, and never raises."""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelward_runtime.audit.chain import FIRST, Chain
from modelward_runtime.audit.records import Continues, Expired, Genesis, Head
from modelward_runtime.sinks.sink import Writer
from tests.audit_logs import check, checkpoint, key, prediction, records, write_log

SOURCE = "/pods/pod/boots/b1"
GENESIS = {"format": "modelward.audit/v1", "pod": "pod", "boot": "b1", "key": key().fingerprint, "found": []}


def line(**changes: Any) -> bytes:
    """A genesis whose hash is right, whatever else is."""
    made = {
        "specversion": "1.0",
        "id": "0",
        "source": SOURCE,
        "type": "dev.modelward.audit.genesis",
        "time": "2026-01-01T00:00:00Z",
        "previous": FIRST,
        "data": GENESIS,
    }
    body = json.dumps({**made, **changes}, separators=(",", ":"))[:-1].encode()
    return b'%b,"hash":"%b"}\n' % (body, hashlib.sha256(body).hexdigest().encode())


HOSTILE = [
    ("an id that is no number", line(id="x"), "is no record of the format"),
    ("a huge id", line(id="9" * 5000), "is no record of the format"),
    ("a negative id", line(id="-1"), "is no record of the format"),
    ("an id with a zero before", line(id="00"), "is no record of the format"),
    ("a source that moves the cursor", line(source="/pods/\x1b[2J/boots/b1"), "is no record of the format"),
    ("another specification", line(specversion="0.3"), "is no record of the format"),
    ("another type", line(type="com.example.x"), "is no record of the format"),
    ("an unknown kind", line(type="dev.modelward.audit.party"), "is no beginning of a chain"),
    ("an unknown attribute", line(extra=1), "is no record of the format"),
    ("data of another shape", line(data=[1]), "is not what its type says"),
    (
        "an end with a strange id",
        line(data={**GENESIS, "found": [{"source": "s", "id": "x", "hash": "h"}]}),
        "is not what",
    ),
    ("another format", line(data={**GENESIS, "format": "v2"}), "another format, pod or start"),
    ("another pod", line(data={**GENESIS, "pod": "other"}), "another format, pod or start"),
    ("another key", line(data={**GENESIS, "key": "sha256:0"}), "which --trust does not name"),
    ("a genesis that hangs on something", line(previous="1" * 64), "is no beginning of a chain"),
    ("deep nesting", line(data=None).replace(b"null", b"[" * 100_000), "was changed"),
    (
        "a signature on another kind",
        line()[:-2] + b',"signature":"%b"}\n' % (b"0" * 128),
        "is signed and no checkpoint",
    ),
    ("upper-case hex", line().upper(), "does not end in a hash"),
    ("nothing in it", b"\n", "does not end in a hash"),
    ("bytes that are no text", b"\xff\xfe\n", "does not end in a hash"),
    ("a line without an end", b"x" * (3 << 20), ""),
    ("zeros", b"\0" * 5000, ""),
]


@pytest.mark.parametrize(("reason", "content", "expected"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_what_is_no_log_is_refused_in_words(tmp_path: Path, reason: str, content: bytes, expected: str) -> None:
    (tmp_path / "x.jsonl").write_bytes(content)
    verdict = check(tmp_path)
    assert not verdict.is_whole, reason
    assert expected in verdict.findings[0].message, reason
    assert "\x1b" not in "".join(chain.source for chain in verdict.chains)


async def test_a_note_of_retention_that_nobody_signed_excuses_nothing(tmp_path: Path) -> None:
    await write_log(tmp_path, "b1", count=60, longest=8192)
    chain = Chain(Writer("pod", "b2"))
    first, *rest = sorted(tmp_path.iterdir())  # noqa: ASYNC240  a test has nothing else to do
    last = records(first)[-1]
    file = tmp_path / "pod.b2.000001.jsonl"
    signed = [
        chain.add("genesis", Genesis("modelward.audit/v1", "pod", "b2", key().fingerprint, [])),
        chain.sign(key(), checkpoint("Start")),
        chain.add("expired", Expired(last["source"], last["id"], last["hash"], 1)),
    ]
    file.write_bytes(b"".join(signed))
    first.unlink()
    assert rest
    assert "the records before" in check(tmp_path).findings[0].message
    file.write_bytes(b"".join([*signed, chain.sign(key(), checkpoint("Expired"))]))
    assert check(tmp_path).is_whole


async def test_a_checkpoint_of_another_key_or_with_another_signature_is_refused(tmp_path: Path) -> None:
    for name, claimed, expected in [("wrong", "audit", "is wrong"), ("other", "stranger", "as the chain says")]:
        chain = Chain(Writer("pod", name))
        content = [
            chain.add("genesis", Genesis("modelward.audit/v1", "pod", name, key().fingerprint, [])),
            chain.sign(key("stranger"), checkpoint(signer=claimed)),
        ]
        folder = tmp_path / name
        folder.mkdir()
        (folder / "log.jsonl").write_bytes(b"".join(content))
        assert expected in check(folder).findings[0].message


async def test_an_end_that_a_genesis_has_seen_cannot_be_cut_off(tmp_path: Path) -> None:
    await write_log(tmp_path, "b1", count=10, records=3)
    seen = records(tmp_path)[-1]
    chain = Chain(Writer("pod", "b2"))
    found = [Head(seen["source"], seen["id"], seen["hash"])]
    content = [
        chain.add("genesis", Genesis("modelward.audit/v1", "pod", "b2", key().fingerprint, found)),
        chain.sign(key(), checkpoint("Start", closing=True)),
    ]
    (tmp_path / "pod.b2.000001.jsonl").write_bytes(b"".join(content))
    assert check(tmp_path).is_whole
    file = tmp_path / "pod.b1.000001.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    checkpoints = [number for number, text in enumerate(lines) if b"audit.checkpoint" in text]
    file.write_bytes(b"".join(lines[: checkpoints[-2] + 1]))
    assert "the end was cut off" in check(tmp_path).findings[0].message


def begun(boot: str = "b1", wall: Callable[[], float] = time.time) -> tuple[Chain, list[bytes]]:
    """A chain and its first two records."""
    chain = Chain(Writer("pod", boot), wall)
    genesis = chain.add("genesis", Genesis("modelward.audit/v1", "pod", boot, key().fingerprint, []))
    return chain, [genesis, chain.sign(key(), checkpoint("Start"))]


def found_in(folder: Path, *files: bytes) -> str:
    """What verification finds in files with these contents."""
    for number, content in enumerate(files, 1):
        (folder / f"pod.b1.{number:06}.jsonl").write_bytes(content)
    return " ".join(finding.message for finding in check(folder).findings)


def test_a_number_that_is_left_out_is_missed_even_if_the_hashes_fit(tmp_path: Path) -> None:
    chain, content = begun()
    chain.records += 1
    content.append(chain.sign(key(), checkpoint("Records")))
    assert found_in(tmp_path, b"".join(content)) == "record 2 is missing or not in its place: 3 stands here"


def test_nothing_follows_a_closing_checkpoint(tmp_path: Path) -> None:
    chain, content = begun()
    content.append(chain.sign(key(), checkpoint("Close", closing=True)))
    closed = b"".join(content)
    assert found_in(tmp_path, closed) == ""
    assert "record 3 follows the closing" in found_in(tmp_path, closed + chain.add("prediction", prediction()))
    assert "something follows the closing" in found_in(tmp_path, closed + b'{"specversion":"1.0","id":"3"')


def test_a_last_record_with_something_in_the_place_of_its_line_end_was_changed(tmp_path: Path) -> None:
    chain, content = begun()
    content.append(chain.add("prediction", prediction()))
    whole = b"".join(content)
    assert found_in(tmp_path, whole) == ""
    assert found_in(tmp_path, whole[:-1]) == "", "a kill may leave just this"
    assert "no beginning of a record" in found_in(tmp_path, whole[:-1] + b"x")


def test_only_the_last_file_may_break_off(tmp_path: Path) -> None:
    chain, content = begun()
    torn = chain.add("prediction", prediction())[:200]
    assert found_in(tmp_path, b"".join(content) + torn) == ""
    rest = chain.add("prediction", prediction())
    assert "the file breaks off, and another follows it" in found_in(tmp_path, b"".join(content) + torn, rest)


# ── who lacks the key writes what is not signed ───────────────────────────────────────────────────────────────────────


async def test_history_cannot_be_written_anew_behind_an_old_checkpoint(tmp_path: Path) -> None:
    await write_log(tmp_path, count=200, records=10)
    (file,) = sorted(tmp_path.iterdir())  # noqa: ASYNC240  as above
    lines = file.read_bytes().splitlines(keepends=True)
    chain = Chain(Writer("pod", "b1"))
    chain.records, chain.head = 2, json.loads(lines[1])["hash"]
    forged = [chain.add("prediction", prediction(number, subject="alice")) for number in range(200)]
    file.write_bytes(b"".join([*lines[:2], *forged]))
    verdict = check(tmp_path)
    assert "record 12 is one more without a checkpoint than the 10 that are allowed" == verdict.findings[0].message
    file.write_bytes(b"".join([*lines[:2], *forged[:10]]))
    assert (True, 10) == (check(tmp_path).is_whole, check(tmp_path).unsigned), (
        "what is left to who lacks the key is told"
    )


def test_a_chain_that_nobody_signed_is_no_log(tmp_path: Path) -> None:
    chain = Chain(Writer("pod", "b1"))
    genesis = chain.add("genesis", Genesis("modelward.audit/v1", "pod", "b1", key().fingerprint, []))
    assert "nothing in it is signed: anybody may have written it" == found_in(tmp_path, genesis)
    invented = b"".join([genesis, *(chain.add("prediction", prediction(number)) for number in range(3))])
    assert "record 1 stands where a checkpoint has to sign the record before it" == found_in(tmp_path, invented)
    (tmp_path / "pod.b1.000001.jsonl").write_bytes(invented.partition(b"\n")[2])
    assert any("nothing of this chain is signed" in found.message for found in check(tmp_path, partial=True).findings)


def test_what_is_not_signed_names_no_wider_bound(tmp_path: Path) -> None:
    chain, content = begun()
    content.append(chain.add("continues", Continues("modelward.audit/v1", "pod", "b1", key().fingerprint, "Policy")))
    assert "" == found_in(tmp_path, b"".join(content)), "a kill may leave just this"
    content.append(chain.add("prediction", prediction()))
    assert "record 3 stands where a checkpoint has to sign" in found_in(tmp_path, b"".join(content))


def test_what_is_not_signed_spans_no_more_time_than_a_checkpoint_allows(tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    chain, content = begun(wall=lambda: now[0])
    for now[0] in (1_800_000_900.0, 1_800_000_964.0):
        content.append(chain.add("prediction", prediction()))
    assert "" == found_in(tmp_path, b"".join(content)), (
        "60 s and a slack from the first, however long after the checkpoint"
    )
    now[0] += 2
    content.append(chain.add("prediction", prediction()))
    assert "record 4 comes 66 s after the first without a checkpoint" in found_in(tmp_path, b"".join(content))


def test_a_record_without_a_time_is_refused(tmp_path: Path) -> None:
    for wrong in ("", "soon", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z"):
        (tmp_path / "x.jsonl").write_bytes(line(time=wrong))
        assert "record 0 has no time" == check(tmp_path).findings[0].message, wrong


def test_a_record_stands_there_twice_only_where_the_log_was_moved(tmp_path: Path) -> None:
    chain, content = begun()
    for number in range(3):
        content.append(chain.add("prediction", prediction(number)))
    repeated = content[-2:]
    first = b"".join(content)
    signed = chain.sign(key(), checkpoint("Policy"))
    moved = chain.add("continues", Continues("modelward.audit/v1", "pod", "b1", key().fingerprint, "Policy"))
    after = [moved, chain.sign(key(), checkpoint("Policy"))]
    assert "" == found_in(tmp_path, first, b"".join([*repeated, signed, *after]))
    assert "record 4 stands there twice, and the log was not moved" in found_in(
        tmp_path, first, b"".join([*repeated, signed])
    )
    assert "is missing or not in its place" in found_in(tmp_path, first, b"".join([*repeated[:1], signed, *after]))
    assert "is missing or not in its place" in found_in(tmp_path, first, b"".join([signed, *repeated, *after]))
    other = repeated[1].replace(b'"requestBytes":2', b'"requestBytes":3')
    assert "was changed" in found_in(tmp_path, first, b"".join([repeated[0], other, signed, *after]))
