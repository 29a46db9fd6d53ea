"""What visitors saw, counted, and the first few things that were not as they should be."""

from dataclasses import dataclass, field

MOST_FINDINGS = 40


class Wrong(Exception):
    """An answer that is not the right one."""


@dataclass
class Tally:
    """Counts by the kind of request, and by the answer's status; `findings` are what must not be."""

    kinds: dict[str, int] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    found: int = 0
    found_by: dict[str, int] = field(default_factory=dict)

    def count(self, kind: str, status: str) -> None:
        """One request of this kind was answered so."""
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        self.answers[status] = self.answers.get(status, 0) + 1

    def find(self, kind: str, what: object) -> None:
        """Something is wrong."""
        self.found += 1
        self.found_by[kind] = self.found_by.get(kind, 0) + 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(f"{kind}: {type(what).__name__ if isinstance(what, Exception) else ''} {what}"[:600])

    def add(self, other: "Tally") -> None:
        """Take in what another process counted."""
        for mine, theirs in (
            (self.kinds, other.kinds),
            (self.answers, other.answers),
            (self.found_by, other.found_by),
        ):
            for key, count in theirs.items():
                mine[key] = mine.get(key, 0) + count
        self.findings = [*self.findings, *other.findings][:MOST_FINDINGS]
        self.found += other.found
