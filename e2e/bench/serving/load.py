"""Load, and what the generators say: wrk for REST and ghz for gRPC as fast as answers come, vegeta and ghz at a constant rate.

Closed loop: each connection has one request in flight. wrk corrects its percentiles for stalls (stats_correct in its source) for all alike.
Open loop: a request is due every 1/rate seconds whether or not the others were answered, and its latency counts from when it was due, not
from when it was sent: what waits behind a stall is not left out (coordinated omission). All latencies are in milliseconds.
"""

import csv
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from e2e.bench.serving.asking import GRPC, Ask
from e2e.bench.serving.failures import LoadError

PROTO: Final = Path(__file__).parents[3] / "runtime" / "src" / "modelward_runtime" / "proto" / "inference.proto"
CALL: Final = "inference.GRPCInferenceService.ModelInfer"
SHARES: Final = (50.0, 99.0, 99.9)
GRACE: Final = 30.0
"""Seconds that a generator may take beyond its window."""
_DONE: Final = """
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format('{"requests":%d,"microseconds":%d,"errors":%d,"p50":%f,"p99":%f,"p99.9":%f}\\n',
    summary.requests, summary.duration, errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency:percentile(99.9) / 1000))
end
"""


@dataclass(frozen=True, slots=True)
class Generators:
    """The programs."""

    wrk: Path
    ghz: Path
    vegeta: Path


@dataclass(frozen=True, slots=True)
class Window:
    """What one window of load found."""

    requests: int
    rate: float
    p50: float
    p99: float
    p999: float

    def figures(self) -> dict[str, float]:
        """By the names that the JSON has for them."""
        return {"rate": self.rate, "p50": self.p50, "p99": self.p99, "p99.9": self.p999}


def closed_loop(ask: Ask, connections: int, seconds: float, programs: Generators, folder: Path) -> Window:
    """As many requests as get answered, one in flight on each connection."""
    if ask.encoding == GRPC:
        return parse_ghz(_run(_ghz(ask, connections, programs, folder, [f"-z{seconds}s"]), seconds), seconds)
    script = folder / "ask.lua"
    script.write_text(lua(ask, _body(ask, folder)))
    command = [str(programs.wrk), "-t1", f"-c{connections}", f"-d{seconds:.0f}s", f"--timeout={GRACE:.0f}s"]
    return parse_wrk(_run([*command, "-s", str(script), f"http://127.0.0.1:{ask.port}{ask.path}"], seconds))


def open_loop(ask: Ask, rate: float, seconds: float, programs: Generators, folder: Path) -> Window:
    """So many requests a second, whatever becomes of them; up to 64 connections."""
    if ask.encoding == GRPC:
        count = max(round(rate * seconds), 1)
        pace = [f"-n{count}", f"--rps={max(round(rate), 1)}", "--async"]
        return parse_ghz_paced(_run(_ghz(ask, 16, programs, folder, pace), seconds), max(round(rate), 1))
    targets, found = folder / "targets", folder / "found"
    heads = "".join(f"{name}: {value}\n" for name, value in ask.headers.items())
    targets.write_text(f"POST http://127.0.0.1:{ask.port}{ask.path}\n{heads}@{_body(ask, folder)}\n")
    pace = [f"-rate={round(rate * 1000)}/1000s", f"-duration={seconds}s", "-workers=64", "-max-connections=64"]
    attack = [
        str(programs.vegeta),
        "attack",
        f"-targets={targets}",
        *pace,
        f"-output={found}",
        f"-timeout={GRACE:.0f}s",
    ]
    _run(attack, seconds)
    return parse_vegeta(_run([str(programs.vegeta), "encode", "-to=csv", str(found)], seconds), rate)


def lua(ask: Ask, body: Path) -> str:
    """wrk's script: the request, and its figures as one line of JSON."""
    heads = "".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(text)}\n" for name, text in ask.headers.items())
    return f'wrk.method = "POST"\n{heads}wrk.body = io.open({json.dumps(str(body))}, "rb"):read("*a")\n{_DONE}'


def parse_wrk(text: str) -> Window:
    """What the script's last line says."""
    found = json.loads(next(line for line in reversed(text.splitlines()) if line.startswith("{")))
    _refuse(found["errors"], found["requests"])
    rate = found["requests"] / found["microseconds"] * 1e6
    return Window(found["requests"], rate, found["p50"], found["p99"], found["p99.9"])


def parse_ghz(text: str, seconds: float) -> Window:
    """ghz's JSON; what was in flight at the end is left out."""
    times, _ = _details(json.loads(text))
    return _window(times, len(times) / seconds)


def parse_ghz_paced(text: str, rate: float) -> Window:
    """The same at a constant rate: each latency from when the request was due."""
    found = json.loads(text)
    times, ends = _details(found)
    return _since_due(ends - times, ends, rate)


def parse_vegeta(text: str, rate: float) -> Window:
    """vegeta's CSV: timestamp in ns, status, latency in ns, …; each latency from when the request was due."""
    rows = list(csv.reader(text.splitlines()))
    _refuse(sum(row[1] != "200" for row in rows), len(rows))
    began = np.array([int(row[0]) for row in rows], np.float64) / 1e6
    times = np.array([int(row[2]) for row in rows], np.float64) / 1e6
    return _since_due(began, began + times, rate)


def _since_due(began: Any, ends: Any, rate: float) -> Window:
    """Requests in the order in which they were sent; the n-th was due n/rate seconds after the earliest beginning that fits all."""
    order = np.argsort(began, kind="stable")
    due = np.arange(len(order)) * (1000 / rate)
    due += np.min(began[order] - due)
    times = ends[order] - due
    lasted = (np.max(ends) - np.min(began)) / 1000
    return _window(times, len(times) / lasted if lasted else 0.0)


def _window(times: Any, rate: float) -> Window:
    return Window(len(times), rate, *(float(np.percentile(times, share)) for share in SHARES))


def _details(found: dict[str, Any]) -> tuple[Any, Any]:
    """Latencies, and ends on the clock, in milliseconds."""
    details = found.get("details") or []
    good = [one for one in details if one["status"] == "OK"]
    _refuse(len(details) - len(good), len(details))
    times = np.array([one["latency"] for one in good], np.float64) / 1e6
    ends = np.array([np.datetime64(_naive(one["timestamp"])).astype("datetime64[ns]").astype(np.int64) for one in good])
    return times, ends.astype(np.float64) / 1e6


def _naive(timestamp: str) -> str:
    """RFC 3339 without its zone, which is the same for all."""
    clock = timestamp.removesuffix("Z")
    return clock[:-6] if clock[-6] in "+-" and clock[-3] == ":" else clock


def _refuse(errors: int, requests: int) -> None:
    if errors:
        raise LoadError(f"{errors} of {requests} requests failed")
    if not requests:
        raise LoadError("not one answer within the window")


def _ghz(ask: Ask, connections: int, programs: Generators, folder: Path, pace: Sequence[str]) -> list[str]:
    command = [str(programs.ghz), "--insecure", f"--proto={PROTO}", f"--call={CALL}"]
    body = folder / "message"
    body.write_bytes(_delimited(ask.body))
    command += [f"--binary-file={body}", "--duration-stop=ignore", f"-t{GRACE:.0f}s", "-Ojson"]
    return [*command, f"-c{connections}", f"--connections={connections}", *pace, f"127.0.0.1:{ask.port}"]


def _delimited(message: bytes) -> bytes:
    """With its length before it, as a varint: ghz takes a file for several such messages before it takes it for a single bare one."""
    length, prefix = len(message), b""
    while length > 127:
        prefix, length = prefix + bytes([length & 127 | 128]), length >> 7
    return prefix + bytes([length]) + message


def _body(ask: Ask, folder: Path) -> Path:
    path = folder / "body"
    path.write_bytes(ask.body)
    return path


def _run(command: Sequence[str], seconds: float) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 2 * GRACE)
    except subprocess.TimeoutExpired:
        raise LoadError(f"{Path(command[0]).name} did not end") from None
    if done.returncode != 0:
        raise LoadError(f"{Path(command[0]).name} ended with {done.returncode}: {done.stderr.strip()[-200:]}")
    return done.stdout
