"""`make demo`: from a running cluster with the operator to predictions that match onnxruntime run by hand.

    build models ─▶ upload ─▶ apply one manifest each ─▶ follow the conditions ─▶ ask in three ways ─▶ compare, draw

Exits 1 when a model does not become ready, saying why, or when any prediction deviates from onnxruntime's own.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.progress import Screen
from e2e.demo import show
from e2e.demo.ask import FAILURES, TOLERANCE, WAYS, largest_difference, status_without_token
from e2e.demo.follow import NotReady, follow
from e2e.demo.inside import endpoint, enter_cluster, is_inside
from e2e.demo.kube import KubectlError, apply, diagnose, kubectl, put_back, read, watching
from e2e.demo.paint import paint
from e2e.demo.place import example, manifest, namespace, put_models, secret, token, visitor
from e2e.models.builder import BUILD
from e2e.models.rows import Array, Rows, read_rows, run_onnxruntime

NAMESPACE = "demo"
READY_LIMIT = 180.0


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


class Wrong(Exception):
    """A model does not serve what it should: `name` says which."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name


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
    stages, screen = Stages(), Screen()
    if not is_inside():
        _title("Models: trained and built here, from data and weights that come with Python packages")
    try:
        stages.seconds["build the models (once per machine)"] = enter_cluster("e2e.demo")
        with stages.stage("upload to the object store"):
            put_models(screen)
        ready = _deploy(stages)
        for story in STORIES:
            with stages.stage(f"{story.name}: predictions in three ways"):
                _tell(story)
    except NotReady as error:
        return _fail(str(error), error.names)
    except Wrong as error:
        return _fail(str(error), [error.name])
    except (KubectlError, OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        return _fail(str(error), [])
    _conclude(stages, ready)
    return 0


def _fail(message: str, names: list[str]) -> int:
    """Say what went wrong, and for each model named what explains it."""
    print(paint(f"\ndemo: {message}", "red"))
    for name in names:
        print("\n".join(diagnose(NAMESPACE, name)))
    return 1


def _deploy(stages: Stages) -> dict[str, float]:
    _title("One manifest per model")
    print(example("breast-cancer").strip())
    print(paint("\n$ kubectl apply -f crds/examples/demo-*.yaml", "bold"))
    with stages.stage("apply until all models are ready"), watching(NAMESPACE, "modeldeployments") as seen:
        apply(namespace(NAMESPACE), secret(NAMESPACE), visitor(NAMESPACE))
        known = {item["metadata"]["name"] for item in read("mdep", "-n", NAMESPACE)["items"]}
        manifests = [manifest(story.name) for story in STORIES]
        begun = time.monotonic()
        apply(*(one for one in manifests if one["metadata"]["name"] not in known))
        for one in manifests:
            if one["metadata"]["name"] in known:  # a second demo undoes what the visitor tried
                put_back(one)
        return follow(seen, {story.name: _generation(story) for story in STORIES}, begun, READY_LIMIT)


def _generation(story: Story) -> int:
    return int(read("mdep", story.name, "-n", NAMESPACE)["metadata"]["generation"])


def _tell(story: Story) -> None:
    """Ask in all ways, compare each with onnxruntime, and draw the answer."""
    rows = read_rows(BUILD / story.name / "1.rows.json")
    expected = run_onnxruntime(BUILD / story.name / "1" / "model.onnx", rows.inputs)
    status = read("mdep", story.name, "-n", NAMESPACE)["status"]
    _title(f"{story.name}: {story.what}")
    print(paint(f"  {status.get('url', '')}", "cyan"))
    served, verdicts = _ask(story, rows, expected)
    print("\n".join(("", *story.draw(rows, served), "", *verdicts)))
    loaded, here = status.get("model", {}).get("digest"), digest_of(BUILD / story.name / "1")
    if loaded != here:
        raise Wrong(story.name, f"the pods report to have loaded {loaded}; what was uploaded has {here}")
    print(f"  {paint('✔', 'green')} the pod reports to have loaded these very bytes: {here[:19]}…")


def _ask(story: Story, rows: Rows, expected: dict[str, Array]) -> tuple[dict[str, Array], list[str]]:
    """The answer, and a line for each way of asking; raises Wrong when one deviates."""
    served: dict[str, Array] = {}
    verdicts = []
    with endpoint(story.name, NAMESPACE, token(NAMESPACE)) as at:
        if (status := status_without_token(at, rows)) != 401:
            raise Wrong(story.name, f"a caller without a token was answered {status}, not 401")
        verdicts.append(f"  {paint('✔', 'green')} {'without a token':<36} is refused: 401")
        for way, ask in WAYS.items():
            begun = time.monotonic()
            try:
                served = ask(at, rows)
            except FAILURES as error:
                raise Wrong(story.name, f"{way}: {error}") from error
            seconds, difference = time.monotonic() - begun, largest_difference(expected, served)
            if difference > TOLERANCE:
                raise Wrong(story.name, f"{way}: differs from onnxruntime run by hand by {difference:.3g}")
            verdicts.append(_verdict(way, difference, seconds))
    return served, verdicts


def _verdict(way: str, difference: float, seconds: float) -> str:
    agreement = "equal to the bit" if difference == 0 else f"largest difference {difference:.1e}"
    return f"  {paint('✔', 'green')} {way:<36} {seconds * 1000:6.0f} ms   against onnxruntime by hand: {agreement}"


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
  # the cluster is up; this runs kubectl in it, and the plugin
  e2e/cluster/shell kubectl get mdep,pods -n demo
  e2e/cluster/shell kubectl modelward doctor
  # ask with curl, as the account that the manifest allows: metadata, then the same eight biopsies
  TOKEN=$(e2e/cluster/shell kubectl create token visitor -n demo --audience modelward.dev)
  e2e/cluster/shell curl -s -H "Authorization: Bearer $TOKEN" http://{host}:8080/v2/models/breast-cancer
  e2e/cluster/shell curl -s -H "Authorization: Bearer $TOKEN" http://{host}:8080/v2/models/breast-cancer/infer \\
      -d @e2e/models/build/breast-cancer/1.request.json
  # roll out the second version, and see the probabilities change
  e2e/cluster/shell kubectl patch mdep breast-cancer -n demo --type merge \\
      -p '{{"spec": {{"model": {{"uri": "s3://models/breast-cancer/2/", "version": "2"}}}}}}'
  # two replicas; then none, with everything else kept
  e2e/cluster/shell kubectl scale mdep digits -n demo --replicas 2
  e2e/cluster/shell kubectl patch mdep minilm -n demo --type merge -p '{{"spec": {{"suspend": true}}}}'
  # a wrong digest: the old pod serves on, and what is wrong is said, with what to do
  e2e/cluster/shell kubectl patch mdep digits -n demo --type merge \\
      -p '{{"spec": {{"model": {{"digest": "sha256:{zeros}"}}}}}}'
  e2e/cluster/shell kubectl modelward status digits -n demo
  # all of it away, without a trace
  make down"""


def _title(text: str) -> None:
    print(f"\n{paint(text, 'bold')}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
