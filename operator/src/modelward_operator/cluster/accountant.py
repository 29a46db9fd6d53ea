"""The leader's accountant: looks at the pods in the store, keeps the books, and writes them down as CostLedgers at most once a minute.

    read every ledger ──▶ pods of a model came or went (bells) ──▶ look at them, within a second
                     ├──▶ a Node or a PriceBook changed ────────▶ look at all, at the new prices
                     └──▶ every minute ─────────────────────────▶ look at all, write what changed, each object against its version

Nothing is concluded of a namespace whose ledger cannot be read: it has no book, and whoever asks for one is told so. A write that lost
a race reads that namespace's ledger again. Writes pass the same fence as all others. It decides nothing about models: it rings for those
whose price changed. Run by main.py once this process leads; the arithmetic is in ledger/, the requests in ledgers.py.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from modelward_operator.cluster.client import NotFound, Rejected
from modelward_operator.cluster.kinds import COSTS, POD
from modelward_operator.cluster.lease import LeaseLost
from modelward_operator.cluster.ledgers import Ledgers
from modelward_operator.cluster.prices import Prices
from modelward_operator.cluster.store import Store
from modelward_operator.errors import Conflict, Unreadable
from modelward_operator.facts import Json, Key
from modelward_operator.ledger.account import Account, UnreadableLedger
from modelward_operator.ledger.book import Book
from modelward_operator.ledger.months import month_start
from modelward_operator.ledger.sighting import Sighting, sighting
from modelward_operator.pricing.facts import Unpriced

PERIOD: Final = 60.0
"""Seconds between two writes of a namespace's ledger."""
SETTLE: Final = 0.5
"""Seconds in which the events of one change arrive."""
TIDY: Final = 3600
AT_ONCE: Final = 50
"""Models that are looked at before others get the loop."""

logger = logging.getLogger(__name__)


class Figure(NamedTuple):
    """A model's cost in one currency, in nano units."""

    namespace: str
    model: str
    currency: str
    hourly: int
    spent: int


class Accountant:
    """Keeps the books of all namespaces. `now` gives seconds since the epoch.

    Not run without `clusterwide`: where no price can be read there is nothing to charge, and every book is empty.

    `ring` is told of models whose price changed; `deaf` says whether the watch of the pods has been silent for too long.
    """

    def __init__(
        self,
        ledgers: Ledgers,
        store: Store,
        prices: Prices,
        *,
        ring: Callable[[Key], None],
        failed: Callable[[], None] = lambda: None,
        deaf: Callable[[], bool] = lambda: False,
        now: Callable[[], int],
        clusterwide: bool = True,
    ) -> None:
        self._ledgers, self._store, self._prices = ledgers, store, prices
        self._ring, self._failed, self._deaf, self._now = ring, failed, deaf, now
        self._accounts: dict[str, Account] = {}
        self._broken: dict[str, str] = {}
        self._is_read = not clusterwide
        self._models: set[Key] = set()
        self._everything = True
        self._rung = asyncio.Event()
        self._tidied = 0

    # ---- what others read

    def book(self, namespace: str) -> Book:
        """Return a namespace's book as of the last look. Raises Unreadable while its ledger was not, or could not be, read."""
        if not self._is_read:
            raise Unreadable("the CostLedgers were not read yet")
        if namespace in self._broken:
            raise Unreadable(self._broken[namespace])
        account = self._accounts.get(namespace)
        return account.book if account else Book()

    def books(self) -> Mapping[str, Book]:
        """Return all books that could be read, by namespace."""
        return {namespace: account.book for namespace, account in sorted(self._accounts.items())}

    def figures(self) -> list[Figure]:
        """Return what each model costs per hour and has cost in this UTC month, for the metrics."""
        begin, end = month_start(self._now()), self._now() + 1
        found = []
        for namespace, book in self.books().items():
            for model in book.models():
                hourly, spent = book.hourly(model), book.spent(model, begin, end)
                found += [
                    Figure(namespace, model, currency, hourly.get(currency, 0), spent.get(currency, 0))
                    for currency in sorted({*hourly, *spent})
                ]
        return found

    # ---- bells

    def pods_changed(self, model: Key) -> None:
        """Look at a model's pods soon. Any event on what belongs to the model may ring."""
        self._models.add(model)
        self._rung.set()

    def prices_changed(self) -> None:
        """Look at all pods soon, at the prices as they are now."""
        self._everything = True
        self._rung.set()

    # ---- the task

    async def run(self) -> None:
        """Read the ledgers, then account for ever. Raises LeaseLost; a bug costs a minute, and the ledgers catch up."""
        await self.read()
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                await self.look()
                if loop.time() >= due:
                    due = loop.time() + PERIOD
                    await self.write()
            except LeaseLost:
                raise
            except Exception:
                self._failed()
                logger.exception("accounting failed")
                await asyncio.sleep(PERIOD)
            await self._pause(due)

    async def read(self) -> None:
        """Read every ledger, however often that takes: before it is known what was charged, nothing is."""
        pause = 1.0
        while not self._is_read:
            try:
                await self._read_all()
            except NotFound:
                logger.warning("waiting for the CRD", extra={"crd": f"{COSTS.plural}.{COSTS.group}"})
            except Unreadable as error:
                self._failed()
                logger.warning("ledgers not read", extra={"error": str(error)})
            else:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, PERIOD)

    async def look(self) -> None:
        """Look at the pods of the models that rang, or of all, as they are now in the store."""
        if self._deaf() or not self._store.complete:
            return  # what the store says may be long past; whoever is missing then, went unseen
        now, everything, models = self._now(), self._everything, self._models
        self._everything, self._models = False, set()
        for number, key in enumerate(self._all() if everything else sorted(models), 1):
            try:
                self._look_at(key, now)
            except Exception:  # what goes wrong with one model is no other one's harm
                self._failed()
                logger.exception("pods not charged", extra={"model": str(key)})
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

    async def write(self) -> None:
        """Write down what changed, a namespace after the other."""
        self._everything = True
        await self.look()
        for namespace in [*self._accounts, *self._broken]:
            try:
                await self._write_namespace(namespace)
            except LeaseLost:
                raise
            except (Unreadable, Conflict, Rejected) as error:
                self._failed()
                logger.warning("ledger not written", extra={"namespace": namespace, "error": str(error)})
            except Exception:
                self._failed()
                logger.exception("ledger not written", extra={"namespace": namespace})
        now = self._now()
        if now - self._tidied >= TIDY:
            self._tidied = now
            await self._tidy(now)

    # ---- inside

    async def _pause(self, until: float) -> None:
        """Wait for a bell, or for the minute to end."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(max(until, loop.time())):
                await self._rung.wait()
                await asyncio.sleep(SETTLE)
        except TimeoutError:
            self._everything = True
        self._rung.clear()

    def _all(self) -> list[Key]:
        """Return whose pods there are, and whose pods there were at the last look."""
        before = {Key(name, model) for name, account in self._accounts.items() for model in account.book.costing()}
        return sorted(before | set(self._store.models_with_pods()))

    def _look_at(self, key: Key, now: int) -> None:
        account = self._account(key.namespace, now)
        if account is None or (self._prices.is_off and not account.book.open_pods(key.name)):
            return
        book, before = account.book, self._price_in(account.book, key.name)
        pods = self._store.of_model(key, [POD.kind])
        book.observe(key.name, filter(None, (self._sighting(key.name, pod) for pod in pods)), now)
        if before != self._price_in(book, key.name):
            self._ring(key)

    def _price_in(self, book: Book, model: str) -> tuple[Mapping[str, int], bool]:
        return book.hourly(model), book.has_unpriced(model)

    def _sighting(self, model: str, pod: Json) -> Sighting | None:
        """Return what a pod says; nothing had a price before there was a PriceBook."""
        seen = sighting(pod, model, None)
        if seen is None:
            return None
        rate = self._prices.rate(pod)
        known = None if isinstance(rate, Unpriced) else rate
        return replace(seen, start=max(seen.start, self._prices.since), rate=known)

    def _account(self, namespace: str, now: int) -> Account | None:
        """Return the namespace's account; one without a ledger begins its own. None while its ledger cannot be read."""
        if namespace in self._broken or not self._is_read:
            return None
        if namespace not in self._accounts:
            self._accounts[namespace] = Account(namespace, (), now)
        return self._accounts[namespace]

    async def _read_all(self) -> None:
        now = self._now()
        for namespace, objects in (await self._ledgers.read(now)).items():
            self._take(namespace, objects, now)
        self._is_read = True
        logger.info("ledgers read", extra={"namespaces": len(self._accounts), "unreadable": len(self._broken)})

    def _take(self, namespace: str, objects: Sequence[Json], now: int) -> None:
        """Begin a namespace's account with what was written down, or go on with it; one that cannot be understood is left alone."""
        known = self._accounts.pop(namespace, None)
        self._broken.pop(namespace, None)
        try:
            self._accounts[namespace] = known.again(objects, now) if known else Account(namespace, objects, now)
        except UnreadableLedger as error:
            self._broken[namespace] = str(error)
            self._failed()
            logger.error("ledger cannot be understood", extra={"namespace": namespace, "error": str(error)})  # noqa: TRY400  said

    async def _read_namespace(self, namespace: str) -> None:
        now = self._now()
        objects = (await self._ledgers.read(now, namespace)).get(namespace, ())
        self._take(namespace, objects, now)
        self._everything = True

    async def _write_namespace(self, namespace: str) -> None:
        if namespace in self._broken:
            await self._read_namespace(namespace)
            return
        account, now = self._accounts[namespace], self._now()
        try:
            for obj in account.due(now):
                await self._ledgers.store(account, obj)
                await asyncio.sleep(0)  # one that is stored as it is takes no request
            account.settle(now)
        except Conflict:
            logger.warning("ledger written by another", extra={"namespace": namespace})
            await self._read_namespace(namespace)
        except NotFound:  # of a creation: the namespace is gone, and its ledgers with it
            self._accounts.pop(namespace, None)

    async def _tidy(self, now: int) -> None:
        """Forget and delete what no budget and no bill asks for any more."""
        visible: defaultdict[str, set[str]] = defaultdict(set)
        for key in self._store.models_with_pods():
            visible[key.namespace] |= {pod["metadata"]["uid"] for pod in self._store.of_model(key, [POD.kind])}
        for namespace, account in self._accounts.items():
            account.tidy(now, visible[namespace])
        await self._ledgers.prune(now)
