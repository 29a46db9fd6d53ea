"""The measuring: one model after another, its servers by turns. `command.py` says what and how much; nothing is judged here.

    for each model:
        start every server by itself ─▶ seconds to the first correct answer, memory; the answers of every encoding compared; paused.
            As often as there are rounds, by turns, but for those that take long
        for each round, for each case, for each server ─▶ awake, a window of load, paused; the model alone, right before ours
        the open loop, at 70 % of the best peer's capacity: that peer and ours by turns; where it breaks down, the next best
        end every server

What a server does with itself while it is not asked takes no time of the others: it is stopped (SIGSTOP), all its processes. A server that
does not start, or answers wrongly, is not measured, and `Found.reasons` says why.
"""

import contextlib
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from e2e.bench.results import summary
from e2e.bench.serving import tree
from e2e.bench.serving.alone import alone, alone_in_batches
from e2e.bench.serving.asking import Ask, answer, checked
from e2e.bench.serving.cases import CASES, OPEN_LOOP_SHARE, Case
from e2e.bench.serving.failures import LoadError, NotServedError
from e2e.bench.serving.launching import Place
from e2e.bench.serving.load import Generators, Window, closed_loop, open_loop
from e2e.bench.serving.meter import Meter
from e2e.bench.serving.models import MODELS, Made, make
from e2e.bench.serving.processes import Running, running
from e2e.bench.serving.servers import JUDGED, PEER, Server, place_for

WARMING: Final = 5
"""Requests before each window, one after another, each of them compared."""

LONG_START: Final = 5.0
"""Seconds of a first start, from which on there is no second one to measure."""
LIVES: Final = 2
"""How often a server that breaks down under load is started anew, with each model."""

Samples = dict[str, dict[str, list[float]]]
"""Server, figure, one value a round."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured: rounds, and seconds of a window."""

    rounds: int
    seconds: int
    models: Sequence[str] = MODELS


@dataclass(slots=True)
class Found:
    """Everything that was measured; figures of several rounds as median and extremes."""

    alone: dict[str, Any] = field(default_factory=dict)
    """By model, of the whole run."""
    alone_in: dict[str, Any] = field(default_factory=dict)
    """By case, beside ours in each of its rounds."""
    starts: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    memory: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    cases: dict[str, Any] = field(default_factory=dict)
    open_loop: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By server, why something of it is missing."""


@dataclass(slots=True)
class Contender:
    """A server that runs, and has answered correctly; when it breaks down it may be started anew, a few times."""

    server: Server
    place: Place
    process: Running
    own: contextlib.ExitStack
    """Ends what runs."""
    lives: int = LIVES

    def ask(self, case: Case) -> Ask:
        """The request of a case."""
        return self.server.ask(case.encoding, self.place)


class Suite:
    """One run of the suite; `say` is told what is going on."""

    def __init__(
        self, extent: Extent, programs: Generators, folder: Path, found: Found, say: Callable[[str], None]
    ) -> None:
        self.found = found
        self._extent = extent
        self._programs = programs
        self._folder = folder
        self._say = say
        self._seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
        """Of all starts of a server with a model."""

    def measure(self, servers: Sequence[Server]) -> None:
        """Measure all of them, into `found`."""
        for name in self._extent.models:
            made = make(name, self._folder / "models")
            self._rehearse(servers, made)
            with contextlib.ExitStack() as stack:
                contenders = [one for server in servers if (one := self._start(server, made, stack))]
                if contenders:
                    self._closed(contenders, made)
                    self._open(contenders, made)
                for one in contenders:  # all at once; each is waited for when the stack unwinds
                    tree.ask_to_end(one.process.pid)

    def _rehearse(self, servers: Sequence[Server], made: Made) -> None:
        """All starts but the last: one alone may have met anything, and the first finds no file in memory."""
        for number in range(self._extent.rounds - 1):
            for server in servers:
                seconds = self._seconds[server.key, made.name]
                if len(seconds) == number and all(one < LONG_START for one in seconds):
                    with contextlib.ExitStack() as stack:
                        self._start(server, made, stack)

    def _start(
        self, server: Server, made: Made, stack: contextlib.ExitStack, *, timed: bool = True
    ) -> Contender | None:
        """Start it, at the second attempt where need be: some give up by their own clock when the machine is busy. None: not measured."""
        place = place_for(server, made, self._folder)
        for last in (False, True):
            with contextlib.ExitStack() as own:
                try:
                    launch = server.launch(place)
                    process = own.enter_context(running(launch.command, launch.environment, place.folder))
                    self._compare(server, place, process, made, timed=timed)
                    tree.pause(process.pid)
                except NotServedError as error:
                    if last:
                        self._miss(server, f"{made.name}: {error}")
                    continue
                return Contender(server, place, process, stack.enter_context(own.pop_all()))
        return None

    def _compare(self, server: Server, place: Place, process: Running, made: Made, *, timed: bool) -> None:
        asks = [server.ask(encoding, place) for encoding in server.asks]
        seconds = process.wait_for(lambda: answer(asks[0]) is not None)
        memory = tree.memory(process.pid)
        for ask in asks:
            if not checked(ask, made):
                raise NotServedError(f"{ask.encoding}: not what ONNX Runtime answers: {process.last_words()}")
        if timed:
            self._seconds[server.key, made.name].append(seconds)
            self.found.starts[server.key][made.name] = statistics.median(self._seconds[server.key, made.name])
            self.found.memory[server.key][made.name] = memory
        self._say(f"{made.name}: {server.title}: first answer after {seconds:.2f} s, {memory / 1e6:.0f} MB")

    def _closed(self, contenders: Sequence[Contender], made: Made) -> None:
        cases = [case for case in CASES if case.model == made.name]
        samples: dict[str, Samples] = {case.name: defaultdict(lambda: defaultdict(list)) for case in cases}
        bare: dict[str, dict[str, list[float]]] = {case.name: defaultdict(list) for case in cases}
        rows: list[float] = []
        for number in range(self._extent.rounds):
            self._say(f"{made.name}: round {number + 1} of {self._extent.rounds}")
            rows.append(alone_in_batches(made, self._extent.seconds))
            for case in cases:
                for one in _turned(contenders, number):
                    if one.server.key == JUDGED:
                        for name, value in alone(made, self._extent.seconds).items():
                            bare[case.name][name].append(value)
                    if case.encoding in one.server.asks:
                        load = partial(closed_loop, one.ask(case), case.connections, self._extent.seconds)
                        self._window(one, made, case, load, samples[case.name])
        self._keep_alone(made.name, bare, rows)
        self.found.cases |= {name: _summaries(by_server) for name, by_server in samples.items()}

    def _keep_alone(self, model: str, bare: Mapping[str, Mapping[str, list[float]]], rows: list[float]) -> None:
        """By case, and all of them as one."""
        every: dict[str, list[float]] = defaultdict(list)
        for case, figures in bare.items():
            self.found.alone_in[case] = {name: summary(values) for name, values in figures.items()}
            for name, values in figures.items():
                every[name] += values
        self.found.alone[model] = {name: summary(values) for name, values in {**every, "rows": rows}.items()}

    def _open(self, contenders: Sequence[Contender], made: Made) -> None:
        """By each encoding ours, and the peer with the most requests a second at 16 connections, both at 70 % of those.

        A peer that breaks down under it makes way for the next best: it has no latency to be compared with.
        """
        for case in [case for case in CASES if case.model == made.name and case.connections > 1]:
            rates = {key: figures["rate"]["median"] for key, figures in self.found.cases[case.name].items()}
            peers = [one for one in contenders if one.server.kind == PEER and one.server.key in rates]
            ours = next((one for one in contenders if one.server.key == JUDGED and one.server.key in rates), None)
            if ours is None:
                continue
            for peer in sorted(peers, key=lambda one: rates[one.server.key], reverse=True):
                rate = rates[peer.server.key] * OPEN_LOOP_SHARE
                samples = self._steadily(ours, peer, made, case, rate)
                found = {"rate": rate, "peer": peer.server.key, "servers": _summaries(samples)}
                self.found.open_loop[f"{case.model} {case.encoding}"] = found
                if peer.server.key in samples:
                    break

    def _steadily(self, ours: Contender, peer: Contender, made: Made, case: Case, rate: float) -> Samples:
        self._say(f"{case.model} {case.encoding}: open loop at {rate:.0f} requests a second, {peer.server.title}")
        samples: Samples = defaultdict(lambda: defaultdict(list))
        for number in range(self._extent.rounds):
            for one in _turned([ours, peer], number):
                self._window(one, made, case, partial(open_loop, one.ask(case), rate, self._extent.seconds), samples)
        return samples

    def _window(
        self, one: Contender, made: Made, case: Case, load: Callable[[Generators, Path], Window], samples: Samples
    ) -> None:
        """One window of load, with the seconds of processors that the server took for it; one that failed does not count."""
        try:
            with one.process.awake():
                _warm(one, made, case)
                meter = Meter(one.process.pid)
                window = load(self._programs, self._folder)
                figures = {**window.figures(), **meter.read(window.requests)}
        except LoadError as error:
            self._miss(one.server, f"{case.name}: {error}")
            return
        except (NotServedError, OSError) as error:
            self._miss(one.server, f"{case.name}: {error}")
            self._start_anew(one, made)
            return
        for name, value in figures.items():
            samples[one.server.key][name].append(value)

    def _start_anew(self, one: Contender, made: Made) -> None:
        """What broke down must not be missing from all that follows."""
        if not one.lives:
            return
        one.lives -= 1
        one.own.close()
        with contextlib.ExitStack() as stack:
            if found := self._start(one.server, made, stack, timed=False):
                one.process = found.process
                one.own.push(stack.pop_all())

    def _miss(self, server: Server, why: str) -> None:
        if why not in self.found.reasons[server.key]:
            self.found.reasons[server.key].append(why)
        self._say(f"{server.title}: {why}")


def _warm(one: Contender, made: Made, case: Case) -> None:
    if not all(checked(one.ask(case), made) for _ in range(WARMING)):
        raise NotServedError(f"not what ONNX Runtime answers: {one.process.last_words()}")


def _summaries(samples: Samples) -> dict[str, Mapping[str, Any]]:
    return {key: {name: summary(values) for name, values in figures.items()} for key, figures in samples.items()}


def _turned(contenders: Sequence[Contender], number: int) -> Iterator[Contender]:
    """Each round begins with another one."""
    at = number % max(len(contenders), 1)
    yield from [*contenders[at:], *contenders[:at]]
