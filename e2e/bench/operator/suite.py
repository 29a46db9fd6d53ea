"""`python -m e2e.bench operator`: each contestant after the other on the same API server, then figures, bars and a table.

    MODELS=100,1000                     how many models (100,1000); from 5,000 on only ours are measured
    PEERS=none|all|control,kserve       whom to measure beside ours (all)
    OURS=ours,full                      with three children, and with all of them (both)
    PHASES=create,idle,change,restart,failover,pods,fairness,bare    what to measure (all)
    IDLE=60 CHANGES=300                 seconds of idleness; changes at ten a second
    PRIORITY=1                          real-time scheduling for who is measured: for a machine that others use too

`python -m e2e.bench.operator publish` copies the last run into published/.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from e2e.bench import results
from e2e.bench.operator import kserve, meter, pods, versions
from e2e.bench.operator.audit import of
from e2e.bench.operator.bars import LARGE, judge, told
from e2e.bench.operator.contestants import HOME, Contestant, contestants
from e2e.bench.operator.failover import failover
from e2e.bench.operator.fairness import fairness
from e2e.bench.operator.load import Load, Name, connected, names
from e2e.bench.operator.measure import Watched, changes, creation, idleness, restart, started, tally
from e2e.bench.operator.place import Place, end, place, program, start
from e2e.bench.operator.tables import page, table
from e2e.cluster.binaries import build
from e2e.cluster.failures import ClusterError
from e2e.cluster.progress import Screen
from tests.ports import free_ports

SUITE: Final = "operator"
PUBLISHED: Final = Path(__file__).parent / "published"
PHASES: Final = "create,idle,change,restart,failover,pods,fairness,bare"

OURS: Final = frozenset({"ours", "full"})

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for, by the environment."""

    sizes: tuple[int, ...]
    chosen: frozenset[str]
    phases: frozenset[str]
    idle: float
    changes: int
    priority: bool


def asked(environment: Mapping[str, str]) -> Asked:
    """Read it; the defaults are a whole run."""
    peers = environment.get("PEERS") or "all"
    others = {"control", "kserve"} if peers == "all" else set(peers.split(",")) - {"none"}
    return Asked(
        tuple(int(size) for size in (environment.get("MODELS") or "100,1000").split(",")),
        frozenset({*(environment.get("OURS") or "ours,full").split(","), *others}),
        frozenset((environment.get("PHASES") or PHASES).split(",")),
        float(environment.get("IDLE") or 60),
        int(environment.get("CHANGES") or 300),
        environment.get("PRIORITY", "") not in {"", "0"},
    )


def run(_rounds: int) -> bool:
    """Measure, print, keep; whether no bar was missed."""
    wanted = asked(os.environ)
    print(results.busy())
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {meter.cores()[1]})  # the load and this program share the core of who is measured
    figures: Figures = {
        "asked": _as_json(wanted),
        "versions": versions.found(),
        "sizes": {},
        "absent": {},
        "broken": {},
    }
    try:
        with tempfile.TemporaryDirectory(prefix="modelward-bench-") as made:
            folder = Path(os.environ.get("KEEP") or made)
            everyone = _everyone(folder, wanted, figures)
            with place(folder, [*everyone, "bare", "second", pods.USER]) as where:
                asyncio.run(_measure(where, everyone, wanted, figures))
    finally:
        os.sched_setaffinity(0, before)
    path = results.write(SUITE, figures)
    verdicts = judge(figures)
    broken = "".join(f"BROKE OFF  {what}: {why}\n" for what, why in figures["broken"].items())
    print(f"\n{table(figures)}\n\n{told(verdicts)}\n{broken}\n{path}")
    return not broken and all(verdict.held is not False for verdict in verdicts)


def _everyone(folder: Path, wanted: Asked, figures: Figures) -> dict[str, Contestant]:
    """Who is measured, each built where it must be; of who cannot be, why not."""
    health, metrics, probes, webhooks = free_ports(4)
    found = {key: who for key, who in contestants((health, metrics)).items() if key in wanted.chosen}
    if "pods" in wanted.phases and wanted.chosen & OURS:
        build(("kwok",), Screen())
    if "kserve" in wanted.chosen:
        try:
            build(("kserve-manager",), Screen())
            found["kserve"] = kserve.contestant(folder, probes, webhooks)
        except ClusterError as error:
            figures["absent"]["KServe's controller"] = str(error)
    return found


def publish() -> None:
    """The last run's JSON and its page, to be committed."""
    PUBLISHED.mkdir(exist_ok=True)
    figures = json.loads((results.RESULTS / f"{SUITE}.json").read_text())
    (PUBLISHED / f"{SUITE}.json").write_text(json.dumps(figures, indent=2) + "\n")
    (PUBLISHED / "README.md").write_text(page(figures, judge(figures)), encoding="utf-8")


def _as_json(wanted: Asked) -> Figures:
    return {
        "models": list(wanted.sizes),
        "chosen": sorted(wanted.chosen),
        "phases": sorted(wanted.phases),
        "idleSeconds": wanted.idle,
        "changes": wanted.changes,
        "priority": wanted.priority,
    }


async def _measure(where: Place, everyone: Mapping[str, Contestant], wanted: Asked, figures: Figures) -> None:
    async with connected(where.url) as load:
        await load.request("POST", "/api/v1/namespaces", {"metadata": {"name": HOME}})
        if "kserve" in everyone:
            await kserve.install(load, where.folder)
        for size in wanted.sizes:
            here = figures["sizes"].setdefault(str(size), {})
            measured = {key: who for key, who in everyone.items() if size < LARGE or key in OURS}
            for number, (key, who) in enumerate(measured.items(), 1):
                is_last = (
                    number == len(measured) and size == wanted.sizes[-1] and not wanted.phases & {"bare", "fairness"}
                )
                with _going_on(figures, f"{size} models: {who.title}"):
                    try:
                        await _one(where, load, who, size, wanted, here.setdefault(key, {}))
                    finally:
                        if not is_last:  # what one leaves behind, the next would look after
                            await _clear(where, load, who, names(f"{key}-{size}", size), wanted)
            if "bare" in wanted.phases and size < LARGE:
                for how in ("apply", "create"):
                    with _going_on(figures, f"{size} models: bare client, {how}"):
                        here[f"bare-{how}"] = await _bare(where, load, size, how, wanted)
        if "fairness" in wanted.phases:
            size = max(wanted.sizes)
            with _going_on(figures, f"fairness: {size} good ones beside {size} broken ones"):
                figures["fairness"] = await fairness(where, load, everyone["ours"], size, urgent=wanted.priority)


@contextlib.contextmanager
def _going_on(figures: Figures, what: str) -> Iterator[None]:
    """Keep what was measured when one measurement breaks off, say why, and go on with the next."""
    _say(what)
    try:
        yield
    except (RuntimeError, TimeoutError, aiohttp.ClientError) as error:
        figures["broken"][what] = f"{type(error).__name__}: {error}"
        _say(f"    broke off: {figures['broken'][what]}")
    finally:
        results.write(SUITE, figures)


async def _one(where: Place, load: Load, who: Contestant, size: int, wanted: Asked, found: Figures) -> None:
    """All phases of one contestant."""
    models = names(f"{who.key}-{size}", size)
    await load.make_namespaces(models)
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(program(where, who.key, who.command, who.environment))
        it = Watched(who, process, where.log, where.server.pids)
        await started(it)
        found["start"] = {"memory": meter.memory(it.pid)[0]}
        with _before_others(where, it, wanted):
            if "create" in wanted.phases:
                found["create"] = await creation(it, load, models)
                _say_figures("create", found["create"])
        if "idle" in wanted.phases:
            found["idle"] = await idleness(it, wanted.idle)
            _say_figures("idle", found["idle"])
        if "change" in wanted.phases:
            with _before_others(where, it, wanted):
                found["change"] = await changes(it, load, models, min(wanted.changes, size))
                _say_figures("change", found["change"])
        if "restart" in wanted.phases:
            end(it.process)
            found["restart"] = await _restarted(stack, where, it, wanted)
            _say_figures("restart", found["restart"])
        if "failover" in wanted.phases and who.key == "ours":
            found["failover"] = await failover(where, load, it, models, urgent=wanted.priority)
            stack.callback(end, it.process)
            _say_figures("failover", found["failover"])
        if "pods" in wanted.phases and who.key in OURS:
            found["pods"] = await _with_pods(where, load, stack, it, models, wanted)


async def _clear(where: Place, load: Load, who: Contestant, models: Sequence[Name], wanted: Asked) -> None:
    with meter.urgent([*where.server.pids, os.getpid()], wanted=wanted.priority):
        await load.clear([who.models, *who.others, pods.REPLICA_SETS, pods.PODS], models)


async def _with_pods(
    where: Place, load: Load, stack: contextlib.ExitStack, it: Watched, models: Sequence[Name], wanted: Asked
) -> Figures:
    """A pod each, idleness and a restart: only ours asks its pods anything."""
    async with pods.kubelets(where, load):
        found = await pods.serving(it, load, models)
        found["idle"] = await idleness(it, wanted.idle)
        end(it.process)
        found["restart"] = await _restarted(stack, where, it, wanted)
        _say_figures("pods", found)
        end(it.process)
    return found


async def _restarted(stack: contextlib.ExitStack, where: Place, it: Watched, wanted: Asked) -> Figures:
    who, urgent = it.who, contextlib.ExitStack()

    def start() -> subprocess.Popen[bytes]:
        process = stack.enter_context(program(where, who.key, who.command, who.environment))
        urgent.enter_context(meter.urgent([*where.server.pids, process.pid, os.getpid()], wanted=wanted.priority))
        return process

    with urgent:
        return await restart(it, start)


@contextlib.contextmanager
def _before_others(where: Place, it: Watched, wanted: Asked) -> Iterator[None]:
    with meter.urgent([*where.server.pids, it.pid, os.getpid()], wanted=wanted.priority):
        yield


async def _bare(where: Place, load: Load, size: int, how: str, wanted: Asked) -> Figures:
    """A client that only writes: the API server's limit."""
    models = names(f"bare-{how}-{size}", size)
    await load.make_namespaces(models)
    where.log.skip()
    served = sum(map(meter.cpu, where.server.pids))
    command = [sys.executable, "-m", "e2e.bench.operator.bare", where.url, "bare", f"bare-{how}-{size}", str(size), how]
    process = start(where, "bare", command, {})
    with meter.urgent([*where.server.pids, process.pid], wanted=wanted.priority):
        while process.poll() is None:  # noqa: ASYNC110  -- it is another process
            await asyncio.sleep(0.2)
    if process.returncode:
        raise RuntimeError(f"the bare client ended with {process.returncode}: {where.folder / 'bare.log'}")
    served = sum(map(meter.cpu, where.server.pids)) - served
    calls = [call for call in of(where.log.read(), "bare") if call.is_write]
    seconds = max(call.at for call in calls) - min(call.at for call in calls)
    who = contestants((1, 2))["ours"]
    await load.clear([who.models, *who.others], models)
    found = {"models": size, "seconds": seconds, "perSecond": size / seconds, "calls": tally(calls)}
    found["serverCpuPerModel"] = served / size
    _say_figures(how, found)
    return found


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def _say_figures(phase: str, figures: Figures) -> None:
    def short(value: Any) -> Any:
        if isinstance(value, float):
            return round(value, 4)
        return {k: short(v) for k, v in value.items()} if isinstance(value, dict) else value

    _say(f"    {phase}: {json.dumps({k: short(v) for k, v in figures.items() if k != 'calls'})}")
    if os.environ.get("CALLS"):
        print(json.dumps(figures.get("calls"), indent=1))
