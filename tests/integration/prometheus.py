"""A real Prometheus that scrapes real programs on the loopback, once a second. Used by test_dashboard.py."""

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.ports import free_ports


@dataclass(frozen=True)
class Target:
    """What is scraped: a job of one address; `honor_labels` as RUNBOOK.md has it for programs that name models themselves."""

    job: str
    address: str
    labels: Mapping[str, str]
    honor_labels: bool


@dataclass
class Prometheus:
    """A running server."""

    port: int
    begun: float

    def get(self, path: str, **query: str | Sequence[str]) -> Any:
        """The `data` of an answer of its API; AssertionError with its words for a query that it refuses."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query, doseq=True)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{query}: {error.read().decode()}") from error

    def samples(self, query: str) -> list[Any]:
        """The series that a query gave at any second since the start."""
        span = {"start": f"{self.begun:.3f}", "end": f"{time.time():.3f}", "step": "1"}
        found: list[Any] = self.get("query_range", query=query, **span)["result"]
        return found

    def labels(self, metric: str) -> set[str]:
        """The names of all labels of a metric's series; empty for one that nobody exports."""
        series = self.get("series", **{"match[]": metric, "start": f"{self.begun:.3f}", "end": f"{time.time():.3f}"})
        return {name for one in series for name in one} - {"__name__"}

    def scraped(self, job: str) -> float:
        """How often a job's target has answered."""
        result = self.get("query", query=f'sum(count_over_time((up{{job="{job}"}} == 1)[10m:1s]))')["result"]
        return float(result[0]["value"][1]) if result else 0.0


@contextmanager
def prometheus(folder: Path, targets: Sequence[Target], rules: Path) -> Iterator[Prometheus]:
    """Run the server, with the rules loaded, until the block ends."""
    jobs = [
        {
            "job_name": target.job,
            "honor_labels": target.honor_labels,
            "static_configs": [{"targets": [target.address], "labels": dict(target.labels)}],
        }
        for target in targets
    ]
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    folder.mkdir(parents=True)
    config = folder / "prometheus.yaml"
    config.write_text(yaml.safe_dump({"global": every, "scrape_configs": jobs, "rule_files": [str(rules)]}))
    (port,) = free_ports(1)
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        server = Prometheus(port, time.time())
        deadline = time.monotonic() + 60
        while not _is_ready(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(20)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2):
            return True
    except OSError:
        return False
