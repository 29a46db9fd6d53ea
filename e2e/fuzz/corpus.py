"""Inputs that are kept: what coverage-guided runs found worth keeping, and what once broke something.

A file a target, `corpus/NAME.txt`: one input a line in base64, after a `!` the ones that broke something, with what it was.
"""

import base64
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).with_name("corpus")
MOST_BYTES: Final = 60_000  # of a target's inputs


def load(name: str) -> list[bytes]:
    """Every kept input of a target."""
    file = FOLDER / f"{name}.txt"
    if not file.exists():
        return []
    lines = file.read_text(encoding="ascii").splitlines()
    return [base64.b64decode(line.lstrip("!").split(" ", 1)[0]) for line in lines if line]


def crashes(name: str) -> list[str]:
    """The lines of those that broke something."""
    file = FOLDER / f"{name}.txt"
    return (
        [line for line in file.read_text(encoding="ascii").splitlines() if line.startswith("!")]
        if file.exists()
        else []
    )


def save(name: str, inputs: list[bytes]) -> None:
    """Keep these inputs, the short ones first, as many as have room, beside the crashes that are kept already."""
    kept, size = [], 0
    for one in sorted(set(inputs), key=lambda one: (len(one), one)):
        size += len(one)
        if size > MOST_BYTES:
            break
        kept.append(base64.b64encode(one).decode())
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.txt").write_text("\n".join([*crashes(name), *kept]) + "\n", encoding="ascii")


def add_crash(name: str, data: bytes, what: str) -> None:
    """Keep what broke something."""
    file = FOLDER / f"{name}.txt"
    line = f"!{base64.b64encode(data).decode()} {what.encode('ascii', 'replace').decode()[:100]}"
    lines = file.read_text(encoding="ascii").splitlines() if file.exists() else []
    FOLDER.mkdir(exist_ok=True)
    file.write_text("\n".join([line, *(one for one in lines if one != line)]) + "\n", encoding="ascii")
