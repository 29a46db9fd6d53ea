"""The one error that a step raises: what went wrong, which log tells more, and what the user can do about it.

    ClusterError
      └─ StepFailed      a step of `up` did not get where it should; carries the log to show

`__main__` prints it and exits 1; nothing else catches it.
"""

from pathlib import Path


class ClusterError(Exception):
    """What the user must read, in full sentences."""


class StepFailed(ClusterError):
    """A step that failed, with the log whose end explains it and a hint on what to do."""

    def __init__(self, message: str, *, log: Path | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.log = log
        self.hint = hint

    def report(self, lines: int = 30) -> str:
        """Message, the end of the log, and the hint: ready to print."""
        parts = [str(self)]
        if self.log is not None and self.log.exists():
            tail = self.log.read_text(errors="replace").splitlines()[-lines:]
            parts.append(f"the end of {self.log}:")
            parts += [f"  | {line[:400]}" for line in tail] or ["  | (empty)"]
        if self.hint:
            parts.append(f"what to do: {self.hint}")
        return "\n".join(parts)
