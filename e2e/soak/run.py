"""Starts the real serving process and its visitors, watches until all requests are answered, and returns what was seen.

warm-up crowd (a tenth) ▶ all leave ▶ look ▶ the crowd, a look every little while ▶ all leave ▶ look
"""

import multiprocessing
import queue
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from e2e.soak.judge import Seen
from e2e.soak.model import NAME, build
from e2e.soak.rest_bytes import LIMIT
from e2e.soak.tally import Tally
from e2e.soak.visitors import TRANSPORTS, Plan, main
from e2e.soak.watch import Sample, sample
from tests.processes import Process, run

WARM_UP, LEAST_WARM_UP = 0.1, 3000  # of the requests, and requests
SETTLE = 20.0  # seconds in which connections that were left must be gone
QUIET = 1.0  # seconds in which no connection went: all have gone
SPEAKS_EVERY = 30.0  # seconds
SERVER = {"maxBodyBytes": LIMIT, "requestTimeoutSeconds": 20}  # longer than a busy machine stands still


@dataclass(frozen=True)
class Options:
    """What the command was given."""

    requests: int
    seed: int = 1
    batching: bool = True
    visitors: int = 12  # of each transport
    loiterers: int = 6


def soak(options: Options, folder: Path, tell: Callable[[str], None]) -> Seen:
    """The whole soak."""
    with _serving(options, folder) as process:
        return _Soak(options, process, tell).run()


@contextmanager
def _serving(options: Options, folder: Path) -> Iterator[Process]:
    (folder / "model").mkdir(parents=True, exist_ok=True)
    onnx.save(build(), folder / "model" / "model.onnx")
    source = {"name": NAME, "version": "1", "directory": str(folder / "model")}
    parts: dict[str, Any] = {"batching": {"maxBatchSize": 16, "maxDelayMicroseconds": 0}} if options.batching else {}
    with run(folder, source, server=SERVER, environment={"LOG_LEVEL": "warning"}, **parts) as process:
        yield process


class _Soak:
    def __init__(self, options: Options, process: Process, tell: Callable[[str], None]) -> None:
        self._options = options
        self._process = process
        self._tell = tell
        self._began = time.monotonic()
        self._done = 0
        self._tally = Tally()
        context = multiprocessing.get_context("spawn")
        self._left, self._results = context.Value("q", 0), context.Queue()
        self._doors = [context.Event(), context.Event()]
        self._all_here = context.Barrier(len(TRANSPORTS))  # or the first look would be at the connections of one crowd
        self._crowds = []
        for transport, port in zip(TRANSPORTS, process.ports[:2], strict=True):
            plan = Plan(transport, port, options.visitors, options.loiterers, options.seed)
            given = (plan, self._left, self._doors, self._all_here, self._results)
            self._crowds.append(context.Process(target=main, args=given, name=f"soak-{transport}", daemon=True))

    def run(self) -> Seen:
        for crowd in self._crowds:
            crowd.start()
        self._process.until_ready()
        warm_up = max(round(self._options.requests * WARM_UP), min(LEAST_WARM_UP, self._options.requests // 3))
        self._let_in(0, warm_up)
        before = self._settle(None)
        samples = self._let_in(1, self._options.requests - warm_up)
        after = self._settle(before)
        alive = self._process.child.poll() is None
        metrics = self._process.get("/metrics")[1] if alive else ""
        return Seen(
            before=before,
            samples=samples,
            after=after,
            tally=self._tally,
            alive=alive,
            in_flight=_gauge(metrics, "modelward_in_flight"),
            waiting=_gauge(metrics, "modelward_queue_waiting"),
            traces=[line for line in self._process.log().splitlines() if "Traceback" in line],
        )

    def _let_in(self, number: int, requests: int) -> list[Sample]:
        """Let as many requests be asked by both transports' visitors; what the process looked like meanwhile."""
        self._left.value = requests
        self._doors[number].set()
        pause = min(1.0, max(0.02, requests / 400_000))
        samples, missing, told = [], len(self._crowds), time.monotonic()
        while missing:
            try:
                self._tally.add(self._results.get(timeout=pause))
                missing -= 1
            except queue.Empty:
                self._check_crowds()
            if missing == len(self._crowds) and self._left.value < requests:
                samples.append(self._look(requests - self._left.value))
                if time.monotonic() - told > SPEAKS_EVERY:
                    told = time.monotonic()
                    self._tell(_line(samples[-1], self._options.requests))
        self._done += requests
        return samples

    def _check_crowds(self) -> None:
        for crowd in self._crowds:
            if crowd.exitcode:
                raise RuntimeError(f"the process {crowd.name} ended with {crowd.exitcode}, see above")
        if self._process.child.poll() is not None:
            raise RuntimeError(f"the server ended with {self._process.child.poll()}: {self._process.log()[-2000:]}")

    def _look(self, asked: int) -> Sample:
        return sample(self._process.child.pid, self._done + asked, time.monotonic() - self._began)

    def _settle(self, least: Sample | None) -> Sample:
        """Look once the clients' connections are gone: when there are as few as `least` had, or no fewer for a while."""
        best, since, began = self._look(0), time.monotonic(), time.monotonic()
        while time.monotonic() - began < SETTLE:
            if least and best.descriptors <= least.descriptors and best.threads <= least.threads:
                break
            if not least and time.monotonic() - since > QUIET:
                break
            time.sleep(0.05)
            look = self._look(0)
            if (look.descriptors, look.threads) < (best.descriptors, best.threads):
                since = time.monotonic()
            best = look
        return best


def _gauge(metrics: str, name: str) -> float:
    found = re.search(rf"^{name} ([0-9.e+-]+)$", metrics, re.MULTILINE)
    return float(found[1]) if found else -1.0


def _line(look: Sample, requests: int) -> str:
    return (
        f"{look.seconds:6.0f} s  {look.requests:9,} of {requests:,}  RSS {look.rss / 2**20:6.1f} MiB  "
        f"anonymous {look.own / 2**20:6.1f} MiB  {look.descriptors} descriptors  {look.threads} threads"
    )
