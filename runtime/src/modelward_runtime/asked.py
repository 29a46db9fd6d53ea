"""Runs a command that a person or a pipeline waits for: what cuts it short ends in words and an exit code, not in a traceback.

Called by `cli.py` for every command but those that serve, which end themselves (`exits.py`). It must not judge what a command does.

    130 Ctrl-C   143 SIGTERM, as a pipeline's cancel sends it   141 nobody reads the answer any more   2 the answer could not be written

Ctrl-C and SIGTERM let a command take back what it has begun: a half-sealed folder, the objects of a half-sealed prefix.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

_INTERRUPTED: Final = 128 + signal.SIGINT
_ENDED: Final = 128 + signal.SIGTERM
_UNHEARD: Final = 128 + signal.SIGPIPE
_UNWRITTEN: Final = 2  # as USAGE: of what was asked nothing is known


def answer(command: Callable[[], int], name: str) -> int:
    """The exit code of a command; `name` is how the person calls it."""
    if sys.stdout is None:  # closed by who called, who wants the exit code alone
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  as long as the process lives
    former = signal.signal(signal.SIGTERM, _end)
    try:
        code = command()
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write(f"modelward {name}: interrupted\n")
        return _INTERRUPTED
    except BrokenPipeError:
        _drop_answer()
        return _UNHEARD
    except OSError as error:
        _drop_answer()
        sys.stderr.write(f"modelward {name}: {told(error)}\n")
        return _UNWRITTEN
    finally:
        signal.signal(signal.SIGTERM, former)
    return code


def told(error: OSError) -> str:
    """What the system says, and of which file where it names one."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(_ENDED)


def _drop_answer() -> None:
    """Python writes what is left once more when it ends, and would complain."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
