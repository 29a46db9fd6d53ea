"""Builds the container images with buildah and pushes them to the cluster's registry; no Docker needed.

An image's tag is a hash of everything that goes into it, and its build context holds just those files: unchanged
sources build nothing, changed ones get a new tag, and what the hash does not cover cannot be in the image.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.alone import alone
from e2e.cluster.binaries import binary
from e2e.cluster.failures import StepFailed
from e2e.cluster.paths import HERE, REGISTRY, REPOSITORY, cache
from e2e.cluster.processes import entering
from e2e.cluster.progress import Screen, Step

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
KEPT_TAGS = 3
KEPT_LAYERS = 60


@dataclass(frozen=True)
class Image:
    """One image: the files of its build context (path inside -> file), and its build arguments."""

    name: str
    files: dict[str, Path]
    arguments: tuple[str, ...] = ()
    dockerfile: str = "Dockerfile"

    def tag(self) -> str:
        """A hash of all that goes in."""
        return digest(self.files, self.arguments)

    @property
    def local(self) -> str:
        """Its name in buildah's own storage."""
        return f"localhost/modelward/{self.name}:{self.tag()}"

    @property
    def reference(self) -> str:
        """Its name in the cluster's registry, which pods use."""
        return f"{REGISTRY}/modelward/{self.name}:{self.tag()}"


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


def base_tar() -> Path:
    """The base image's file system, made by mmdebstrap; its name changes with the packages asked for."""
    key = hashlib.sha256(" ".join(BASE_COMMAND).encode()).hexdigest()[:12]
    return cache() / "base" / f"{key}.tar"


def base() -> Image:
    """Debian with Python."""
    return Image("base", {"base.tar": base_tar(), "Dockerfile": RECIPES / "base" / "Dockerfile"})


def pause() -> Image:
    """The program that holds a pod's namespaces."""
    program = _pause_program()
    return Image("pause", {"pause": program, "Dockerfile": RECIPES / "pause" / "Dockerfile"})


def coredns() -> Image:
    """Cluster DNS."""
    return Image("coredns", {"coredns": binary("coredns"), "Dockerfile": RECIPES / "coredns" / "Dockerfile"})


def package(name: str) -> Image:
    """The image of one of our two Python packages, by the Dockerfile in its folder."""
    shared = [REPOSITORY / file for file in ("LICENSE", "pyproject.toml", "requirements.lock", "uv.lock")]
    shared += REPOSITORY.glob("*/pyproject.toml")
    files = [file for file in {*shared, *sources(REPOSITORY / name)} if file.is_file()]
    context = {str(file.relative_to(REPOSITORY)): file for file in files}
    return Image(name, context, (f"BASE={base().local}",), f"{name}/Dockerfile")


def packages() -> list[Image]:
    """The images of operator and runtime: those whose Dockerfile is in the checkout."""
    return [package(name) for name in ("operator", "runtime") if (REPOSITORY / name / "Dockerfile").exists()]


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


# ── building ──────────────────────────────────────────────────────────────────────────────────────────────────────


def build(screen: Screen, *, for_cluster: bool) -> list[Image]:
    """Build what is not built yet of our own images and, when asked, of those that the cluster itself runs."""
    with alone("image-build", screen):
        if not base_tar().exists():
            _build_base_tar(screen)
        images = [base(), *([pause(), coredns()] if for_cluster else []), *packages()]
        built = _built()
        for image in images:
            if image.local not in built:
                _build(image, screen)
        _prune(images)
    return images


def _build_base_tar(screen: Screen) -> None:
    log = cache() / "logs" / "image-base-tar.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    target = base_tar()
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".new.tar")
    with screen.step("build base image: Debian with Python, by mmdebstrap", log):
        run([*_private(), *BASE_COMMAND, str(unfinished)], log, "mmdebstrap failed")
        unfinished.rename(target)


def _build(image: Image, screen: Screen) -> None:
    log = cache() / "logs" / f"image-{image.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with screen.step(f"build image {image.name}", log) as step, tempfile.TemporaryDirectory(dir=cache()) as folder:
        context = Path(folder)
        for name, file in image.files.items():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, context / name)
        options = [f"--build-arg={argument}" for argument in image.arguments]
        options += ["--isolation=chroot", "--layers", "--network=host", "--pull-never", *_volumes()]
        command = [
            *_buildah(),
            "bud",
            *options,
            f"--file={context / image.dockerfile}",
            f"--tag={image.local}",
            str(context),
        ]
        run(command, log, f"the image {image.name} could not be built", step)


def _volumes() -> list[str]:
    """Downloads that outlive a build, the machine's certificates, and where its pip looks for packages."""
    downloads, settings = cache() / "downloads", cache() / "build-settings"
    downloads.mkdir(parents=True, exist_ok=True)
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    index = os.environ.get("PIP_INDEX_URL", "")
    pip = f"[global]\ncert = {bundle}\n" + (f"index-url = {index}\n" if index else "")
    for name, text in {"pip/pip.conf": pip, "uv/uv.toml": "native-tls = true\n"}.items():
        (settings / name).parent.mkdir(parents=True, exist_ok=True)
        (settings / name).write_text(text)
    mounts = (f"{downloads}:/root/.cache:rw", f"{settings}:/root/.config:ro", "/etc/ssl/certs:/etc/ssl/certs:ro")
    return [f"--volume={mount}" for mount in mounts]


def _built() -> set[str]:
    listing = [*_buildah(), "images", "--format", "{{.Name}}:{{.Tag}}"]
    return set(subprocess.run(listing, capture_output=True, text=True, check=False).stdout.split())


def _prune(wanted: list[Image]) -> None:
    """Of each image keep the newest few tags, and not layers without end: a day of edits must not fill the disk."""
    listing = [*_buildah(), "images", "--all", "--format", "{{.CreatedAtRaw}}|{{.Name}}:{{.Tag}}"]
    lines = subprocess.run(listing, capture_output=True, text=True, check=False).stdout.splitlines()
    for tag in superfluous(lines, {image.local for image in wanted}):
        subprocess.run([*_buildah(), "rmi", tag], capture_output=True, check=False)
    if len(lines) > KEPT_LAYERS:
        subprocess.run([*_buildah(), "rmi", "--prune"], capture_output=True, check=False)


def superfluous(lines: list[str], keep: set[str]) -> list[str]:
    """Of lines `TIME|NAME:TAG` those tags of ours that are older than the newest few of their name and not kept."""
    seen: dict[str, int] = {}
    old = []
    for line in sorted(lines, reverse=True):
        tagged = line.partition("|")[2]
        name = tagged.rpartition(":")[0]
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > KEPT_TAGS and tagged not in keep and name.startswith("localhost/modelward/"):
            old.append(tagged)
    return old


# ── pushing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def push(images: list[Image], screen: Screen) -> None:
    """Push what the registry does not hold yet."""
    absent = [image for image in images if not _in_registry(image)]
    for image in absent:
        log = cache() / "logs" / f"push-{image.name}.log"
        with screen.step(f"push image {image.name} to the cluster's registry", log) as step:
            command = [
                *_buildah(),
                "push",
                "--tls-verify=false",
                image.local,
                f"docker://{image.reference}",
            ]
            run([*entering(mounts=False), *command], log, f"the image {image.name} could not be pushed", step)


def _in_registry(image: Image) -> bool:
    url = f"http://{REGISTRY}/v2/modelward/{image.name}/manifests/{image.tag()}"
    accept = "Accept: application/vnd.oci.image.manifest.v1+json"
    probe = [
        "curl",
        "--silent",
        "--head",
        "--header",
        accept,
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
        url,
    ]
    return (
        subprocess.run([*entering(mounts=False), *probe], capture_output=True, text=True, check=False).stdout == "200"
    )


# ── tools ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def run(command: list[str], log: Path, failure: str, step: Step | None = None) -> None:
    """Run a command with its output in a log; its last line is the step's detail meanwhile."""
    with log.open("w") as out:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=False)
        while True:
            try:
                code = child.wait(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                if step is not None:
                    step.detail = (log.read_text(errors="replace").strip().splitlines() or [""])[-1][:80]
    if step is not None:
        step.detail = ""
    if code != 0:
        raise StepFailed(failure, log=log, hint="the log names the command that failed; the next run goes on from here")


def _private() -> list[str]:
    """A mount namespace of its own, so that a killed build leaves no mounts behind."""
    return ["unshare", "--mount", "--propagation", "private", "--"]


def _buildah() -> list[str]:
    """buildah with storage, run state and network configuration in the cache, none in the system's folders."""
    storage, settings = cache() / "containers", cache() / "build-settings" / "containers.conf"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(f'[network]\nnetwork_config_dir = "{storage}-networks"\n')
    tool = ["env", f"CONTAINERS_CONF={settings}", "buildah", f"--root={storage}", f"--runroot={storage}-run"]
    return [*_private(), *tool, "--storage-driver=overlay"]
