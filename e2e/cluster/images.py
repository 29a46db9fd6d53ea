"""The images that the cluster and ModelWard consist of, each with the files that go into it and a tag that hashes them.

An image's build context holds just these files: unchanged sources build nothing, changed ones get a new tag, and what
the hash does not cover cannot be in the image. buildah.py builds and pushes them.
"""

import hashlib
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from e2e.cluster import emulation
from e2e.cluster.binaries import binary
from e2e.cluster.paths import HERE, REGISTRY, REPOSITORY, cache

RECIPES = HERE / "build" / "images"
SKIPPED = {"__pycache__", ".venv", ".pytest_cache", ".mypy_cache", ".ruff_cache", "build", "dist"}
BASE_PACKAGES = ("python3", "python3-venv", "python3-pip", "ca-certificates")
BASE_COMMAND = (
    "mmdebstrap",
    "--variant=apt",
    "--include=" + ",".join(BASE_PACKAGES),
    *(f"--dpkgopt=path-exclude=/usr/share/{what}/*" for what in ("man", "doc", "locale")),
    "bookworm",
)


@dataclass(frozen=True)
class Image:
    """One image: the files of its build context (path inside -> file), its build arguments, and a tag that hashes both."""

    name: str
    tag: str
    files: dict[str, Path]
    arguments: tuple[str, ...] = ()
    dockerfile: str = "Dockerfile"
    architecture: str = ""
    """As Debian and OCI call it; empty: this machine's."""

    @property
    def local(self) -> str:
        """Its name in buildah's own storage."""
        return f"localhost/modelward/{self.name}:{self.tag}{f'-{self.architecture}' if self.architecture else ''}"

    @property
    def reference(self) -> str:
        """Its name in the cluster's registry, which pods use."""
        return f"{REGISTRY}/modelward/{self.name}:{self.tag}"

    def over(self, files: dict[str, Path]) -> "Image":
        """The same image from other files: those that a build really sees, copied while someone may be editing."""
        return replace(self, files=files, tag=digest(files, self.arguments))


def digest(files: dict[str, Path], arguments: Iterable[str]) -> str:
    """A short hash of names, contents and execute bits of the files, and of the arguments."""
    summary = hashlib.sha256("\0".join(arguments).encode())
    for name, file in sorted(files.items()):
        executable = os.access(file, os.X_OK)
        summary.update(f"\0{name}\0{executable}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as content:
            summary.update(hashlib.file_digest(content, "sha256").digest())
    return summary.hexdigest()[:16]


# ── what there is to build ────────────────────────────────────────────────────────────────────────────────────────


def base_command(architecture: str = "") -> tuple[str, ...]:
    """What makes the base image's file system, up to the name of the file."""
    if architecture in {"", emulation.native()}:
        return BASE_COMMAND
    return (*BASE_COMMAND[:-1], f"--architectures={architecture}", BASE_COMMAND[-1])


def base_tar(architecture: str = "") -> Path:
    """The base image's file system, made by mmdebstrap; its name changes with the packages asked for."""
    key = hashlib.sha256(" ".join(base_command(architecture)).encode()).hexdigest()[:12]
    return cache() / "base" / f"{key}.tar"


def base(architecture: str = "") -> Image:
    """Debian with Python."""
    files = {"base.tar": base_tar(architecture), "Dockerfile": RECIPES / "base" / "Dockerfile"}
    return replace(_image("base", files), architecture=architecture)


def pause() -> Image:
    """The program that holds a pod's namespaces."""
    program = _pause_program()
    return _image("pause", {"pause": program, "Dockerfile": RECIPES / "pause" / "Dockerfile"})


def coredns() -> Image:
    """Cluster DNS."""
    return _image("coredns", {"coredns": binary("coredns"), "Dockerfile": RECIPES / "coredns" / "Dockerfile"})


def package(name: str, architecture: str = "") -> Image:
    """The image of one of our two Python packages, by the Dockerfile in its folder."""
    shared = [REPOSITORY / file for file in ("LICENSE", "pyproject.toml", "requirements.lock")]
    shared += REPOSITORY.glob("*/pyproject.toml")
    files = [file for file in {*shared, *sources(REPOSITORY / name)} if file.is_file()]
    context = {str(file.relative_to(REPOSITORY)): file for file in files}
    image = _image(name, context, (f"BASE={base(architecture).local}",), f"{name}/Dockerfile")
    return replace(image, architecture=architecture)


def packages(architecture: str = "") -> list[Image]:
    """The images of operator and runtime: those whose Dockerfile is in the checkout."""
    names = [name for name in ("operator", "runtime") if (REPOSITORY / name / "Dockerfile").exists()]
    return [package(name, architecture) for name in names]


def _image(name: str, files: dict[str, Path], arguments: tuple[str, ...] = (), dockerfile: str = "Dockerfile") -> Image:
    return Image(name, digest(files, arguments), files, arguments, dockerfile)


def sources(folder: Path) -> list[Path]:
    """The files of a package, without what tools leave there."""
    found = []
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in SKIPPED and not name.endswith(".egg-info")]
        found += [Path(here) / name for name in files if not name.endswith(".pyc")]
    return found


def _pause_program() -> Path:
    source = RECIPES / "pause" / "pause.c"
    program = cache() / "bin" / f"pause-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}" / "pause"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        unfinished = program.with_suffix(".new")
        subprocess.run(["gcc", "-static", "-Os", "-s", "-o", str(unfinished), str(source)], check=True)
        unfinished.rename(program)
    return program
