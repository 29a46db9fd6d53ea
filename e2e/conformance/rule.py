"""What a rule is: an id, the level it belongs to, the text it rests on, and a check that fails by an assertion.

    @rule("REST-07", Level.REST, cites=(REST_INFERENCE,))
    def identifier_comes_back(target: Target) -> None:
        \"\"\"An identifier of a request comes back in its answer. …\"\"\"

The docstring is the rule's page: its first line is the title, the rest says what is demanded and why clients need it.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from e2e.conformance.target import Target

Check = Callable[[Target], None]


class Level(StrEnum):
    """What a server can claim; the first two are the protocol itself."""

    REST = "core-rest"
    GRPC = "core-grpc"
    TYPES = "datatypes"
    FLOATS = "fp16-bf16"
    BYTES = "bytes"
    BINARY = "binary-tensors"
    REPOSITORY = "repository"
    STREAMING = "streaming"
    ERRORS = "errors"
    LIMITS = "limits"
    ROBUSTNESS = "robustness"


@dataclass(frozen=True, slots=True)
class Cite:
    """A place in a public text, and the words that count."""

    source: str
    section: str
    words: str

    def __str__(self) -> str:
        return f"{self.source}, “{self.section}”: {self.words}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One demand on a server."""

    id: str
    level: Level
    cites: tuple[Cite, ...]
    role: str
    """The model that it needs, see `models.py`."""
    check: Check

    @property
    def title(self) -> str:
        """The first line of its page."""
        return self._page.split("\n", 1)[0].rstrip(".")

    @property
    def wish(self) -> bool:
        """Whether it goes beyond every text."""
        return any(cite.source == WISH for cite in self.cites)

    @property
    def page(self) -> str:
        """The rest of its page."""
        return self._page.partition("\n")[2].strip()

    @property
    def _page(self) -> str:
        return inspect.cleandoc(self.check.__doc__ or "")


WISH: Final = "No text, but this suite's own wish"
"""The source of a citation that is none."""
RULES: Final[dict[str, Rule]] = {}
"""Every rule by its id, in the order of the levels' files."""


def rule(name: str, level: Level, *, cites: Iterable[Cite], role: str = "numbers") -> Callable[[Check], Check]:
    """Register a check as a rule."""

    def register(check: Check) -> Check:
        if name in RULES:
            raise ValueError(f"two rules are called {name}")
        RULES[name] = Rule(name, level, tuple(cites), role, check)
        return check

    return register
