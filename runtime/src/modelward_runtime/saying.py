"""How the sealing commands answer: one line for a person, or one JSON object for a program (`--json`), and an exit code.

Used by `sealing.py`, `inspecting.py` and `keyfiles.py`. Success goes to stdout; a failure goes to stderr, or to stdout as JSON.
"""

import argparse
import json
import sys
from typing import Any, Final

from modelward_runtime.asked import told
from modelward_runtime.errors import LoadError

FAILED: Final = 1  # the model or a key is not what it should be
USAGE: Final = 2  # as argparse has it: the command could not be tried


def say(arguments: argparse.Namespace, told: dict[str, Any], text: str) -> None:
    """Tell what was done."""
    sys.stdout.write((json.dumps(told) if arguments.json else text) + "\n")


def complain(arguments: argparse.Namespace, error: LoadError | OSError, code: int) -> int:
    """Tell what went wrong; returns the exit code."""
    if isinstance(error, LoadError):
        reason, message = str(error.reason), error.message
    else:
        reason, message = "OSError", told(error)
    if arguments.json:
        verdict = {"valid": False} if arguments.command == "verify" else {}
        sys.stdout.write(json.dumps({**verdict, "reason": reason, "message": message}) + "\n")
    else:
        said = message if isinstance(error, OSError) else f"{reason}: {message}"
        sys.stderr.write(f"modelward {arguments.command}: {said}\n")
    return code
