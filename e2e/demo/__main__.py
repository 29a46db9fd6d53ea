"""`make demo`: from a running cluster with the operator to predictions that match onnxruntime run by hand.

    build models ─▶ upload ─▶ apply one manifest each ─▶ follow the conditions ─▶ ask in three ways ─▶ compare, draw

Exits 1 when a model does not become ready, saying why, or when any prediction deviates from onnxruntime's own.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from e2e.cluster.progress import Screen
from e2e.demo import show
from e2e.demo.ask import TOLERANCE, WAYS, largest_difference
from e2e.demo.follow import NotReady, follow
from e2e.demo.inside import endpoint, enter_cluster
from e2e.demo.kube import Json, KubectlError, apply, diagnose, kubectl, read, watching
from e2e.demo.paint import paint
from e2e.models.builder import BUILD, ensure_models
from e2e.models.rows import Array, Rows, read_rows, run_onnxruntime

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "crds" / "examples"
PUT = REPOSITORY / "e2e" / "cluster" / "put"
NAMESPACE = "demo"
READY_LIMIT = 300.0


@dataclass(frozen=True)
class Story:
    """One model of the demo: what it is, and how its answers are drawn."""

    name: str
    what: str
    draw: Callable[[Rows, dict[str, Array]], list[str]]


STORIES = (
    Story("breast-cancer", "a random forest on biopsies, of which it has never seen these", show.show_breast_cancer),
    Story("digits", "a small neural network on handwriting it has never seen", show.show_digits),
    Story("minilm", "a transformer, all-MiniLM-L6-v2, that turns sentences into vectors", show.show_minilm),
)
# What is uploaded; the second version is for the visitor to roll out.
VERSIONS = ("breast-cancer/1", "breast-cancer/2", "digits/1", "minilm/1")


class Deviation(Exception):
    """A served prediction is not onnxruntime's."""


class Stages:
    """What took how long."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.seconds[title] = time.monotonic() - begun


def main() -> int:
    enter_cluster("e2e.demo")
    stages, screen = Stages(), Screen()
    try:
        _prepare(stages, screen)
        ready = _deploy(stages)
        for story in STORIES:
            with stages.stage(f"{story.name}: predictions in three ways"):
                _tell(story)
    except NotReady as error:
        print(paint(f"\n{error}", "red"))
        for name in error.names:
            print("\n".join((f"\n{name}", *diagnose(NAMESPACE, name))))
        return 1
    except (Deviation, KubectlError, OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        print(paint(f"\ndemo: {error}", "red"))
        return 1
    _conclude(stages, ready)
    return 0


def _prepare(stages: Stages, screen: Screen) -> None:
    _title("Models: trained and built here, from data and weights that come with Python packages")
    with stages.stage("build the models (once per machine)"):
        ensure_models(print)
    with stages.stage("upload to the object store"):
        for version in VERSIONS:
            size = sum(file.stat().st_size for file in (BUILD / version).iterdir())
            with screen.step(f"put s3://models/{version}/, {size / 1e6:.2f} MB"):
                _put(BUILD / version, f"s3://models/{version}/")


def _put(folder: Path, uri: str) -> None:
    done = subprocess.run([PUT, folder, uri], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"cannot upload to {uri}: {(done.stderr or done.stdout).strip()}")


def _deploy(stages: Stages) -> dict[str, float]:
    _title("One manifest per model")
    print((EXAMPLES / "demo-breast-cancer.yaml").read_text().strip())
    print(paint("\n$ kubectl apply -f crds/examples/demo-*.yaml", "bold"))
    with stages.stage("apply until all models are ready"), watching(NAMESPACE, "modeldeployments") as seen:
        apply(_namespace(), _secret())
        begun = time.monotonic()
        apply(*map(_manifest, STORIES))
        return follow(seen, {story.name: _generation(story) for story in STORIES}, begun, READY_LIMIT)


def _manifest(story: Story) -> Json:
    """The example as it is, but for the object store of the user's own cluster."""
    manifest: Json = yaml.safe_load((EXAMPLES / f"demo-{story.name}.yaml").read_text())
    manifest["spec"]["model"]["storage"]["endpoint"] = os.environ["S3_ENDPOINT"]
    return manifest


def _generation(story: Story) -> int:
    return int(read("mdep", story.name, "-n", NAMESPACE)["metadata"]["generation"])


def _namespace() -> Json:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def _secret() -> Json:
    """The object store's credentials, from the environment that `e2e/cluster/shell` sets."""
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    metadata = {"name": "s3-read", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {k: os.environ[k] for k in keys}}


def _tell(story: Story) -> None:
    """Ask in all ways, compare each with onnxruntime, and draw the answer."""
    rows = read_rows(BUILD / story.name / "1.rows.json")
    expected = run_onnxruntime(BUILD / story.name / "1" / "model.onnx", rows.inputs)
    status = read("mdep", story.name, "-n", NAMESPACE)["status"]
    _title(f"{story.name}: {story.what}")
    print(paint(f"  {status.get('url', '')}", "cyan"))
    served: dict[str, Array] = {}
    verdicts = []
    with endpoint(story.name, NAMESPACE) as at:
        for way, ask in WAYS.items():
            begun = time.monotonic()
            served = ask(at, rows)
            verdicts.append(_verdict(way, largest_difference(expected, served), time.monotonic() - begun))
    print("\n".join(("", *story.draw(rows, served), "", *verdicts)))
    _check_digest(status, BUILD / story.name / "1")


def _verdict(way: str, difference: float, seconds: float) -> str:
    if difference > TOLERANCE:
        raise Deviation(f"{way}: the answer differs from onnxruntime run by hand by {difference:.3g}")
    agreement = "equal to the bit" if difference == 0 else f"largest difference {difference:.1e}"
    return f"  {paint('✔', 'green')} {way:<36} {seconds * 1000:6.0f} ms   against onnxruntime by hand: {agreement}"


def _check_digest(status: Json, folder: Path) -> None:
    loaded, here = status.get("model", {}).get("digest"), digest_of(folder)
    if loaded != here:
        raise Deviation(f"the pods report to have loaded {loaded}, but {folder.name} here has {here}")
    print(f"  {paint('✔', 'green')} the pod reports to have loaded these very bytes: {here[:19]}…")


def digest_of(folder: Path) -> str:
    """The digest of a model folder: SHA-256 over its sorted `sha256sum` lines, as `modelward digest` prints it."""
    files = sorted(
        (file for file in folder.rglob("*") if file.is_file()), key=lambda file: bytes(file.relative_to(folder))
    )
    lines = (f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder)}\n" for file in files)
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def _conclude(stages: Stages, ready: dict[str, float]) -> None:
    _title("kubectl get mdep -n demo")
    print(kubectl("get", "mdep", "-n", NAMESPACE).rstrip())
    _title("How long it took")
    for title, seconds in stages.seconds.items():
        print(f"  {seconds:7.1f} s  {title}")
    print("  " + ", ".join(f"{name} ready after {seconds:.1f} s" for name, seconds in ready.items()))
    _title("What to try next")
    host = read("service", "breast-cancer", "-n", NAMESPACE)["spec"]["clusterIP"]
    print(NEXT.format(host=host, zeros="0" * 64))


NEXT = """\
  # the cluster is up; this runs kubectl in it
  e2e/cluster/shell kubectl get mdep,pods -n demo
  # ask with curl: metadata, then the same eight biopsies
  e2e/cluster/shell curl -s http://{host}:8080/v2/models/breast-cancer
  e2e/cluster/shell curl -s http://{host}:8080/v2/models/breast-cancer/infer -d @e2e/models/build/breast-cancer/1.request.json
  # roll out the second version, and see the probabilities change
  e2e/cluster/shell kubectl patch mdep breast-cancer -n demo --type merge \\
      -p '{{"spec": {{"model": {{"uri": "s3://models/breast-cancer/2/", "version": "2"}}}}}}'
  # two replicas; then none, with everything else kept
  e2e/cluster/shell kubectl scale mdep digits -n demo --replicas 2
  e2e/cluster/shell kubectl patch mdep minilm -n demo --type merge -p '{{"spec": {{"suspend": true}}}}'
  # a wrong digest: the old pod serves on, the condition says what is wrong
  e2e/cluster/shell kubectl patch mdep digits -n demo --type merge \\
      -p '{{"spec": {{"model": {{"digest": "sha256:{zeros}"}}}}}}'
  e2e/cluster/shell kubectl describe mdep digits -n demo
  # all of it away, without a trace
  make down"""


def _title(text: str) -> None:
    print(f"\n{paint(text, 'bold')}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
