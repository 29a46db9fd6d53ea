"""Puts the ConfigMaps with routes together into one table. Pure but for the clock that it is given.

Fed by `kube.py`, read by `run.py`. A ConfigMap that cannot be parsed keeps the routes that it had; so does the table while the API is
away. A route that is in no ConfigMap is kept for a moment: the operator writes one ConfigMap after the other, and a route that moves from
one to the next must not lose its port, and with it whoever waits there.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from modelward_runtime.activator.config import Route, RoutesInvalid, parse_routes

LINGER: Final = 5.0  # seconds that a route is kept without a ConfigMap that has it
DATA: Final = "routes.json"
log = logging.getLogger(__name__)

Key = tuple[str, str]


class _Metadata(msgspec.Struct, frozen=True):
    name: str
    resourceVersion: str = "0"  # noqa: N815  the API's spelling


class ConfigMap(msgspec.Struct, frozen=True):
    """A ConfigMap, as much of it as is needed."""

    metadata: _Metadata
    data: dict[str, str] = {}


class Table:
    """The routes of all ConfigMaps. `invalid` counts the ConfigMaps that could not be parsed when they were last seen."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._parts: dict[str, tuple[Route, ...]] = {}
        self._versions: dict[str, int] = {}
        self._invalid: set[str] = set()
        self._gone: dict[Key, tuple[Route, float]] = {}

    @property
    def invalid(self) -> int:
        """How many ConfigMaps are not usable."""
        return len(self._invalid)

    def reset(self, maps: Iterable[ConfigMap]) -> None:
        """These ConfigMaps, and no others."""
        present = list(maps)
        for name in set(self._parts) - {one.metadata.name for one in present}:
            self._forget(name)
        for one in present:
            self.put(one)

    def put(self, one: ConfigMap) -> None:
        """A ConfigMap came or changed."""
        name = one.metadata.name
        try:
            routes = parse_routes(one.data.get(DATA, ""))
        except RoutesInvalid as error:
            self._invalid.add(name)
            log.error("routes are not usable, the last good ones hold", extra={"configMap": name, "cause": str(error)})  # noqa: TRY400
            return
        self._invalid.discard(name)
        self._leave(name, {route.key for route in routes})
        self._parts[name] = routes
        self._versions[name] = int(one.metadata.resourceVersion)

    def drop(self, one: ConfigMap) -> None:
        """A ConfigMap went."""
        self._forget(one.metadata.name)

    def routes(self) -> dict[Key, Route]:
        """All routes, by model; of two that want the same port, the one whose model comes first."""
        now = self._clock()
        self._gone = {key: kept for key, kept in self._gone.items() if now < kept[1]}
        wanted: dict[Key, Route] = {}
        for name in sorted(self._parts):
            for route in self._parts[name]:
                wanted.setdefault(route.key, route)
        listed = sorted(wanted.values(), key=lambda route: route.key)
        lingering = [kept[0] for key, kept in sorted(self._gone.items()) if key not in wanted]
        return _without_clashes([*listed, *lingering])

    def in_force(self, is_open: Callable[[Route], bool]) -> dict[str, int]:
        """The version of each ConfigMap all of whose routes are open: this far the operator may count on us."""
        return {name: self._versions[name] for name, routes in self._parts.items() if all(map(is_open, routes))}

    def _forget(self, name: str) -> None:
        self._leave(name, set())
        self._parts.pop(name, None)
        self._versions.pop(name, None)
        self._invalid.discard(name)

    def _leave(self, name: str, kept: set[Key]) -> None:
        until = self._clock() + LINGER
        for route in self._parts.get(name, ()):
            if route.key not in kept:
                self._gone[route.key] = (route, until)


def _without_clashes(routes: Iterable[Route]) -> dict[Key, Route]:
    taken: dict[int, Key] = {}
    found: dict[Key, Route] = {}
    for route in routes:
        clash = taken.get(route.ports.http) or taken.get(route.ports.grpc)
        if clash:
            log.error("a port is another model's", extra={"model": "/".join(route.key), "other": "/".join(clash)})
            continue
        taken |= {route.ports.http: route.key, route.ports.grpc: route.key}
        found[route.key] = route
    return found
