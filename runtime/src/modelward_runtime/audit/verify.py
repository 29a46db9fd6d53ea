"""Is an audit log whole? Follows every chain in the given files from its first record to its last, in constant memory.

Called by `commands.py`; AUDIT.md says what is found and what is not. Two passes: the first reads the first line of every file, to put them
in order and to learn which ends of other chains a genesis names; the second reads everything, once, line by line.

    per line    own hash ▶ id follows ▶ previous is the hash before ▶ a checkpoint: signed by a trusted key that the chain has named
    per run     no more records without a checkpoint, nor over a longer time, than the last checkpoint allows
    per chain   genesis first, and signed at once, or a signed note of retention about what came before ▶ nothing after a closing checkpoint
    together    every end that a genesis names is there, or was noted as expired
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from modelward_runtime.audit.follow import Broken, ChainState, Follower, Marks
from modelward_runtime.audit.reading import Link, NotARecord, beginning, read
from modelward_runtime.audit.records import Genesis

LONGEST_LINE: Final = 1 << 20
_MOST_FINDINGS: Final = 100


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, and where."""

    place: str
    message: str


@dataclass
class Verdict:
    """All of it."""

    chains: list[ChainState] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    files: int = 0
    records: int = 0

    @property
    def is_whole(self) -> bool:
        """Nothing is wrong."""
        return not self.findings

    @property
    def unsigned(self) -> int:
        """Records at the ends of all chains that nobody has signed: who lacks the key may have written them."""
        return sum(chain.unsigned for chain in self.chains)

    def find(self, place: str, message: str) -> None:
        """Note a finding; of a flood, the first."""
        if len(self.findings) < _MOST_FINDINGS:
            self.findings.append(Finding(place, message))


def verify(
    files: Sequence[Path], trust: Mapping[str, Ed25519PublicKey], *, partial: bool = False, heads: Iterable[str] = ()
) -> Verdict:
    """Verify these files together, or raise OSError.

    `trust` is by fingerprint; `partial`: other files may be missing; `heads`: hashes of records that must be there.
    """
    verdict = Verdict(files=len(files))
    marks = Marks(wanted_hashes=set(heads))
    chains = _in_order(files, verdict, marks)
    states = [_follow(source, pieces, trust, verdict, marks, partial=partial) for source, pieces in chains.items()]
    verdict.chains = [state.state() for state in states]
    verdict.records = sum(state.records for state in states)
    _demand_signatures(states, verdict)
    if not partial:
        _demand(states, verdict, marks)
    for missing in sorted(marks.wanted_hashes):
        verdict.find("--head", f"no record has the hash {missing}: the log was cut off before it, or is another")
    return verdict


@dataclass(frozen=True)
class _Opening:
    """A file, and the id of its first record, whole or not.

    Of two with the same first record, which a moved log may have, the longer one goes on.
    """

    path: Path
    number: int

    @property
    def size(self) -> int:
        """In bytes."""
        return self.path.stat().st_size


def _in_order(files: Sequence[Path], verdict: Verdict, marks: Marks) -> dict[str, list[_Opening]]:
    """The files of each chain by the id of their first record."""
    chains: dict[str, list[_Opening]] = {}
    for path in files:
        with path.open("rb") as source:
            line = source.readline(LONGEST_LINE)
        if not line:
            continue  # begun by a process that was killed at once: were it more, a record would be missing
        try:
            link = read(line.removesuffix(b"\n"))
        except NotARecord as wrong:
            begun = None if line.endswith(b"\n") else beginning(line)
            if begun is None:
                verdict.find(f"{path}:1", f"the first record {wrong}")
            elif begun[0]:  # else so little that it names no chain: the very first write of a process that was killed
                chains.setdefault(begun[0], []).append(_Opening(path, begun[1]))
            continue
        chains.setdefault(link.source, []).append(_Opening(path, link.number))
        if link.kind == "genesis":
            _want_found(link, marks)
    for pieces in chains.values():
        pieces.sort(key=lambda opening: (opening.number, opening.size))
    return dict(sorted(chains.items()))


def _want_found(link: Link, marks: Marks) -> None:
    try:
        found = msgspec.json.decode(link.data, type=Genesis).found
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return  # told when the chain is followed
    for head in found:
        marks.want(head.source, head.id, head.hash, link.source)


def _follow(
    source: str,
    pieces: list[_Opening],
    trust: Mapping[str, Ed25519PublicKey],
    verdict: Verdict,
    marks: Marks,
    *,
    partial: bool,
) -> Follower:
    """Every record of one chain, up to the first that is wrong."""
    follower = Follower(source, trust, marks, partial=partial)
    for number, opening in enumerate(pieces):
        is_last = number == len(pieces) - 1
        place = str(opening.path)
        try:
            follower.begin_file()
            for count, line in enumerate(_lines(opening.path), 1):
                place = f"{opening.path}:{count}"
                if line.endswith(b"\n"):
                    follower.take(line[:-1])
                else:
                    follower.take_torn(line, is_last=is_last)
            follower.end_file()
        except Broken as broken:
            follower.is_broken = True
            verdict.find(place, str(broken))
            return follower
    return follower


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=1 << 18) as source:
        while line := source.readline(LONGEST_LINE):
            yield line


def _demand_signatures(followers: Sequence[Follower], verdict: Verdict) -> None:
    """No chain is believed that nothing is signed of, and no log."""
    for follower in followers:
        if follower.is_unsigned and not follower.is_broken:
            verdict.find(follower.source, "nothing of this chain is signed: anybody may have written it")
    if not verdict.findings and not any(chain.checkpoints for chain in verdict.chains):
        verdict.find("the log", "nothing in it is signed: anybody may have written it")


def _demand(followers: Sequence[Follower], verdict: Verdict, marks: Marks) -> None:
    """What must be there besides: what came before a chain's first record, and the ends that others have seen."""
    for follower in followers:
        if follower.first > 0 and not marks.is_expired(follower.source, follower.first - 1, follower.first_previous):
            verdict.find(
                follower.source,
                f"the records before {follower.first} are missing, and no signed record says that retention deleted them",
            )
    present = {follower.source: follower for follower in followers}
    for source, ends in marks.wanted.items():
        chain = present.get(source)
        for number, (digest, by) in ends.items():
            gone = chain is None or number < chain.first
            if gone and not marks.has_expired_through(source, number):
                verdict.find(source, f"record {number} is missing, which the genesis of {by} has seen")
            elif not gone and marks.seen.get((source, number)) != digest:
                verdict.find(
                    source,
                    f"record {number}, which the genesis of {by} has seen, is missing or another: the end was cut off",
                )
