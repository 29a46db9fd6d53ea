"""Whatever is done to an audit log, verification finds it; what an outsider may cut off at the very end, it says that it cannot know.

`MODELWARD_TAMPERINGS` sets how many (2250). The log is that of a pod that was started three times, each with several files.
"""

import json
import os
import random
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from modelward_runtime.audit.chain import Chain
from modelward_runtime.sinks.sink import Writer
from tests.audit_logs import check, files, key, prediction, records, write_log

COUNT = int(os.environ.get("MODELWARD_TAMPERINGS", "2250"))
BOOTS = ("20260101T000000Z-a", "20260102T000000Z-b", "20260103T000000Z-c")
Log = dict[str, bytes]
Tampering = Callable[[Log, Log, random.Random], None]


def pick(log: Log, chance: random.Random) -> tuple[str, list[bytes]]:
    name = chance.choice(sorted(name for name in log if log[name]))
    return name, log[name].splitlines(keepends=True)


def flip_a_bit(log: Log, _other: Log, chance: random.Random) -> None:
    name = chance.choice(sorted(log))
    content = bytearray(log[name])
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    log[name] = bytes(content)


def change_a_byte(log: Log, _other: Log, chance: random.Random) -> None:
    name = chance.choice(sorted(log))
    content = bytearray(log[name])
    place = chance.randrange(len(content))
    content[place] = chance.choice([byte for byte in b'0a"},{\n 9Z' if byte != content[place]])
    log[name] = bytes(content)


def insert_a_byte(log: Log, _other: Log, chance: random.Random) -> None:
    name = chance.choice(sorted(log))
    place = chance.randrange(len(log[name]) + 1)
    log[name] = log[name][:place] + bytes([chance.randrange(256)]) + log[name][place:]


def delete_a_byte(log: Log, _other: Log, chance: random.Random) -> None:
    name = chance.choice(sorted(log))
    place = chance.randrange(len(log[name]))
    log[name] = log[name][:place] + log[name][place + 1 :]


def delete_a_line(log: Log, _other: Log, chance: random.Random) -> None:
    name, lines = pick(log, chance)
    del lines[chance.randrange(len(lines))]
    log[name] = b"".join(lines)


def delete_some_lines(log: Log, _other: Log, chance: random.Random) -> None:
    name, lines = pick(log, chance)
    start = chance.randrange(len(lines))
    del lines[start : start + chance.randrange(1, 5)]
    log[name] = b"".join(lines)


def repeat_a_line(log: Log, _other: Log, chance: random.Random) -> None:
    name, lines = pick(log, chance)
    lines.insert(chance.randrange(len(lines) + 1), chance.choice(lines))
    log[name] = b"".join(lines)


def swap_two_lines(log: Log, _other: Log, chance: random.Random) -> None:
    name, lines = pick(log, chance)
    first, second = chance.sample(range(len(lines)), 2)
    lines[first], lines[second] = lines[second], lines[first]
    log[name] = b"".join(lines)


def cut_a_file(log: Log, _other: Log, chance: random.Random) -> None:
    name = chance.choice(sorted(log))
    log[name] = log[name][: chance.randrange(len(log[name]))]


def remove_a_file(log: Log, _other: Log, chance: random.Random) -> None:
    del log[chance.choice(sorted(log))]


def repeat_a_file(log: Log, _other: Log, chance: random.Random) -> None:
    name = chance.choice(sorted(log))
    log["copy." + name] = log[name]


def splice_another_log(log: Log, other: Log, chance: random.Random) -> None:
    """Lines of a log with the same names, ids and key."""
    name, lines = pick(log, chance)
    foreign = other[name].splitlines(keepends=True)
    start = chance.randrange(min(len(lines), len(foreign)))
    size = chance.randrange(1, 4)
    if lines[start : start + size] == foreign[start : start + size]:
        return flip_a_bit(log, other, chance)
    lines[start : start + size] = foreign[start : start + size]
    log[name] = b"".join(lines)
    return None


def swap_a_file(log: Log, other: Log, chance: random.Random) -> None:
    name = chance.choice(sorted(log))
    log[name] = other[name]


def rewrite_history(log: Log, _other: Log, chance: random.Random) -> None:
    """Who lacks the key changes a record and hashes everything anew, up to the end of the start."""
    name, lines = pick(log, chance)
    place = chance.randrange(len(lines))
    number = int(re.search(rb'"id":"(\d+)"', lines[place])[1])  # type: ignore[index]
    start = name.rpartition(".")[0].rpartition(".")[0]
    changed = re.sub(rb'"time":"....', b'"time":"1999', lines[place], count=1)
    previous = ""
    for each in sorted(file for file in log if file.startswith(start)):
        made = []
        for line in log[each].splitlines():
            current = int(re.search(rb'"id":"(\d+)"', line)[1])  # type: ignore[index]
            text = changed.rstrip(b"\n") if current == number else line
            if current > number:
                text = re.sub(rb'"previous":"\w+"', b'"previous":"%b"' % previous.encode(), text)
            if current >= number:
                body, _, end = text.partition(b',"hash":"')
                previous = sha256(body).hexdigest()
                text = body + b',"hash":"' + previous.encode() + end[64:]
            made.append(text + b"\n")
        log[each] = b"".join(made)


def write_anew_behind_the_start(log: Log, _other: Log, chance: random.Random) -> None:
    """Who lacks the key keeps what a start has signed first, and invents as many calls after it as there were, without a checkpoint."""
    boot = chance.choice(BOOTS)
    first, *rest = sorted(name for name in log if boot in name)
    lines = log[first].splitlines(keepends=True)[:2]
    chain = Chain(Writer("pod", boot))
    chain.records, chain.head = 2, json.loads(lines[1])["hash"]
    log[first] = b"".join([*lines, *(chain.add("prediction", prediction(number)) for number in range(24))])
    for name in rest:
        del log[name]


TAMPERINGS: list[Tampering] = [
    flip_a_bit, change_a_byte, insert_a_byte, delete_a_byte, delete_a_line, delete_some_lines, repeat_a_line, swap_two_lines,
    cut_a_file, remove_a_file, repeat_a_file, splice_another_log, swap_a_file, rewrite_history,
    write_anew_behind_the_start,
]  # fmt: skip


async def make(folder: Path) -> tuple[Log, str]:
    for boot in BOOTS:
        await write_log(folder, boot, count=24, longest=4096, records=7)
    head = records(folder)[-1]["hash"]
    return {file.name: file.read_bytes() for file in files(folder)}, head


@pytest.mark.timeout(900)
async def test_every_tampering_is_found(tmp_path: Path) -> None:
    log, head = await make(tmp_path / "log")
    other, _ = await make(tmp_path / "other")
    assert len(log) >= 9
    assert log.keys() == other.keys()
    verdict = check(tmp_path / "log", heads=[head])
    assert (True, 3, True) == (verdict.is_whole, len(verdict.chains), all(chain.closed for chain in verdict.chains)), (
        verdict.findings
    )
    last = max(name.rpartition(".")[0].rpartition(".")[0] for name in log)
    cut_at_the_end = 0
    for seed in range(COUNT):
        chance = random.Random(seed)
        tampering = TAMPERINGS[seed % len(TAMPERINGS)]
        changed = dict(log)
        tampering(changed, other, chance)
        assert changed != log
        put(tmp_path / "log", log, changed)
        told = f"seed {seed}: {tampering.__name__}"
        alone = check(tmp_path / "log")
        if alone.is_whole and not seen_whole(changed, log, last):
            cut_at_the_end += 1
            assert is_cut(changed, log, last), told
            assert not alone.chains[-1].closed, f"{told}: it must say that it does not know the end"
            assert not check(tmp_path / "log", heads=[head]).is_whole, f"{told}: a head noted elsewhere tells"
        put(tmp_path / "log", changed, log)
    assert cut_at_the_end < COUNT / 20


def put(folder: Path, before: Log, after: Log) -> None:
    for name in before.keys() - after.keys():
        (folder / name).unlink()
    for name, content in after.items():
        if before.get(name) != content:
            (folder / name).write_bytes(content)


def is_cut(changed: Log, log: Log, last: str) -> bool:
    """Nothing else than the end of the last start is gone."""
    whole = b"".join(log[name] for name in sorted(log))
    left = b"".join(changed[name] for name in sorted(changed))
    return whole.startswith(left) and all(changed.get(name) == log[name] for name in log if not name.startswith(last))


def seen_whole(changed: Log, log: Log, last: str) -> bool:
    """Only the very last line end is gone: every record is there and was verified."""
    whole = b"".join(log[name] for name in sorted(log))
    return is_cut(changed, log, last) and b"".join(changed[name] for name in sorted(changed)) == whole[:-1]


async def test_another_key_is_refused_from_the_first_record(tmp_path: Path) -> None:
    await write_log(tmp_path)
    (finding,) = check(tmp_path, signer="stranger").findings
    assert f"the chain is signed by {key().fingerprint}, which --trust does not name" == finding.message
