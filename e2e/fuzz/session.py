"""A long run of one target: coverage-guided processes one after the other until the time is over, and what came of it.

Called by the command. The corpus grows outside the clone; `keep` puts the part of it that covers everything into `corpus/`.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from e2e.cluster.paths import cache
from e2e.fuzz import corpus
from e2e.fuzz.target import Target

LEAST = 5.0  # seconds that are worth a process
MOST_FINDINGS = 20
_DONE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_RUNS = re.compile(r"stat::number_of_executed_units: *(\d+)")
_CPU = 19


@dataclass
class Outcome:
    """What a session did: inputs tried, edges covered, inputs kept, and each different finding with the input that shows it."""

    target: str
    seconds: float = 0.0
    runs: int = 0
    covered: int = 0
    kept: int = 0
    findings: dict[str, bytes] = field(default_factory=dict)


def fuzz(target: Target, seconds: float) -> Outcome:
    """Fuzz for so long."""
    folder = cache() / "fuzz" / target.name
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate([*target.seeds, *corpus.load(target.name)]):
        (folder / f"seed-{number}").write_bytes(one)
    outcome = Outcome(target.name)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
        words = Path(home) / "words"
        words.write_text("".join(f'"{_escape(word)}"\n' for word in target.words), encoding="ascii")
        while (left := seconds - (time.monotonic() - began)) > LEAST and len(outcome.findings) < MOST_FINDINGS:
            _one(target, outcome, left, Path(home), [str(folder)], [f"-dict={words}"] if target.words else [])
    outcome.seconds = time.monotonic() - began
    return outcome


def _one(target: Target, outcome: Outcome, left: float, home: Path, folders: list[str], more: Sequence[str]) -> None:
    options = [
        f"-max_total_time={max(1, int(left))}",
        f"-max_len={target.longest}",
        "-timeout=300",
        "-rss_limit_mb=1500",
        "-print_final_stats=1",
        f"-artifact_prefix={home}/",
        *more,
    ]
    said = _guided(target, [*options, *folders])
    if found := _DONE.findall(said):
        outcome.covered, outcome.kept = max(outcome.covered, int(found[-1][0])), int(found[-1][2])
    outcome.runs += sum(int(count) for count in _RUNS.findall(said))
    artifacts = [file for file in home.iterdir() if file.name.partition("-")[0] in {"crash", "timeout", "oom"}]
    for file in artifacts:
        what = f"{file.name.partition('-')[0]}: {_error(said)}"
        outcome.findings.setdefault(what, file.read_bytes())
        file.unlink()
    if not artifacts and not found:
        raise RuntimeError(f"{target.name}: the fuzzer said nothing of use:\n{said[-2000:]}")


def keep(target: Target) -> int:
    """Merge what is worth keeping to the fewest inputs, keep as many in the clone as have room; return how many there are."""
    folder = cache() / "fuzz" / target.name
    with tempfile.TemporaryDirectory(prefix="fuzz-") as merged:
        _guided(target, ["-merge=1", f"-max_len={target.longest}", "-rss_limit_mb=1500", merged, str(folder)])
        inputs = [file.read_bytes() for file in Path(merged).iterdir()]
        if inputs:
            shutil.rmtree(folder)
            shutil.copytree(merged, folder)
    corpus.save(target.name, inputs)
    return len(inputs)


def _guided(target: Target, options: list[str]) -> str:
    run = [sys.executable, "-m", "e2e.fuzz.guided", target.name, *options]
    done = subprocess.run(run, capture_output=True, check=False)
    return done.stderr.decode("utf-8", "replace") + done.stdout.decode("utf-8", "replace")


def _error(said: str) -> str:
    """The last line of the traceback, without what differs from run to run."""
    lines = said.splitlines()
    place = next(
        (
            line.strip()
            for line in reversed(lines)
            if line.lstrip().startswith('File "') and "modelward_runtime" in line
        ),
        "",
    )
    told = next(
        (line for line in lines if re.match(r"^[A-Za-z_.]*(Error|Exception|Costly|Interrupt)\b", line)),
        "no Python exception",
    )
    return f"{told[:120]} {place.partition('modelward_runtime/')[2]}"


def _escape(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)
