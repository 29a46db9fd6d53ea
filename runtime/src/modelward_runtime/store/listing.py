"""What a folder on a web server says of itself: its SHA256SUMS, or the manifest of a sealed model.

Called by `site.py`. It must not do I/O. Whoever can write the list chooses what stands in it, so nothing of it is believed: paths are
checked here and where they are written, and every file is held against the list, the list's own digest against `model.digest`.
"""

import re
from pathlib import Path
from typing import Final

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.locate import check_paths, fetch_error
from modelward_runtime.store.receiving import inside
from modelward_runtime.store.remote import MOST_FILES

_LINE: Final = re.compile(r"([0-9a-f]{64}) [ *](?:\./)?([^\x00-\x1f\x7f]{1,1024})")
_SUMS: Final = "SHA256SUMS"
_AROUND: Final = ("manifest.json", "model.sig", "keys.json", "keys.sig")

Listed = list[
    tuple[str, str]
]  # relative path, and the hex SHA-256 that it must have; empty: what it must have is told elsewhere


def of_sums(content: bytes, where: str) -> Listed:
    """The files of a list as `sha256sum` prints it; LoadError InvalidModel says which line is none."""
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        raise _invalid(where, "is no text") from None
    listed: Listed = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise _invalid(where, f"has a line {number} that sha256sum would not have printed: <64 hex digits>  <path>")
        if found[2] != _SUMS:
            listed.append((found[2], found[1]))
    if not listed or len(listed) > MOST_FILES:
        raise _invalid(where, f"lists {len(listed)} files; a model is of 1 to {MOST_FILES}")
    names = [name for name, _ in listed]
    check_paths(names, where, "line")
    for name in names:
        inside(Path(), name)  # before it becomes part of a URL
    return listed


def of_sealed(content: bytes, where: str) -> Listed:
    """The files of a sealed model. Ciphertext is held against the manifest when it is decrypted, and the manifest against its signature."""
    from modelward_runtime.store.sealed import manifest  # noqa: PLC0415  start-up: a plain model needs none of it

    try:
        names = manifest.parse(content).data_names
    except LoadError as error:
        raise _invalid(where, f"is no manifest of a sealed model: {error.message}") from None
    return [(name, "") for name in (*_AROUND, *names)]


def _invalid(where: str, why: str) -> LoadError:
    return fetch_error(LoadReason.INVALID_MODEL, f"{where} {why}")
