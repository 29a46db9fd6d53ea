"""The arguments of the command about audit logs. Called by `cli.py`; imports nothing heavy.

modelward audit verify   is an audit log whole? Exit code 0 yes, 1 no, 2 it could not be tried
"""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  argparse gives it no public name


def add(commands: "Commands") -> None:
    """Add it."""
    audit = commands.add_parser("audit", help="verify audit logs")
    kinds = audit.add_subparsers(dest="audit_command", required=True, metavar="COMMAND")
    verify = kinds.add_parser(
        "verify",
        help="check that an audit log is whole",
        description="Check that an audit log is whole. Exit code 0: it is; 1: it is not; 2: it could not be tried.",
    )
    verify.add_argument("paths", type=Path, nargs="+", metavar="FILE_OR_DIR", help="files, or directories of *.jsonl")
    verify.add_argument(
        "--trust",
        type=Path,
        action="append",
        required=True,
        metavar="PUB.pem",
        help="the public key that signs checkpoints; may be repeated",
    )
    verify.add_argument(
        "--head",
        type=_hash,
        action="append",
        default=[],
        metavar="HEX",
        help="a record with this hash must be there: a head that was noted elsewhere; may be repeated",
    )
    verify.add_argument(
        "--partial", action="store_true", help="other files of these logs, earlier ones for instance, may be missing"
    )
    verify.add_argument("--json", action="store_true", help="answer with one JSON object")


def _hash(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError(f"{text} is no hash: 64 hexadecimal digits")
    return text
