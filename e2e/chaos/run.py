"""A run: two operators over one control plane, users who never rest, one fault after the other, and after each a look at what came of it.

fault, users act meanwhile ▶ fault over ▶ until all is as wanted, or patience ends ▶ three seconds in which nothing is written ▶ next
"""

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from e2e.chaos.faults import Fault, World
from e2e.chaos.hands import Administrator, Hands
from e2e.chaos.judge import Snapshot, lacks, needless_rolls, writes_of_the_deposed
from e2e.chaos.money import PRICE_BOOK, Charge, charged, too_little, too_much
from e2e.chaos.operators import HOME, Operator, build_clock
from e2e.chaos.plane import ControlPlane
from e2e.chaos.proxy import Proxy, Write
from e2e.chaos.users import Users
from modelward_operator.cluster.client import NotFound
from modelward_operator.cluster.configuration import load_configuration
from modelward_operator.cluster.kinds import COSTS, LEASE, PRICES
from modelward_operator.errors import OperatorError
from tests.integration.conftest import NAMESPACE, apply_crds
from tests.serving_certificates import Authority

MODELS = 8
PLACE = "chaos"
FIRST = 120.0  # seconds until the first models serve
TURN = 0.2  # seconds after which the machine is asked for a turn
LEDGERS = 150.0  # seconds until they are written
STILL = 3.0  # seconds in which nothing may be written


@dataclass(frozen=True)
class Round:
    """One fault and what came of it."""

    fault: str
    seconds: float
    """From the fault's end until all was as wanted."""
    acts: int
    violations: Sequence[str]
    stood: float = 0.0
    """Seconds in which the machine gave this very process no turn: a starved machine proves nothing about patience."""


@dataclass
class Seen:
    """A whole run."""

    rounds: list[Round] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    """Of the run as a whole."""
    writes: int = 0
    starts: int = 0
    pods: int = 0
    charged: float = 0.0
    """Seconds of pods that the ledgers come to."""
    estimated: float = 0.0
    """The part of it that they call an estimate."""
    lived: float = 0.0
    """Seconds that pods were there."""
    acts: dict[str, int] = field(default_factory=dict)


async def run(faults: Sequence[Fault], rounds: int, seed: int, folder: Path, tell: Callable[[str], None]) -> Seen:
    """All faults, so many times, each time in another order. An interrupt (Ctrl-C) ends the run after the fault that is going on."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
    chance, seen = random.Random(seed), Seen()
    async with _house(folder, seed) as house:
        await house.users.found(MODELS)
        if lacking := await house.converge(FIRST):
            raise RuntimeError(f"before any fault: {lacking}")
        for number in range(rounds):
            for fault in chance.sample(list(faults), len(faults)):
                if stop.is_set():
                    tell(f"interrupted in round {number + 1} of {rounds}")
                    break
                made = await house.round(fault, chance)
                seen.rounds.append(made)
                told = "; ".join(made.violations[:3]) or "ok"
                still = f" (the machine stood still for {made.stood:.0f} s)" if made.stood >= 1 else ""
                tell(f"{fault.name}: {made.acts} acts, converged after {made.seconds:.1f} s{still}: {told}")
        await house.settle_accounts(seen)
        house.conclude(seen)
    return seen


@dataclass
class _House:
    plane: ControlPlane
    admin: Administrator
    operators: list[Operator]
    hands: Hands
    users: Users
    charged: dict[str, Charge] = field(default_factory=dict)
    """By model: what the ledgers said last, in seconds of pods."""
    told: set[str] = field(default_factory=set)
    """What was found in them."""
    stood: float = 0.0
    """Seconds, so far, by which this process was called later than it had asked for."""

    async def watch_the_machine(self) -> None:
        """For ever."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(TURN)
            late = time.monotonic() - before - TURN
            self.stood += late if late > TURN else 0.0

    async def round(self, fault: Fault, chance: random.Random) -> Round:
        before = sum(self.users.done.values())
        world = World(self.plane, self.operators, chance, self.leader, self.hands, self.look)
        begun, stood = time.time(), self.stood
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._act(chance, over))
            await fault.do(world)
            over.set()  # what was begun is done: nobody would know whether it was
        acts = sum(self.users.done.values()) - before
        ended = time.monotonic()
        lacking = await self.converge(fault.patience)
        lacking += [f"the controllers' stand-in: {self.hands.trouble}"] if lacking and self.hands.trouble else []
        seconds = time.monotonic() - ended
        lacking = lacking or await self._still()
        if fault.disturbs:
            self.hands.bill.unwell.append((begun, time.time()))
        violations = [*world.violations, *lacking, *await self._overcharged()]
        return Round(fault.name, seconds, acts, violations, self.stood - stood)

    async def leader(self) -> Operator:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OperatorError):
                    lease = await self.admin.get(LEASE, HOME, "modelward-operator")
                    holder = lease["spec"].get("holderIdentity", "")
                    for operator in self.operators:
                        if operator.name == holder:
                            return operator
                await asyncio.sleep(0.2)

    def conclude(self, seen: Seen) -> None:
        """What only the whole run tells."""
        writes = self._writes()
        seen.violations += writes_of_the_deposed(writes)
        seen.violations += needless_rolls(self.hands.templates, self.hands.names, self.users.rolls)
        for operator in self.operators:
            seen.violations += [f"{operator.name} logged {line}" for line in operator.faults()]
        seen.lived = sum(one.seconds(time.time()) for one in self.hands.bill.lives.values())
        seen.writes = sum(not one.is_lease for one in writes)
        seen.starts = sum(operator.starts for operator in self.operators)
        seen.pods, seen.acts = len(self.hands.bill.lives), dict(self.users.done)

    def _writes(self) -> list[Write]:
        return [one for operator in self.operators for one in operator.proxy.writes]

    async def _act(self, chance: random.Random, over: asyncio.Event) -> None:
        while not over.is_set():
            await self.users.act()
            await asyncio.sleep(chance.uniform(0.1, 1.0))

    async def converge(self, patience: float) -> list[str]:
        """Wait until nothing is lacking; what is, when patience ends."""
        return await self.look(lambda snapshot: lacks(snapshot, self.users), patience)

    async def look(self, question: Callable[[Snapshot], list[str]], patience: float) -> list[str]:
        """Ask about what is there, until there is no answer; the last one, when patience ends."""
        limit, lacking = time.monotonic() + patience, ["nobody could look"]
        while time.monotonic() < limit:
            with contextlib.suppress(OperatorError, NotFound):
                snapshot = await Snapshot.take(self.admin, PLACE)
                lacking = question(snapshot)
                if not lacking:
                    return []
            await asyncio.sleep(0.3)
        return lacking

    async def _charged(self) -> dict[str, Charge]:
        return charged([one async for page, _ in self.admin.pages(COSTS, PLACE) for one in page])

    async def _overcharged(self) -> list[str]:
        """What the ledgers must not say at any time."""
        before, self.charged = self.charged, await self._charged()
        found = too_much(before, self.charged, self.hands.bill.bounds(time.time()))
        new = [what for what in found if what not in self.told]  # what was charged once stays so
        self.told |= set(new)
        return new

    async def settle_accounts(self, seen: Seen) -> None:
        """What the ledgers must say in the end, once the leader has written them."""
        limit, lacking = time.monotonic() + LEDGERS, ["nobody could look"]
        while lacking and time.monotonic() < limit:
            await asyncio.sleep(1)
            lacking = too_little(await self._charged(), self.hands.bill.bounds(time.time()))
        seen.violations += [*lacking, *await self._overcharged()]
        seen.charged = sum(one.spent for one in self.charged.values())
        seen.estimated = sum(one.estimated for one in self.charged.values())

    async def _still(self) -> list[str]:
        """Nothing is written while nothing happens."""
        await self._settle()
        before, count = await Snapshot.take(self.admin, PLACE), len(self._changes())
        await asyncio.sleep(STILL)
        changes = before.changes(await Snapshot.take(self.admin, PLACE))
        written = [f"{one.method} {one.path}" for one in self._changes()[count:]]
        return [f"written while nothing happened: {what}" for what in (changes or written)]

    async def _settle(self) -> None:
        """The last echoes: a second in which nobody wrote anything, ten at most."""
        for _ in range(10):
            count = len(self._changes())
            await asyncio.sleep(1)
            if count == len(self._changes()):
                return

    def _changes(self) -> list[Write]:
        return [
            one for one in self._writes() if not one.is_lease and not one.is_event and "costledgers" not in one.path
        ]


@contextlib.asynccontextmanager
async def _house(folder: Path, seed: int) -> AsyncIterator[_House]:
    async with contextlib.AsyncExitStack() as stack:
        plane = ControlPlane(folder)
        stack.callback(plane.close)
        admin = Administrator(await load_configuration({"KUBECONFIG": str(plane.server.kubeconfig)}))
        stack.push_async_callback(admin.close)
        await apply_crds(admin)
        for name in (HOME, PLACE):
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await admin.create(NAMESPACE, body, manager="test")
        hands, users = Hands(admin, PLACE), Users(admin, PLACE, seed)
        await hands.make_node()
        reports = await hands.serve_reports()
        stack.push_async_callback(reports.cleanup)
        working = asyncio.create_task(hands.work())
        stack.callback(working.cancel)
        await admin.create(PRICES, PRICE_BOOK, manager="user")
        authority, operators, clock = Authority("chaos"), [], build_clock(folder)
        for number, name in enumerate(("one", "two")):
            proxy = Proxy(name, plane.server, authority, seed + number)
            await proxy.start(folder)
            stack.push_async_callback(proxy.close)
            operator = Operator(name, folder, proxy, authority.pem, clock)
            await operator.start()
            stack.push_async_callback(operator.stop)
            operators.append(operator)
        house = _House(plane, admin, operators, hands, users)
        watching = asyncio.create_task(house.watch_the_machine())
        stack.callback(watching.cancel)
        yield house
        if working.done():
            working.result()
