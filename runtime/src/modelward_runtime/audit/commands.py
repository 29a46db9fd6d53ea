"""`modelward audit verify`: what it is given, and how it answers. Called by `main.py`; returns the exit code.

0 whole, 1 not, and why, 2 it could not be tried.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from modelward_runtime.asked import told
from modelward_runtime.audit.follow import ChainState
from modelward_runtime.audit.keys import fingerprint, load_trusted
from modelward_runtime.audit.verify import Verdict, verify
from modelward_runtime.saying import FAILED, USAGE
from modelward_runtime.sinks.sink import PAYLOADS, SUFFIX


def run(arguments: argparse.Namespace) -> int:
    """Verify files and directories of audit logs."""
    try:
        trust = _trust(arguments.trust)
        files = _files(arguments.paths)
        verdict = verify(files, trust, partial=arguments.partial, heads=arguments.head)
    except (OSError, ValueError) as error:
        message = told(error) if isinstance(error, OSError) else str(error)
        if arguments.json:
            sys.stdout.write(json.dumps({"valid": False, "message": message}) + "\n")
        else:
            sys.stderr.write(f"modelward audit verify: {_printable(message)}\n")
        return USAGE
    sys.stdout.write(_json(verdict) if arguments.json else _text(verdict))
    return 0 if verdict.is_whole else FAILED


def _trust(paths: Sequence[Path]) -> dict[str, Ed25519PublicKey]:
    keys = [load_trusted(path) for path in paths]
    return {fingerprint(key): key for key in keys}


def _files(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and every audit log below the directories. Payload logs beside them are of another series."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = sorted(file for file in path.rglob(f"*{SUFFIX}") if file.is_file())
            found += [file for file in below if not _is_payload(file, path)]
        else:
            found.append(path)
    if not found:
        raise ValueError(f"there is no *{SUFFIX} file in {', '.join(map(str, paths))}")
    whole = list(dict.fromkeys(Path(os.path.realpath(file, strict=True)) for file in found))
    if strange := [file for file in whole if not file.is_file()]:  # a pipe could be read once, and a log is read twice
        raise ValueError(f"{strange[0]} is no plain file: verify the files of the log, or their directory")
    return whole


def _is_payload(file: Path, root: Path) -> bool:
    """As `payloads/running.py` names its writer, in the beginning of a file's name or as a folder."""
    parts = file.relative_to(root).parts
    return any(part.partition(".")[0].endswith(PAYLOADS) for part in parts)


def _json(verdict: Verdict) -> str:
    told = {
        "valid": verdict.is_whole,
        "files": verdict.files,
        "records": verdict.records,
        "unsigned": verdict.unsigned,
        "chains": [_camel(chain) for chain in verdict.chains],
        "findings": [{"place": finding.place, "message": finding.message} for finding in verdict.findings],
    }
    return json.dumps(told) + "\n"


def _camel(chain: ChainState) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(chain)
    heads = {key: key.split("_") for key in plain}
    return {first + "".join(part.title() for part in rest): plain[key] for key, (first, *rest) in heads.items()}


def _text(verdict: Verdict) -> str:
    lines = [_printable(f"{finding.place}: {finding.message}") for finding in verdict.findings]
    for chain in verdict.chains:
        lines += _describe(chain)
    what = f"{verdict.records} records in {len(verdict.chains)} chains, {verdict.files} files; {verdict.unsigned} at the ends not signed"
    lines.append(f"whole: {what}" if verdict.is_whole else f"NOT WHOLE: {len(verdict.findings)} findings; {what}")
    return "\n".join(lines) + "\n"


def _printable(text: str) -> str:
    """Who can write to the log names its files, and a terminal obeys what it is shown."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def _describe(chain: ChainState) -> list[str]:
    last = chain.first + chain.records - 1
    lines = [f"{chain.source}: records {chain.first} to {last}, head {chain.head}"]
    if not chain.closed:
        lines.append(
            f"  not closed: the process runs or was killed, or the end was cut off. Signed up to record {chain.last_checkpoint}"
            f" ({chain.last_checkpoint_time or 'never'}); {chain.unsigned} records after it are chained but not signed:"
            " of these, change and removal need not be found, and of what may have followed, nothing is known"
        )
    if chain.torn_bytes:
        lines.append(
            f"  its last record breaks off after {chain.torn_bytes} bytes, as a kill or a power failure leaves it"
        )
    if chain.lost:
        lines.append(f"  {chain.lost} calls left no record, as the log itself says (`lost`)")
    return lines
