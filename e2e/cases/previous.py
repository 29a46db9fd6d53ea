"""What was installed before this checkout: its chart, and the images that its own recipes make. For the suite `upgrade`; e2e/chaos runs its
operator as it is.

    python -m e2e.cases.previous       builds and pushes the images, and notes down what they are called; the cluster must be up

It runs on the machine: inside the cluster's network, where the cases run, there is no way to a package index. The version is the newest
release that came before this commit; until there is one, the commit `FIRST`. A clone that does not have it (a shallow one) builds
nothing, and the cases say so and are skipped.
"""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from e2e.cases.place import REPOSITORY
from e2e.cluster.paths import REGISTRY, cache

FIRST: Final = "770dbdc4e6d172778bab15803eebde4f89694bd9"
"""A commit of main of 26 November 2026: an older operator, and pods as they are now. A test says whether main still has it."""
_RELEASES: Final = "v[0-9]*"
_IMAGE: Final = re.compile(rf"^{re.escape(REGISTRY)}/modelward/(operator|runtime):\S+$", re.MULTILINE)


class Absent(Exception):
    """The clone does not have the version; the message says which, and what to do."""


@dataclass(frozen=True)
class Previous:
    """What to install: a chart, and the images in the cluster's registry."""

    version: str
    chart: Path
    operator: str
    runtime: str


def version() -> str:
    """The newest release before this commit, else `FIRST`; as a commit. Raises `Absent`."""
    tag = _git("describe", "--tags", "--abbrev=0", f"--match={_RELEASES}", "HEAD^") or FIRST
    if commit := _git("rev-parse", "--verify", "--quiet", f"{tag}^{{commit}}"):
        return commit
    raise Absent(f"this clone does not have {tag}, from which to upgrade: git fetch --unshallow --tags")


def built() -> Previous:
    """What `main` has built. Raises `Absent`."""
    folder = _folder(version())
    noted = folder.with_suffix(".json")
    if not noted.exists():
        raise Absent(f"{folder.name} is not built: python -m e2e.cases.previous, as `make e2e SUITE=upgrade` does")
    images = json.loads(noted.read_text())
    return Previous(folder.name, folder / "helm" / "modelward", images["operator"], images["runtime"])


def sources() -> Path:
    """All of its files, images or none. Raises `Absent`."""
    commit = version()
    folder = _folder(commit)
    if not folder.exists():
        _check_out(commit, folder)
    return folder


def main() -> int:
    """Build; 0 also where there is nothing to build."""
    try:
        folder = sources()
    except Absent as error:
        print(error)
        return 0
    print(f"the version before: {folder.name}", flush=True)
    done = subprocess.run(
        [sys.executable, str(folder / "e2e" / "cluster"), "images"], stdout=subprocess.PIPE, text=True, check=False
    )
    print(done.stdout)
    images = {found[1]: found[0] for found in _IMAGE.finditer(done.stdout)}
    if done.returncode or images.keys() != {"operator", "runtime"}:
        print("its images were not built", file=sys.stderr)
        return 1
    folder.with_suffix(".json").write_text(json.dumps(images))
    return 0


def _folder(commit: str) -> Path:
    return cache() / "previous" / commit


def _check_out(commit: str, folder: Path) -> None:
    """All files of a commit, without touching this checkout."""
    unfinished = folder.with_suffix(".new")
    unfinished.mkdir(parents=True, exist_ok=True)
    archive = subprocess.run(["git", "-C", str(REPOSITORY), "archive", commit], stdout=subprocess.PIPE, check=True)
    subprocess.run(["tar", "-x", "-C", str(unfinished)], input=archive.stdout, check=True)
    unfinished.rename(folder)


def _git(*arguments: str) -> str:
    """What git says; nothing where it fails."""
    command = ["git", "-C", str(REPOSITORY), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
