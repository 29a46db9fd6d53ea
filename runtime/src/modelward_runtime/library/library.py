"""The models of a repository folder: which are wanted, which are served, why others are not. `modelward serve --repository DIR`.

Made by `serving.py`; both transports reach it through `shelf.py`, whose `Keeper` it is. Everything runs on the event loop's thread;
models load one after the other, so that the peak of memory is one model's. A model that cannot be loaded is UNAVAILABLE, with its
reason in the index, and the others serve.

    UNAVAILABLE ──load──▶ LOADING ──▶ READY ──load, or --reload: files changed──▶ READY, with the newest version
         ▲                  │ failed      │                                         │ failed: the old one serves on
         └──────────────────┴─── unload ──┴─────────────────────────────────────────┘ and the index says why
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from modelward_runtime.errors import BadRequest, LoadError, NotFound
from modelward_runtime.exchange import Exchange, IndexEntry
from modelward_runtime.library.following import EVERY, tell_refused, tell_swapped
from modelward_runtime.library.layout import Found, find_models
from modelward_runtime.library.loading import Loaded, Loader
from modelward_runtime.library.settling import NOTHING, Look, Settling, look_at
from modelward_runtime.model import face_of
from modelward_runtime.shelf import Shelf
from modelward_runtime.threads import in_thread

if TYPE_CHECKING:
    from modelward_runtime.engine import OnnxModel

State = Literal["UNAVAILABLE", "LOADING", "READY"]
Sight = tuple[str, Look]
"""A version, and its files."""

UNSEEN: Final[Sight] = ("", NOTHING)
_UNLOADED: Final = "unloaded"
_MISSING: Final = "the repository holds no such model"
_log = logging.getLogger(__name__)


@dataclass
class Kept:
    """One model: what the folder holds of it, and how far it is served. `reason`: why it is not, or why its newest version is not."""

    found: Found
    wanted: bool = False
    state: State = "UNAVAILABLE"
    reason: str = _UNLOADED
    loaded: Loaded | None = None
    exchange: Exchange | None = None
    settling: Settling[Sight] = field(default_factory=lambda: Settling(UNSEEN))

    @property
    def version(self) -> str:
        """That is served, or would be."""
        return self.loaded.model.version if self.loaded else self.found.version

    @property
    def served(self) -> Sight:
        """What is served was made from this."""
        return (self.loaded.model.version, self.loaded.look) if self.loaded else UNSEEN


class Library:
    """A `Keeper`. `furnish` makes the exchange of a model that is to be loaded, `hand_over` gives it a model that is."""

    def __init__(
        self,
        folder: Path,
        loader: Loader,
        shelf: Shelf,
        furnish: Callable[[str, str], Exchange],
        hand_over: Callable[[Exchange, "OnnxModel"], None],
    ) -> None:
        self._folder = folder
        self._loader = loader
        self._shelf = shelf
        self._furnish = furnish
        self._hand_over = hand_over
        self._kept: dict[str, Kept] = {}
        self._turn = asyncio.Lock()
        self._opened = False
        self._bringing: set[asyncio.Task[str]] = set()

    # ── at the start, and while it is followed ────────────────────────────────────────────────────────────────────────

    async def open(self, only: Collection[str] | None) -> None:
        """Load every model of the folder, or `only` these; OSError when it cannot be read."""
        await self._survey()
        for name in sorted(set(only or ()) - set(self._kept)):
            self._kept[name] = Kept(Found(name, problem=_MISSING))
        for name, kept in sorted(self._kept.items()):
            kept.wanted = only is None or name in only
            if kept.wanted:
                await self._bring(kept)
        self._opened = True

    async def follow(self, *, newcomers: bool) -> None:
        """Until cancelled: reload what changes, unload what is removed, and load `newcomers` too."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.look_once(newcomers=newcomers)
            except Exception:  # noqa: BLE001  as below: the watch goes on
                _log.exception("to follow the repository failed unexpectedly, what is loaded serves on")

    async def look_once(self, *, newcomers: bool) -> None:
        """Act upon what has changed and stands still."""
        known = set(self._kept)
        try:
            await self._survey()
        except OSError as error:
            _log.warning("the repository cannot be read, what is loaded serves on: %s", error.strerror)
            return
        for name, kept in self._kept.items():
            kept.wanted = kept.wanted or (newcomers and name not in known)
        wanted = [(kept, kept.found) for _, kept in sorted(self._kept.items()) if kept.wanted]
        seen = await in_thread(lambda: [_sight(found) for _, found in wanted], "look")
        for (kept, found), sight in zip(wanted, seen, strict=True):
            if kept.settling.see(sight) and kept.wanted:
                await self._renew(kept, found)

    async def _renew(self, kept: Kept, found: Found) -> None:
        if found.problem != _MISSING:
            await self._bring(kept)
            return
        kept.settling.know(UNSEEN)
        kept.wanted = False
        self._put_away(kept, _MISSING)
        _log.info("unloaded, as the repository holds it no more", extra={"model": found.name})

    # ── at a caller's wish ────────────────────────────────────────────────────────────────────────────────────────────

    async def load(self, name: str) -> None:
        """Serve its newest version; nothing happens where that is what is served. Raises `ApiError`."""
        kept = await self._ask_for(name)
        kept.wanted = True
        bringing = asyncio.ensure_future(self._bring(kept))
        self._bringing.add(bringing)
        bringing.add_done_callback(self._bringing.discard)
        problem = await asyncio.shield(bringing)  # a caller who leaves does not stop it
        if problem:
            raise BadRequest(f"model '{name}' could not be loaded: {problem}")

    async def unload(self, name: str) -> None:
        """Serve it no more, and give its memory back once the requests in flight are answered. Raises `ApiError`."""
        kept = await self._ask_for(name)
        kept.wanted = False
        async with self._turn:
            self._put_away(kept, _UNLOADED)
        _log.info("unloaded", extra={"model": name})

    @property
    def complete(self) -> bool:
        """Every model that is to be served is, in some version."""
        return self._opened and all(kept.state == "READY" for kept in self._kept.values() if kept.wanted)

    def index(self, *, only_ready: bool) -> list[IndexEntry]:
        """Every model of the folder."""
        return [
            IndexEntry(name, kept.version, kept.state, kept.reason)
            for name, kept in sorted(self._kept.items())
            if kept.state == "READY" or not only_ready
        ]

    def obstacle(self) -> str:
        """Which wanted models are not served, and why."""
        return "; ".join(
            f"{name}: {kept.reason or kept.state}"
            for name, kept in sorted(self._kept.items())
            if kept.wanted and kept.state != "READY"
        )

    def reports(self) -> Iterator[dict[str, Any]]:
        """What GET /report tells of each."""
        for entry in self.index(only_ready=False):
            loaded = self._kept[entry.name].loaded
            yield {
                "name": entry.name,
                "version": entry.version,
                "state": entry.state,
                "reason": entry.reason,
                "wanted": self._kept[entry.name].wanted,
            } | ({"model": loaded.report.model()} if loaded else {})

    async def _ask_for(self, name: str) -> Kept:
        await self._survey()
        kept = self._kept.get(name)
        if kept is None:
            raise NotFound(_MISSING)
        return kept

    # ── what both do ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _survey(self) -> None:
        """What the folder holds now; what is gone from it and was not served is forgotten."""
        found: Mapping[str, Found] = await in_thread(lambda: find_models(self._folder), "survey")
        for name, one in found.items():
            self._kept.setdefault(name, Kept(one)).found = one
        for name in set(self._kept) - set(found):
            if self._kept[name].exchange is None and not self._kept[name].wanted:
                del self._kept[name]
            else:
                self._kept[name].found = Found(name, problem=_MISSING)

    async def _bring(self, kept: Kept) -> str:
        """Load what the folder holds of a model, and serve it; why that failed, or nothing."""
        async with self._turn:
            found = kept.found
            if not kept.wanted:
                return ""  # somebody unloaded it meanwhile
            if found.path is None:
                kept.settling.know(_sight(found))
                return self._refuse(kept, found.problem)
            seen = await in_thread(lambda: _sight(found), "look")
            if kept.loaded and kept.served == seen:
                return ""
            if kept.exchange is None:
                kept.state, kept.reason = "LOADING", ""
                kept.exchange = self._furnish(found.name, found.version)
                self._shelf.put(kept.exchange)
            try:
                loaded = await self._loader.load(found.name, found.version, found.path)
            except LoadError as error:
                kept.settling.know(seen)
                if kept.loaded:
                    tell_refused(found.name, error)
                return self._refuse(kept, f"{error.reason}: {error.message}")
            except Exception:  # noqa: BLE001  the last border: a flaw of ours with one model must not take others down
                _log.exception("loading failed unexpectedly", extra={"model": found.name})
                kept.settling.know(seen)
                return self._refuse(kept, "loading failed unexpectedly, the log has more")
            self._serve(kept, kept.exchange, loaded)
            return ""

    def _serve(self, kept: Kept, exchange: Exchange, loaded: Loaded) -> None:
        before = kept.loaded
        self._hand_over(exchange, loaded.model)
        kept.loaded, kept.state, kept.reason = loaded, "READY", ""
        kept.settling.know(kept.served)
        if before:
            tell_swapped(face_of(before.model), loaded)
        else:
            told = {"model": loaded.model.name, "version": loaded.model.version, "digest": loaded.report.digest}
            _log.info("loaded", extra=told | {"stage_seconds": loaded.report.stage_seconds})

    def _refuse(self, kept: Kept, problem: str) -> str:
        """What serves goes on; what does not is off the shelf."""
        if kept.loaded:
            kept.reason = f"an older version serves: {problem}"
        else:
            self._put_away(kept, problem)
            _log.error("not served: %s", problem, extra={"model": kept.found.name})
        return problem

    def _put_away(self, kept: Kept, reason: str) -> None:
        exchange, kept.exchange, kept.loaded = kept.exchange, None, None
        kept.state, kept.reason = "UNAVAILABLE", reason
        if exchange is not None:
            self._shelf.let_go(exchange)


def _sight(found: Found) -> Sight:
    return (found.version, look_at(found.path)) if found.path else (found.problem, NOTHING)
