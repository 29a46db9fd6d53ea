"""`up`, `down` and `status` as one would tell them: each is a numbered list of steps, and the steps live elsewhere."""

import os
import shutil
import sys

from e2e.cluster import (
    addons,
    binaries,
    buildah,
    certificates,
    chart,
    components,
    configuration,
    emulation,
    packages,
    processes,
)
from e2e.cluster.alone import alone
from e2e.cluster.components import Component
from e2e.cluster.failures import ClusterError, StepFailed
from e2e.cluster.images import Image
from e2e.cluster.paths import CONFIGURATION, HERE, KUBECONFIG, LOGS, RUN, STATE, cache
from e2e.cluster.progress import Screen, Step
from e2e.cluster.removal import remove_tree

REGISTRY_LIMIT = 4 * 2**30  # bytes of images in the cache's registry, beyond which it starts anew


def up(screen: Screen) -> None:
    """From whatever is there to a cluster with the operator installed; what is in place already is left alone."""
    _check_machine()
    packages.install(screen)  # 1. what the machine must have
    binaries.build(binaries.PROGRAMS, screen)  # 2. Kubernetes and its company, from Go modules
    built = {image.name: image for image in buildah.build(screen, for_cluster=True)}  # 3. the images
    with alone("up", screen):
        _begin(built, screen)  # 4. namespaces, certificates, configuration
        for wave in components.waves():  # 5. the processes
            _start(wave, screen)
        _fill(built, screen)  # 6. images into the registry, DNS and bucket into the cluster
        _install_operator(built, screen)  # 7. ModelWard itself
    screen.say(
        f"the cluster is up ({screen.elapsed()}); run commands in it with: e2e/cluster/shell kubectl get pods -A"
    )


def down(screen: Screen, *, cache_too: bool = False) -> None:
    """Leave nothing: end every process, remove cgroups, state and the folders made for mounts."""
    _check_root()
    packages.clear(screen)
    buildah.clear()
    if RUN.exists() or STATE.exists():
        with alone("up", screen), screen.step("take the cluster down") as step:
            _remove(step)
    else:
        screen.say("no cluster is up")
    if cache_too:
        with screen.step(f"remove {cache()}"):
            remove_tree(cache())


def status(screen: Screen) -> bool:
    """Print what runs; whether all of it does."""
    pid = processes.init_pid()
    if not pid:
        screen.say("no cluster is up")
        return False
    screen.say(f"namespaces   pid {pid}; logs in {LOGS}, kubeconfig {KUBECONFIG}")
    names = processes.started()
    for name in names:
        screen.say(f"{'running' if processes.running(name) else 'DEAD   '}      {name}")
    return all(map(processes.running, names))


def build_images(screen: Screen) -> list[Image]:
    """Build the images alone, with what that needs; push them where a cluster is up."""
    _check_machine()
    packages.install(screen)
    built = buildah.build(screen, for_cluster=False)
    if processes.init_pid() and processes.running("registry"):
        buildah.push(built, screen)
    return built


def build_images_for(architectures: list[str], screen: Screen) -> dict[str, list[Image]]:
    """Build the images for several kinds of machines; refused for one whose programs this machine cannot run."""
    _check_machine()
    packages.install(screen)
    for architecture in architectures:
        emulation.check(architecture)
    return buildah.build_for(architectures, screen)


# ── up ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _check_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            "the embedded cluster needs root (namespaces, mounts); with a cluster of your own: CLUSTER=current"
        )


def _check_machine() -> None:
    _check_root()
    if sys.platform != "linux":
        raise ClusterError("the embedded cluster needs Linux; with a cluster of your own: CLUSTER=current make up")
    cache().mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache()).free / 2**30
    wanted = 10 if binaries.missing(binaries.PROGRAMS) else 2
    if free < wanted:
        raise ClusterError(f"{free:.1f} GiB are free for {cache()}, {wanted} GiB are needed; or set MODELWARD_CACHE")


def _begin(built: dict[str, Image], screen: Screen) -> None:
    if not processes.init_pid():
        if RUN.exists() or STATE.exists():
            with screen.step("clear away what an earlier cluster left") as step:
                _remove(step)
        with screen.step("namespaces, certificates, configuration"):
            _prepare(built)
            processes.begin()
    else:
        configuration.write(built["pause"].reference)


def _prepare(built: dict[str, Image]) -> None:
    for folder in (
        RUN,
        STATE,
        LOGS / "pods",
        CONFIGURATION,
        components.OBJECTS,
        components.OBJECTS_METADATA,
        components.USERS,
    ):
        folder.mkdir(parents=True, exist_ok=True)
    processes.load_kernel_modules()
    processes.check_kernel()
    processes.make_cgroup()
    registry = cache() / "registry"
    if sum(file.stat().st_size for file in registry.rglob("*") if file.is_file()) > REGISTRY_LIMIT:
        remove_tree(registry)
    registry.mkdir(exist_ok=True)
    certificates.make()
    configuration.write_names()
    configuration.write(built["pause"].reference)


def _start(wave: tuple[Component, ...], screen: Screen) -> None:
    started: list[Component] = []
    for component in wave:
        unit = component.unit()
        if not processes.current(unit):
            processes.launch(unit)
            started.append(component)
    for component in started:
        _await(component, screen)


def _await(component: Component, screen: Screen) -> None:
    unit = component.unit()

    def ready() -> bool:
        if not processes.running(unit.name):
            raise StepFailed(f"{unit.name} ended right after its start", log=unit.log)
        return component.ready()

    with screen.step(f"start {unit.name}", unit.log) as step:
        step.wait(
            ready, limit=component.limit, hint=f"the whole log is {unit.log}; run the same command again to go on"
        )


def _fill(built: dict[str, Image], screen: Screen) -> None:
    buildah.push(list(built.values()), screen)
    addons.write_environment(built)
    if not addons.in_place(built):
        with screen.step("bucket for models"):
            addons.make_bucket()
        addons.apply(built, screen)


def _install_operator(built: dict[str, Image], screen: Screen) -> None:
    absent = [name for name in ("operator", "runtime") if name not in built]
    if absent:
        screen.say(f"– no Dockerfile for {' and '.join(absent)} yet: the operator is not installed")
        return
    shell = str(HERE / "shell")
    values = {f"{name}.image": built[name].reference for name in ("operator", "runtime")}
    flags = ("--take-ownership",)  # a test may have applied the CRDs by hand
    chart.install(chart.Target((shell, "kubectl"), (shell, "helm"), LOGS / "helm.log", flags), values, screen)


# ── down ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _remove(step: Step) -> None:
    step.detail = "ending all processes"
    processes.end()
    step.detail = "removing cgroups"
    processes.remove_cgroups()
    step.detail = "removing files"
    processes.remove_claimed()
    remove_tree(STATE)
    remove_tree(RUN)
    left = [str(folder) for folder in (STATE, RUN) if folder.exists()]
    step.detail = ""
    if left:
        raise StepFailed(
            f"could not remove {', '.join(left)}", hint="is something mounted or running there? see: findmnt, fuser"
        )
