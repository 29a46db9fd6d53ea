"""What a fuzz target is, and the list of them. Modules in `targets/` register theirs; `guided.py` and `replay.py` run them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

Run = Callable[[bytes], None]


@dataclass(frozen=True)
class Target:
    """One thing that is fuzzed.

    `run` takes any bytes and returns; whatever it raises is a finding. `seeds` are inputs to begin with, `words` tokens that mutations use,
    `longest` the most bytes that an input has, `runs` how many mutations the quick ring tries.
    """

    name: str
    run: Run
    about: str
    seeds: Sequence[bytes]
    words: Sequence[bytes]
    longest: int
    runs: int


TARGETS: Final[dict[str, Target]] = {}


def target(
    name: str, *, seeds: Sequence[bytes], words: Sequence[bytes] = (), longest: int = 4096, runs: int = 1000
) -> Callable[[Run], Run]:
    """Register a target; the first line of its docstring says what must hold."""

    def register(run: Run) -> Run:
        assert name not in TARGETS, name
        about = (run.__doc__ or "").strip().partition("\n")[0]
        TARGETS[name] = Target(name, run, about, seeds, words, longest, runs)
        return run

    return register
