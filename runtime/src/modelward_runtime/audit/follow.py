"""Follows one chain, record by record; `verify.py` puts files in order and looks at all chains together.

Nothing is believed of a record before its hash, its id and its predecessor fit; nothing counts as signed before a trusted key's checkpoint.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from modelward_runtime.audit.chain import FIRST, FORMAT, TYPE
from modelward_runtime.audit.keys import is_signed
from modelward_runtime.audit.reading import Link, NotARecord, beginning, read
from modelward_runtime.audit.records import Checkpoint, Continues, Expired, Genesis, Lost

T = TypeVar("T")
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
MOST_REPEATS: Final = 8192  # records of a batch that may stand in two sinks: as many as wait in memory
SLACK_SECONDS: Final = 5.0  # that a run of unsigned records may take longer than its checkpoint allows
KINDS: Final = frozenset({"genesis", "continues", "checkpoint", "prediction", "lost", "withheld", "expired"})


class Broken(Exception):
    """The chain does not hold from here on; the text says why, and holds nothing of the record but numbers and hashes."""


@dataclass(frozen=True)
class ChainState:
    """What is known of one chain; `unsigned` records follow its last checkpoint."""

    source: str
    first: int
    records: int
    head: str
    checkpoints: int
    last_checkpoint: int
    last_checkpoint_time: str
    unsigned: int
    torn_bytes: int
    closed: bool
    key: str
    lost: int


@dataclass
class Marks:
    """What chains say of each other: ends that were seen, pieces that retention deleted, hashes that must turn up."""

    wanted: dict[str, dict[int, tuple[str, str]]] = field(default_factory=dict)
    seen: dict[tuple[str, int], str] = field(default_factory=dict)
    expired: dict[str, dict[int, str]] = field(default_factory=dict)
    wanted_hashes: set[str] = field(default_factory=set)

    def want(self, source: str, number: str, digest: str, by: str) -> None:
        """A genesis names this end of another chain."""
        self.wanted.setdefault(source, {})[int(number)] = (digest, by)

    def is_expired(self, source: str, number: int, digest: str) -> bool:
        """A signed record says that retention deleted everything up to this very record."""
        return self.expired.get(source, {}).get(number) == digest

    def has_expired_through(self, source: str, number: int) -> bool:
        """A signed record says that retention deleted this record, among others."""
        return any(last >= number for last in self.expired.get(source, {}))


class Follower:
    """The state of one chain between two records."""

    def __init__(self, source: str, trust: Mapping[str, Ed25519PublicKey], marks: Marks, *, partial: bool) -> None:
        self.source = source
        self._trust = trust
        self._marks = marks
        self._partial = partial
        self._wanted = marks.wanted.get(source, {})
        self.expected = -1  # the next id; -1: the first record decides
        self.first, self.first_previous = 0, FIRST
        self._head = FIRST
        self._key = ""  # the fingerprint that signs; empty: the first checkpoint says
        self.records = self._checkpoints = self._lost = self._torn = 0
        self._signed, self._signed_time = -1, ""
        self._bound: Checkpoint | None = None  # the last checkpoint, which says how much may follow it
        self._named = False  # the record before was a genesis or `continues`: a checkpoint has to follow
        self._run, self._run_began = 0, 0.0  # records since the last checkpoint, and the time of the first
        self._unsigned_expiries: list[Expired] = []
        self._recent: deque[tuple[str, bytes]] = deque(maxlen=MOST_REPEATS)  # hash and signature of the latest records
        self._may_repeat = False  # nothing but repeats has been read of this file
        self._repeated = -1  # a record of this file that is not the first, until its `continues` tells why; -1: none
        self._closed = False
        self.is_broken = False  # the caller's: it has found something and reads no further

    def begin_file(self) -> None:
        """Another file: it may begin with what the one before ends with, if a policy moved the log between them."""
        self._may_repeat = self.expected >= 0

    def end_file(self) -> None:
        """No line follows in the file. Broken."""
        if self._repeated >= 0:
            raise Broken(
                f"record {self._repeated} stands there twice, and the log was not moved to another sink between"
            )

    def take(self, line: bytes) -> None:
        """The next line, without its end. Broken."""
        if self._torn:
            raise Broken("follows a record that breaks off")
        try:
            link = read(line)
        except NotARecord as wrong:
            raise Broken(f"the record {wrong}") from None
        if self._is_repeat(link):
            return
        self._fit(link)
        self._interpret(link)
        self._bind(link)
        self._recent.append((link.hash, link.signature))
        self._head, self.expected = link.hash, link.number + 1
        self.records += 1
        if link.number in self._wanted:
            self._marks.seen[self.source, link.number] = link.hash
        if self._marks.wanted_hashes:
            self._marks.wanted_hashes.discard(link.hash)

    def take_torn(self, rest: bytes, *, is_last: bool) -> None:
        """What stands after the last line end. A writer that was killed leaves the beginning of one record, at the very end."""
        if not is_last:
            raise Broken("the file breaks off, and another follows it")
        if self._closed:
            raise Broken("something follows the closing checkpoint")
        try:
            read(rest)
        except NotARecord:
            begun = beginning(rest)
            if begun is None or begun not in {("", 0), (self.source, max(self.expected, 0))}:
                raise Broken("the file ends in what is no beginning of a record") from None
            self._torn = len(rest)
        else:
            self.take(rest)

    @property
    def is_unsigned(self) -> bool:
        """Nobody vouches for anything of what is there; a genesis by itself is what a kill during the first write leaves."""
        is_begun_only = self.first == 0 and self.records == 1
        return self.records > 0 and not self._checkpoints and not is_begun_only

    def state(self) -> ChainState:
        """What is known now."""
        last = self.expected - 1
        return ChainState(
            source=self.source,
            first=self.first,
            records=self.records,
            head=self._head,
            checkpoints=self._checkpoints,
            last_checkpoint=self._signed,
            last_checkpoint_time=self._signed_time,
            unsigned=last - self._signed if self._signed >= 0 else self.records,
            torn_bytes=self._torn,
            closed=self._closed,
            key=self._key,
            lost=self._lost,
        )

    def _is_repeat(self, link: Link) -> bool:
        """The very bytes of a record that was read already, at the beginning of a file.

        A write that arrived, and whose answer did not, before a policy moved the log: the new sink got the same records again.
        """
        if not self._may_repeat:
            return False
        back = self.expected - link.number
        follows = self._repeated < 0 or link.number == self._repeated + 1
        if follows and 0 < back <= len(self._recent) and self._recent[-back] == (link.hash, link.signature):
            self._repeated = link.number
            return True
        self._may_repeat = False
        if 0 <= self._repeated < self.expected - 1:
            raise Broken(f"record {self._repeated + 1} is missing or not in its place: {link.number} stands here")
        return False

    def _fit(self, link: Link) -> None:
        if link.source != self.source:
            raise Broken(f"the record belongs to another chain, {link.source[:200]}")
        if self._closed:
            raise Broken(f"record {link.number} follows the closing checkpoint")
        if self.expected < 0:
            self.expected = self.first = link.number
            self._head = self.first_previous = link.previous
        if link.number != self.expected:
            raise Broken(f"record {self.expected} is missing or not in its place: {link.number} stands here")
        if link.previous != self._head:
            raise Broken(f"record {link.number} does not continue the record before it")
        if (link.number == 0) != (link.kind == "genesis") or (link.number == 0 and link.previous != FIRST):
            raise Broken(f"record {link.number} is no beginning of a chain, or one in its middle")

    def _interpret(self, link: Link) -> None:
        if link.kind not in KINDS:
            raise Broken(f"record {link.number} is of a type that this version does not know, {TYPE}{link.kind[:64]}")
        if link.kind == "checkpoint":
            self._check_signature(link)
        elif link.kind == "genesis":
            self._name_key(_data(link, Genesis))
        elif link.kind == "continues":
            continues = _data(link, Continues)
            self._name_key(continues)
            if continues.cause == "Policy":
                self._repeated = -1
        elif link.kind == "lost":
            lost = _data(link, Lost)
            self._lost += lost.answered + lost.refused
        elif link.kind == "expired":
            self._unsigned_expiries.append(_data(link, Expired))

    def _bind(self, link: Link) -> None:
        """Hold what is not signed to the bound that the last signature has set."""
        if link.kind == "checkpoint":
            self._named, self._run = False, 0
            return
        if self._named:
            raise Broken(f"record {link.number} stands where a checkpoint has to sign the record before it")
        self._named = link.kind in {"genesis", "continues"}
        made = _time(link)
        self._run += 1
        if self._run == 1:
            self._run_began = made
        if self._bound is None:
            return  # pieces before are missing: whether anything is signed is asked at the end
        if self._run > self._bound.checkpoint_records:
            raise Broken(
                f"record {link.number} is one more without a checkpoint than the {self._run - 1} that are allowed"
            )
        if made - self._run_began > self._bound.checkpoint_seconds + SLACK_SECONDS:
            raise Broken(
                f"record {link.number} comes {made - self._run_began:.0f} s after the first without a checkpoint, and"
                f" {self._bound.checkpoint_seconds} are allowed"
            )

    def _name_key(self, named: Genesis | Continues) -> None:
        pod, boot = self.source.split("/")[2::2] if self.source.count("/") == 4 else ("", "")
        if named.format != FORMAT or (named.pod, named.boot) != (pod, boot):
            raise Broken("the record names another format, pod or start than its chain")
        if named.key not in self._trust:
            raise Broken(f"the chain is signed by {named.key}, which --trust does not name")
        self._key = named.key

    def _check_signature(self, link: Link) -> None:
        checkpoint = _data(link, Checkpoint)
        if self._key and checkpoint.key != self._key:
            raise Broken(
                f"record {link.number} is signed by {checkpoint.key}, and not by {self._key}, as the chain says"
            )
        key = self._trust.get(checkpoint.key)
        if key is None:
            raise Broken(f"record {link.number} is signed by {checkpoint.key}, which --trust does not name")
        if not is_signed(key, bytes.fromhex(link.hash), link.signature):
            raise Broken(f"the signature of record {link.number} is wrong")
        self._key, self._bound = checkpoint.key, checkpoint
        self._checkpoints += 1
        self._signed, self._signed_time = link.number, link.time
        self._closed = checkpoint.closing
        for expired in self._unsigned_expiries:
            self._marks.expired.setdefault(expired.source, {})[int(expired.id)] = expired.hash
        self._unsigned_expiries.clear()


def _time(link: Link) -> float:
    """When the record was made, in seconds since the epoch."""
    try:
        made = datetime.fromisoformat(link.time)
        return (made - _EPOCH).total_seconds()  # TypeError: of no time zone
    except (TypeError, ValueError, OverflowError):
        raise Broken(f"record {link.number} has no time") from None


def _data(link: Link, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(link.data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Broken(f"record {link.number} is not what its type says") from None
