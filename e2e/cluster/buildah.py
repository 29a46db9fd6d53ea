"""Builds the images of images.py with buildah, and pushes them to the cluster's registry; no Docker needed."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from e2e.cluster import images
from e2e.cluster.alone import alone
from e2e.cluster.failures import ClusterError, StepFailed
from e2e.cluster.images import Image
from e2e.cluster.paths import REGISTRY, cache
from e2e.cluster.processes import entering
from e2e.cluster.progress import Screen, Step

BLOBS = Path("/var/lib/containers/cache/blob-info-cache-v1.boltdb")
KEPT_TAGS = 3
KEPT_LAYERS = 300  # of all builds; pruning them costs the next build its cache


def build(screen: Screen, *, for_cluster: bool) -> list[Image]:
    """Build what is not built yet of our own images and, when asked, of those that the cluster itself runs."""
    with alone("image-build", screen):
        shutil.rmtree(_contexts(), ignore_errors=True)  # of a build that was killed
        _contexts().mkdir(parents=True)
        _make_base_tar(screen)
        found = [images.base(), *([images.pause(), images.coredns()] if for_cluster else []), *images.packages()]
        built = _built()
        found = [image if image.local in built else _build(image, screen) for image in found]
        _prune(found)
    return found


def build_for(architectures: list[str], screen: Screen) -> dict[str, list[Image]]:
    """Build operator and runtime for several kinds of machines, and put each into one list; what is in them, by the list's name."""
    with alone("image-build", screen):
        shutil.rmtree(_contexts(), ignore_errors=True)
        _contexts().mkdir(parents=True)
        lists: dict[str, list[Image]] = {}
        for architecture in architectures:
            _make_base_tar(screen, architecture)
            built = _built()
            for image in (images.base(architecture), *images.packages(architecture)):
                made = image if image.local in built else _build(image, screen)
                if image.name != "base":
                    lists.setdefault(
                        f"localhost/modelward/{image.name}:{images.package(image.name).tag}-all", []
                    ).append(made)
        for name, found in lists.items():
            with screen.step(f"list {name}"):
                _list(name, found)
    return lists


def _list(name: str, found: list[Image]) -> None:
    """Make the manifest list anew: an image may have been built again since."""
    subprocess.run([*_buildah(), "manifest", "rm", name], capture_output=True, check=False)
    for command in (["create", name], *(["add", name, image.local] for image in found)):
        done = subprocess.run([*_buildah(), "manifest", *command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ClusterError(f"the list {name} could not be made: {done.stderr.strip()}")


def clear() -> None:
    """Remove what buildah notes in a system folder whatever its options say, unless somebody else keeps things there."""
    with contextlib.suppress(OSError):
        if {BLOBS, *BLOBS.parents[1].rglob("*")} == {BLOBS, BLOBS.parent}:
            BLOBS.unlink()
            BLOBS.parent.rmdir()
            BLOBS.parents[1].rmdir()


def _make_base_tar(screen: Screen, architecture: str = "") -> None:
    target = images.base_tar(architecture)
    if target.exists():
        return
    log = cache() / "logs" / f"image-base-tar{architecture}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".new.tar")
    with screen.step(f"build base image: Debian with Python, by mmdebstrap {architecture}".rstrip(), log):
        run([*_private(), *images.base_command(architecture), str(unfinished)], log, "mmdebstrap failed")
        unfinished.rename(target)


def _build(image: Image, screen: Screen) -> Image:
    """Build from a copy of the files, and name the image after the copy."""
    log = cache() / "logs" / f"image-{image.name}{image.architecture}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        screen.step(f"build image {image.name} {image.architecture}".rstrip(), log) as step,
        tempfile.TemporaryDirectory(dir=_contexts()) as folder,
    ):
        copied = image.over(_copy(image.files, Path(folder)))
        options = [f"--build-arg={argument}" for argument in copied.arguments]
        options += [f"--platform=linux/{image.architecture}"] if image.architecture else []
        options += ["--isolation=chroot", "--layers", "--network=host", "--pull-never", *_volumes()]
        options += [f"--file={Path(folder) / copied.dockerfile}", f"--tag={copied.local}"]
        run([*_buildah(), "bud", *options, folder], log, f"the image {image.name} could not be built", step)
    return replace(copied, files=image.files)


def _contexts() -> Path:
    return cache() / "contexts"


def _copy(files: dict[str, Path], context: Path) -> dict[str, Path]:
    for name, file in files.items():
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        if file.is_relative_to(cache()):
            os.link(file, context / name)  # large, and never edited
        else:
            shutil.copy2(file, context / name)
    return {name: context / name for name in files}


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


def push(found: list[Image], screen: Screen) -> None:
    """Push what the registry does not hold yet."""
    absent = [image for image in found if not _in_registry(image)]
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
    url = f"http://{REGISTRY}/v2/modelward/{image.name}/manifests/{image.tag}"
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
