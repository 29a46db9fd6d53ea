"""What is wrong with a policy, each with the path of its field as it stands in policy.json. Filled by the modules that compile it."""

from collections.abc import Iterable


class Problems:
    """A list of problems, seen from one path; places below it fill the same list."""

    def __init__(self, path: str, found: list[str] | None = None) -> None:
        self.path = path
        self.found: list[str] = [] if found is None else found

    def at(self, below: str) -> "Problems":
        """The same list, seen from a field below."""
        return Problems(f"{self.path}.{below}", self.found)

    def add(self, problem: str) -> None:
        """One more."""
        self.found.append(f"{self.path}: {problem}")


def listed(names: Iterable[str]) -> str:
    """Names for a message, cut when they are many."""
    known = list(names)
    return ", ".join(known[:16]) + (f" and {len(known) - 16} more" if len(known) > 16 else "")
