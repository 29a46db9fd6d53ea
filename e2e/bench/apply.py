"""Suite apply: what a user waits for between `kubectl apply` and the first prediction, and what the two programs weigh.

    1. rounds       apply a model of 1 MB, ask until it answers, delete; split by stage (timeline.py)
    2. unchanged    touch an object whose spec does not change: the operator must write nothing
    3. memory       runtime with 1 MB and with 90 MB of model; operator with 100 ModelDeployments
    4. sources      a model of 1 GB: our fetch beside curl, a restart with it on disk, probes meanwhile (sources.py, without the cluster)

The image is on the node already: this is the warm path. The 100 models have 0 replicas, as many pods would measure the
machine and not the operator; all their other children exist.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import replace
from typing import Any

import httpx

from e2e.bench import results, sources
from e2e.bench.pods import admin, audited, counter, operator_writes, pods_of, resident_bytes, started_at
from e2e.bench.timeline import MARKS, OURS, observe, split
from e2e.cluster.progress import Screen
from e2e.demo.ask import over_rest
from e2e.demo.inside import endpoint
from e2e.demo.kube import Json, Seen, apply, condition, kubectl, read, watching
from e2e.demo.place import manifest, put_models, secret, token, visitor
from e2e.models.builder import BUILD
from e2e.models.rows import read_rows

NAMESPACE = "bench"
OPERATOR = ("modelward-system", "app.kubernetes.io/name=modelward-operator")
BAR_SECONDS = 3.0
BAR_BYTES = 150_000_000
MANY = 100
LIMIT = 180.0
WATCHED = ("modeldeployments", "deployments", "pods", "services", "events")


def run(rounds: int) -> bool:
    """Runs all parts, prints and writes the results; whether every bar was held."""
    print(results.busy())
    put_models(Screen())
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait")
    apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        secret(NAMESPACE),
        visitor(NAMESPACE),
    )
    token(NAMESPACE)  # made once, before anything is timed
    try:
        times = _rounds(rounds)
        bars = {"ours": _tell_rounds(times)}
        writes = _writes_of_a_touch()
        bars["unchanged"] = not writes
        print(f"\nwrites of the operator after a touch of an unchanged object: {', '.join(writes) or 'none'}")
        memory = _memory()
        bars["memory"] = _tell_memory(memory)
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    print()
    bars["sources"] = sources.run(min(rounds, 5))
    path = results.write("apply", {"rounds": times, "writesOfATouch": writes, "memoryBytes": memory, "bars": bars})
    print(
        f"\n{path.relative_to(path.parents[3])}; bars: "
        + ", ".join(f"{k} {'held' if v else 'MISSED'}" for k, v in bars.items())
    )
    return all(bars.values())


# ── 1. apply to first prediction ────────────────────────────────────────────────────────────────────────────────


def _rounds(count: int) -> list[dict[str, float]]:
    done = []
    for number in range(count + 1):
        stages = _round(f"apply-{number}")
        label = f"round {number}" if number else "warm-up"
        print(f"{label}: {sum(stages.values()) - stages['told']:.2f} s", flush=True)
        done.append(stages)
    return done[1:]


def _round(name: str) -> dict[str, float]:
    """One model applied, asked and deleted; seconds by stage, plus `told`: apply until the status reads Ready."""
    marks: dict[str, float] = {}
    with watching(NAMESPACE, *WATCHED) as seen:
        time.sleep(1)  # the watches list first
        marks["applied"] = time.monotonic()
        apply(_model(name))
        _collect(marks, seen, name)
    (pod,) = pods_of(NAMESPACE, f"modelward.dev/model={name}")
    marks["started"] = started_at(pod)
    stages = split(marks, admin(pod, "/report").json(), time.time() - time.monotonic())
    stages["told"] = marks["told"] - marks["applied"]
    kubectl("delete", "mdep", name, "-n", NAMESPACE)
    kubectl("wait", "pod", "-n", NAMESPACE, "-l", f"modelward.dev/model={name}", "--for=delete", "--timeout=60s")
    return stages


def _model(name: str, version: str = "breast-cancer/1", **spec: Any) -> Json:
    drawn = manifest(version.split("/", maxsplit=1)[0])
    drawn["metadata"] = {"name": name, "namespace": NAMESPACE}
    drawn["spec"]["model"]["uri"] = f"s3://models/{version}/"
    drawn["spec"]["security"]["authentication"]["allowedSubjects"][0]["namespace"] = NAMESPACE
    drawn["spec"] |= spec
    return drawn


def _collect(marks: dict[str, float], seen: queue.Queue[Seen], name: str) -> None:
    """Fills `marks` until the model answers and the status says so."""
    deadline = time.monotonic() + LIMIT
    asking = False
    while not {"answering", "told", *MARKS.values()} - {"started"} <= marks.keys():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name}: after {LIMIT:.0f} s seen only {', '.join(sorted(marks))}")
        try:
            event = seen.get(timeout=0.05)
        except queue.Empty:
            continue
        observe(marks, event, name)
        if not asking and event.object["kind"] == "Service" and event.name == name:
            asking = True
            address = event.object["spec"]["clusterIP"]
            threading.Thread(target=_ask_until_answered, args=(address, name, marks, deadline), daemon=True).start()


def _ask_until_answered(address: str, name: str, marks: dict[str, float], deadline: float) -> None:
    """Ask every 20 ms, as an impatient client would, through the Service."""
    body = (BUILD / "breast-cancer" / "1.request.json").read_bytes()
    url = f"http://{address}:8080/v2/models/{name}/infer"
    headers = {"authorization": f"Bearer {token(NAMESPACE)}"}
    while time.monotonic() < deadline:
        try:
            if httpx.post(url, content=body, headers=headers, timeout=2, trust_env=False).status_code == 200:
                marks["answering"] = time.monotonic()
                return
        except httpx.TransportError:
            pass  # no endpoint yet
        time.sleep(0.02)


def _tell_rounds(times: list[dict[str, float]]) -> bool:
    stages = [stage for stage in times[0] if stage != "told"]
    ours = [sum(one[stage] for stage in OURS) for one in times]
    lines = [(f"{stage} *" if stage in OURS else stage, [one[stage] for one in times]) for stage in stages]
    lines += [
        ("total: apply to first prediction", [sum(one[stage] for stage in stages) for one in times]),
        ("* ours", ours),
        ("apply until the status reads Ready", [one["told"] for one in times]),
    ]
    print(f"\n{len(times)} rounds, seconds")
    print(results.table([("stage", "median", "min", "max"), *(_row(title, values) for title, values in lines)]))
    return results.summary(ours)["median"] < BAR_SECONDS


def _row(title: str, values: list[float]) -> tuple[str, ...]:
    return (title, *(f"{value:.3f}" for value in results.summary(values).values()))


# ── 2. an unchanged object ──────────────────────────────────────────────────────────────────────────────────────


def _writes_of_a_touch() -> list[str]:
    """What the operator writes after an annotation on an object that is as it should be, by the API server's audit log."""
    apply(_model("touched", scaling={"replicas": 0}))
    _await(lambda: condition(read("mdep", "touched", "-n", NAMESPACE), "Ready")["status"] == "True", "touched")
    time.sleep(5)  # until the last echo of its making is processed
    passes, start = _passes(), audited()
    kubectl("annotate", "mdep", "touched", "-n", NAMESPACE, "bench=touched")
    _await(lambda: _passes() > passes, "a reconcile pass after the touch")
    time.sleep(3)
    return operator_writes(NAMESPACE, start)


def _passes() -> float:
    texts = (admin(pod, "/metrics", 9090).text for pod in pods_of(*OPERATOR))
    return sum(counter(text, "modelward_reconcile_seconds_count") for text in texts)


# ── 3. memory ───────────────────────────────────────────────────────────────────────────────────────────────────


def _memory() -> dict[str, int]:
    """Resident bytes: the runtime's without its model, the operator's with few and with many models."""
    weights = {"runtime, 1 MB model": "breast-cancer/1", "runtime, 90 MB model": "minilm/1"}
    found = {title: _runtime_memory(version) for title, version in weights.items()}
    found["operator"] = _operator_memory()
    for start in range(0, MANY, 25):
        apply(*(_model(f"many-{number}", scaling={"replicas": 0}) for number in range(start, start + 25)))
    _await(_many_are_settled, f"{MANY} models to be reconciled")
    time.sleep(5)
    found[f"operator, {MANY} models"] = _operator_memory()
    return found


def _runtime_memory(version: str) -> int:
    """After some predictions, so that working memory is counted too."""
    name = f"weight-{version.split('/', maxsplit=1)[0]}"
    rows = replace(read_rows(BUILD / f"{version}.rows.json"), model=name)
    apply(_model(name, version))
    _await(lambda: condition(read("mdep", name, "-n", NAMESPACE), "Ready")["status"] == "True", name)
    with endpoint(name, NAMESPACE, token(NAMESPACE)) as at:
        for _ in range(20):
            over_rest(at, rows)
    (pod,) = pods_of(NAMESPACE, f"modelward.dev/model={name}")
    size = sum(file.stat().st_size for file in (BUILD / version).iterdir())
    resident = resident_bytes(pod)
    kubectl("delete", "mdep", name, "-n", NAMESPACE)
    return resident - size


def _many_are_settled() -> bool:
    items = read("mdep", "-n", NAMESPACE)["items"]
    return len(items) > MANY and all(condition(item, "Ready")["status"] == "True" for item in items)


def _operator_memory() -> int:
    """Of the heavier replica."""
    _await(lambda: pods_of(*OPERATOR), "a pod of the operator")
    return max(resident_bytes(pod) for pod in pods_of(*OPERATOR))


def _tell_memory(memory: dict[str, int]) -> bool:
    print("\nresident memory, runtime without its model's bytes")
    print(results.table([("", "MB"), *((title, f"{size / 1e6:.1f}") for title, size in memory.items())]))
    return all(size < BAR_BYTES for size in memory.values())


def _await(ready: Any, what: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {LIMIT:.0f} s")
        time.sleep(0.3)
