"""Suite policy: what a privacy policy costs a call, how fast text is searched, and how much of what is there is found. Needs no cluster.

    1. calls     one small tabular model behind two servers, without and with rules, the same call in turns over one connection each;
                 the bar compares the medians of the fastest turns, for whatever else the machine does only adds; p50 and p99 of all
                 calls stand beside it
    2. text      bytes a second of processor time on one thread: clean text, text full of near misses, hostile text at two lengths
    3. findings  precision and recall for each kind on generated sentences with their truth (policy_corpus.py says what that is worth)
    4. audit     what a record costs where it is made, durable ones too, and how long a large log takes to verify (policy_audit.py)
    5. door      what authentication with a warm cache costs a call, over REST and gRPC (access.py, also a suite of its own)

`VARIANTS` is the list of what a call may carry more than the bare server, a line each. 2 and 3 are in policy_text.py.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from e2e.bench import access, policy_audit, policy_text, results
from modelward_runtime.privacy.pii import fold

TURNS, CALLS = 6, 100  # short turns in each round: some of them fall into moments in which nothing else runs
WARM_UP = 300

RULES = {  # three about inputs, two about outputs
    "policy": "bench",
    "policyGeneration": 1,
    "input": {
        "tensors": [
            {
                "name": "x",
                "nonFinite": "Reject",
                "columns": [
                    {"names": ["age"], "minimum": "0", "maximum": "120"},
                    {"indices": [3], "action": "Zero"},
                ],
            }
        ]
    },
    "output": {"tensors": [{"name": "probabilities", "decimals": 2}, {"name": "scores", "drop": True}]},
}


@dataclass(frozen=True)
class Variant:
    """What one server has more than the bare one: sections of policy.json, made in the server's folder, and what they may cost."""

    name: str
    bar: float | None = None  # microseconds a call; None: told, not judged
    sections: Callable[[Path], Mapping[str, Any]] = lambda _: {}


VARIANTS = (
    Variant("privacy policy", 50.0, lambda _: {"privacy": RULES}),  # three input and two output rules
    Variant("audit, Buffered", 20.0, lambda home: {"audit": policy_audit.section(home / "audit", "Buffered")}),
    Variant("audit, Synchronous", None, lambda home: {"audit": policy_audit.section(home / "audit", "Synchronous")}),
)


def run(rounds: int) -> bool:
    """Runs all parts, prints and writes the results; whether every bar was held."""
    print(results.busy())
    fold.prepare()
    bars: dict[str, bool] = {}
    calls = _measure_calls(rounds, bars)
    text = policy_text.measure_speed(bars)
    findings = policy_text.measure_findings()
    audit = _measure_audit(bars)
    print("\nauthentication with a warm cache")
    bars["the door: at most 30 microseconds a call"] = access.run(rounds)
    path = results.write("policy", {"calls": calls, "text": text, "findings": findings, "audit": audit, "bars": bars})
    print(
        f"\n{path.relative_to(path.parents[3])}; bars: "
        + ", ".join(f"{k} {'held' if v else 'MISSED'}" for k, v in bars.items())
    )
    return all(bars.values())


# ── 1. calls ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _measure_calls(rounds: int, bars: dict[str, bool]) -> dict[str, Any]:
    """Each variant next to the bare server, call by call."""
    told: dict[str, Any] = {}
    rows: list[tuple[str, ...]] = [
        (
            "a call, microseconds",
            "bare p50",
            "p99",
            "with p50",
            "p99",
            "added p50",
            "added p99",
            "added, fastest turns",
        )
    ]
    for variant in VARIANTS:
        bare, more = (np.array(times) for times in _in_turns(variant, rounds))  # microseconds, a row for each turn
        p50, p99 = ([float(np.percentile(times, percent)) for times in (bare, more)] for percent in (50, 99))
        added = float(np.median(more, axis=1).min() - np.median(bare, axis=1).min())
        told[variant.name] = {
            "calls": bare.size,
            "bareMicroseconds": {"p50": p50[0], "p99": p99[0]},
            "withMicroseconds": {"p50": p50[1], "p99": p99[1]},
            "addedMicroseconds": {"p50": p50[1] - p50[0], "p99": p99[1] - p99[0], "fastestTurns": added},
        }
        figures = (p50[0], p99[0], p50[1], p99[1], p50[1] - p50[0], p99[1] - p99[0], added)
        rows.append((variant.name, *(f"{figure:.0f}" for figure in figures)))
        if variant.bar is not None:
            bars[f"{variant.name}: at most {variant.bar:.0f} microseconds a call"] = added <= variant.bar
    print(results.table(rows))
    return told


def _measure_audit(bars: dict[str, bool]) -> list[dict[str, Any]]:
    """What a record costs by itself, and what it takes to verify a hundred thousand."""
    rows = policy_audit.rows()
    shown = [(row.name, *(f"{seconds * 1e6:.1f}" for seconds in (row.p50, row.p99)), row.note) for row in rows]
    print("\n" + results.table([("audit, microseconds", "p50", "p99", ""), *shown]))
    bars |= {row.name: row.is_held for row in rows if row.is_held is not None}
    return [asdict(row) for row in rows]


def _in_turns(variant: Variant, rounds: int) -> tuple[list[list[float]], list[list[float]]]:
    """Microseconds of each turn's calls to the bare server and to the variant."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="modelward-bench-")))
        onnx.save(_model(), str(home / "model.onnx"))
        clients = [
            stack.enter_context(_served(home / name, home / "model.onnx", one, port))
            for name, one, port in (("bare", Variant("bare"), 18080), ("with", variant, 18090))
        ]
        for client in clients * WARM_UP:
            client.ask()
        times: tuple[list[list[float]], list[list[float]]] = ([], [])
        for _ in range(rounds * TURNS):
            times[0].append([])
            times[1].append([])
            for number in range(2 * CALLS):
                which = (number + number // 2) % 2  # 0 1 1 0: neither is always the one that comes second
                times[which][-1].append(clients[which].ask() * 1e6)
    return times


class Client:
    """One connection that asks the same again and again, with nothing of a library in between."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        row = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [40.0, 1.5, 2.5, 3.5]}
        body = json.dumps({"inputs": [row]}).encode()
        lines = {"host": "bench", "content-type": "application/json", "content-length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._request = f"POST /v2/models/m/infer HTTP/1.1\r\n{head}\r\n".encode() + body

    def ask(self) -> float:
        """Seconds until the whole answer was there."""
        began = time.perf_counter()
        self._socket.sendall(self._request)
        answer = self._socket.recv(65536)
        while len(answer) < _length(answer):
            answer += self._socket.recv(65536)
        seconds = time.perf_counter() - began
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the server answered {answer[:300]!r}")
        return seconds

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def _length(answer: bytes) -> int:
    """Bytes that the answer will have: one more than there are while its head is not whole."""
    head, end, _ = answer.partition(b"\r\n\r\n")
    if not end:
        return len(answer) + 1
    return len(head) + len(end) + int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])


@contextmanager
def _served(home: Path, model: Path, variant: Variant, port: int) -> Iterator[Client]:
    """A connection to a server of its own, which is ended afterwards."""
    home.mkdir()
    server = {"httpPort": port, "grpcPort": port + 1, "adminPort": port + 2, "drainSeconds": 0}
    source = {"name": "m", "version": "1", "uri": "pvc://bench/m", "directory": str(model)}
    kinds = {"apiVersion": "runtime/v1"}
    (home / "boot.json").write_text(json.dumps({**kinds, "kind": "Boot", "model": source, "server": server}))
    (home / "policy.json").write_text(
        json.dumps({**kinds, "kind": "Policy", "generation": "1", **variant.sections(home)})
    )
    command = [str(Path(sys.executable).with_name("modelward")), "run", "--boot", str(home / "boot.json")]
    command += ["--policy", str(home / "policy.json"), "--termination-log", str(home / "none")]
    with (home / "log").open("w") as log:
        child = subprocess.Popen(command, stderr=log)
    try:
        client = _connect(port, variant, child, home / "log")
        yield client
        client.close()
    finally:
        child.kill()
        child.wait()


def _connect(port: int, variant: Variant, child: subprocess.Popen[bytes], log: Path) -> Client:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        try:
            client = Client(port)
            client.ask()
        except (OSError, RuntimeError):
            time.sleep(0.05)
        else:
            return client
    raise TimeoutError(f"the server of '{variant.name}' does not serve: {log.read_text()[-2000:]}")


def _model() -> onnx.ModelProto:
    """Three classes from four features."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"]),
        helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
    ]
    weights = numpy_helper.from_array(np.random.default_rng(1).standard_normal((4, 3), dtype=np.float32), "w")
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 3]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    made = helper.make_model(
        helper.make_graph(nodes, "bench", [x], outputs, [weights]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    helper.set_model_props(made, {"feature_names": '["age", "income", "score", "postcode"]'})
    return made
