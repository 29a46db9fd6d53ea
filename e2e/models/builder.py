"""Builds all models once per machine into a cache outside the clone, and lays them under `e2e/models/build/`.

The cache folder is named by a hash over these scripts and the versions of the libraries that decide the bytes, so a
change of either builds anew and old clones keep theirs. A build goes to a scratch folder first and is moved into place
whole, under a lock: an interrupted or a concurrent one leaves nothing half done.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
KEPT_BUILDS = 3
LIBRARIES = ("numpy", "onnx", "onnxruntime", "safetensors", "scikit-learn", "skl2onnx", "tokenizers")


def ensure_models(say: Callable[[str], None] = lambda line: print(line, file=sys.stderr)) -> Path:
    """The folder with every model (`NAME/VERSION/model.onnx`, `NAME/VERSION.rows.json`), built when need be.

    Raises: RuntimeError or ValueError in words when a model cannot be fetched, or fails its own checks.
    """
    key = build_key()
    stamp = BUILD / ".key"
    if stamp.is_file() and stamp.read_text() == key:
        return BUILD
    cached = cache_folder() / key
    with _locked(cached.parent):
        if not cached.is_dir():
            _build_into(cached, say)
            _forget_old(cached.parent)
        _lay(cached, BUILD)
        stamp.write_text(key)
    return BUILD


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MODELWARD_CACHE") or Path(base) / "modelward") / "models"


def build_key() -> str:
    """16 hex digits over the scripts' bytes and the libraries' versions."""
    digest = hashlib.sha256()
    for script in sorted(HERE.glob("*.py")):
        digest.update(script.name.encode() + b"\0" + script.read_bytes() + b"\0")
    for library in LIBRARIES:
        digest.update(f"{library}=={metadata.version(library)}\n".encode())
    return digest.hexdigest()[:16]


def _build_into(cached: Path, say: Callable[[str], None]) -> None:
    # Imported here: scikit-learn takes seconds, and the usual call finds everything built.
    from e2e.models.classifiers import build_breast_cancer, build_digits  # noqa: PLC0415
    from e2e.models.sentences import build_minilm  # noqa: PLC0415

    steps = {
        "breast-cancer 1 and 2: train on scikit-learn's data, convert": build_breast_cancer,
        "digits 1: train on scikit-learn's data, convert": build_digits,
        "minilm 1: fetch the weights, write the graph, compare with numpy": build_minilm,
    }
    with tempfile.TemporaryDirectory(dir=cached.parent) as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the libraries' quarrels with each other; not ours to solve
        folder = Path(scratch) / "models"
        folder.mkdir()
        for title, build in steps.items():
            begun = time.monotonic()
            build(folder)
            say(f"  {title}: {time.monotonic() - begun:.1f} s")
        folder.rename(cached)


def _forget_old(folder: Path) -> None:
    """Older builds than the last few are for clones that nobody has touched since; they build anew in seconds."""
    builds = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for old in builds[:-KEPT_BUILDS]:
        shutil.rmtree(old, ignore_errors=True)


def _lay(cached: Path, target: Path) -> None:
    """Copies, not links: a case that damages a model on purpose must not damage the cache."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(cached, target)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
