"""Gather every fact of one pass: what the store knows, what the pods' runtimes report, why pods are stuck.

    store ──▶ ModelDeployment, children, ReplicaSets, pods
    pods ───▶ GET http://POD:8082/report, where the runtime's container runs      (1 s, all at once, few at a time per operator)
    API ────▶ the newest Warning event of a pod that waits without a telling reason
    voices.py ──▶ what a silent pod said before, to this process or, by the status, to one before it; and how long it has been silent
    surroundings.py ─▶ the namespace's labels, the policies over it, the privacy policy that it names, the public keys that it trusts
    wayin.py ────────▶ the Gateways that expose it, and other models' routes that ask for the same
    network.py ──────▶ the addresses that its NetworkPolicy opens, and whether that is enforced
    budgets.py ──────▶ what the CostBudgets over it leave to it
    authority.py ────▶ for a managed certificate the public side of the operator's CA
    activators.py ───▶ for a model that may have no pods: its ports of the activator, and who could take over
    autoscaler/ ─────▶ how many replicas the load asks for
    prices.py ───────▶ what its pods cost on their nodes
    devices.py ──────▶ which devices the nodes have for it
    upgrades.py ─────▶ whether it is its turn to be rolled to another serving image

Called by adapter.py, once a pass. It concludes nothing: what could not be read is an empty value, and an unfilled store is
Unreadable, so that nothing is made or pruned on half the facts.
"""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp

from modelward_operator.api.parse import Invalid, parse
from modelward_operator.autoscaler.autoscaler import Autoscaler
from modelward_operator.cluster.activators import ActivatorReader
from modelward_operator.cluster.authority import Authorities
from modelward_operator.cluster.budgets import Budgets
from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.compact import is_outline
from modelward_operator.cluster.devices import DeviceReader
from modelward_operator.cluster.enforcement import EnforcementProbe
from modelward_operator.cluster.kinds import CHILDREN, CONFIG_MAP, DEPLOYMENT, EVENT, MODEL, POD, REPLICA_SET
from modelward_operator.cluster.network import NetworkReader
from modelward_operator.cluster.prices import Prices
from modelward_operator.cluster.store import Store
from modelward_operator.cluster.surroundings import Surveyor, privacy_policy_of
from modelward_operator.cluster.upgrades import Upgrades
from modelward_operator.cluster.voices import Voices
from modelward_operator.cluster.wayin import way_in
from modelward_operator.cluster.x509 import is_true
from modelward_operator.errors import Conflict, OperatorError, Unreadable
from modelward_operator.facts import Activator, Authority, Given, Installation, Json, Key, Pod
from modelward_operator.plan import names
from modelward_operator.plan.certificate import is_managed, records
from modelward_operator.plan.pod import running_container
from modelward_operator.policies.autoscaling.rule import asked
from modelward_operator.status.heard import remembered

REPORT_TIMEOUT: Final = aiohttp.ClientTimeout(total=1.0)
REPORT_LIMIT: Final = 64 * 1024
"""Bytes of a report that are read; it comes from a pod that may be anything."""
REPORTS_AT_ONCE: Final = 64
REPORT_AGE: Final = 10.0
"""Seconds for which a container's last report stands in for one that did not come."""
REMEMBERED: Final = 10_000
"""Warnings that are kept at most; beyond, all are forgotten and read again."""
PATIENCE: Final = timedelta(seconds=3)
WARNING_AGE: Final = 5.0
"""Seconds for which a pod's warning is believed before the events are read again."""
SILENT_REASONS: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
"""Reasons of a waiting container that tell nothing."""


class Gatherer:
    """Reads facts through one store, one client and one HTTP session. `now` and `clock` are injected for tests.

    `clusterwide` says that the store holds Namespaces and ModelPolicies as well; else `namespaces` are those that are served. Without an
    `autoscaler` no load is known.
    """

    def __init__(
        self,
        client: Client,
        store: Store,
        installation: Installation,
        session: aiohttp.ClientSession,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
        admin_port: int = names.ADMIN_PORT,
        clusterwide: bool = False,
        namespaces: Collection[str] = (),
        authorities: Authorities | None = None,
        network: NetworkReader | None = None,
        activators: ActivatorReader | None = None,
        autoscaler: Autoscaler | None = None,
        budgets: Budgets | None = None,
        prices: Prices | None = None,
        upgrades: Upgrades | None = None,
    ) -> None:
        self._client, self._store, self._installation, self._session = client, store, installation, session
        self._now, self._clock, self._admin_port = now, clock, admin_port
        self._namespaces = namespaces
        self._surveyor = Surveyor(client, store, clusterwide=clusterwide, clock=clock)
        self._authorities = authorities or Authorities(
            client, installation.namespace, domain=installation.cluster_domain, now=now, clock=clock
        )
        self._network = network or NetworkReader(client, EnforcementProbe(clock), clock=clock)
        self._activators = activators
        self._autoscaler = autoscaler
        self._budgets = budgets or Budgets(store)
        self._prices = prices or Prices(store, clusterwide=clusterwide)
        self._devices = DeviceReader(self._prices)
        self._upgrades = upgrades
        self._turns = asyncio.Semaphore(REPORTS_AT_ONCE)
        self._warnings: dict[str, tuple[float, str]] = {}  # by pod UID
        self._reports: OrderedDict[str, tuple[float, Json]] = OrderedDict()  # by container ID, the oldest first
        self._voices = Voices(clock)

    async def gather(self, key: Key) -> Given | None:
        """Return all facts about `key`; None when the object is gone or going. Raises Unreadable before the first listing."""
        if not self._store.complete:
            raise Unreadable(f"not everything was listed yet: {', '.join(self._store.missing)}")
        raw = self._store.read(MODEL.kind, key.namespace, key.name)
        if not raw or "deletionTimestamp" in raw["metadata"]:
            if self._autoscaler:
                self._autoscaler.forget(key)
            self._network.forget(key)
            if self._upgrades:
                self._upgrades.forget(key)
            return None
        now = self._now()
        pods = await asyncio.gather(*(self._pod(pod, raw, now) for pod in self._store.of_model(key, [POD.kind])))
        around = await self._surveyor.read(key, raw)
        # Only now the rest: while the reports were read, children may have changed.
        before, raw = raw, self._store.read(MODEL.kind, key.namespace, key.name) or raw
        if privacy_policy_of(raw) != privacy_policy_of(before):
            raise Conflict("the model names another PrivacyPolicy than the one that was read")
        children = self._children(key)
        given = Given(
            key=key,
            raw=raw,
            children=(*[await self._in_full(child, raw) for child in children], *await self._strayed(raw, children)),
            replica_sets=tuple(self._store.of_model(key, [REPLICA_SET.kind])),
            pods=tuple(pods),
            installation=self._installation,
            now=now,
            around=around,
            unserved=self._store.unserved,
        )
        return await self._beyond(given)

    def _children(self, key: Key) -> list[dict[str, Any]]:
        return self._store.of_model(key, [resource.kind for resource in CHILDREN])

    async def _strayed(self, model: Json, known: Iterable[Json]) -> list[Json]:
        """Fetch the Deployment of a model that had one, where the store knows of none: somebody may have taken its labels away.

        It is not as if there were none: what stands in it, the number of replicas for one, would begin anew.
        """
        namespace, name = model["metadata"]["namespace"], model["metadata"]["name"]
        is_new = model.get("status", {}).get("observedGeneration", -1) < 0
        if is_new or any(child["kind"] == DEPLOYMENT.kind for child in known):
            return []
        try:
            found = await self._client.get(DEPLOYMENT, namespace, name)
        except NotFound:
            return []
        owners = (owner["uid"] for owner in found["metadata"].get("ownerReferences", ()))
        return [found] if model["metadata"]["uid"] in owners else []

    async def _in_full(self, child: Json, model: Json) -> Json:
        """Fetch the one child that a room reads, where it is too large for the store. Raises Unreadable."""
        meta = child["metadata"]
        is_policy = (child["kind"], meta["name"]) == (
            CONFIG_MAP.kind,
            names.policy_config_name(model["metadata"]["name"]),
        )
        if not is_policy or not is_outline(child):
            return child
        try:
            return await self._client.get(CONFIG_MAP, meta["namespace"], meta["name"])
        except NotFound:
            return child

    async def _beyond(self, given: Given) -> Given:
        """Add what only a spec that can be read asks for."""
        spec = parse(given.raw)
        if isinstance(spec, Invalid):
            if self._upgrades:
                self._upgrades.forget(given.key)
            return given
        authority = await self._authority(given) if is_managed(spec) else Authority()
        activator = await self._activators.read(given, spec) if self._activators else Activator()
        network = await self._network.read(given, spec)
        demand = None
        if self._autoscaler:
            activator = replace(activator, calls=self._autoscaler.called(given.key))
            demand = self._autoscaler.meet(given, spec)
        cost = self._prices.cost(given.key, spec, [pod.raw for pod in given.pods])
        devices = self._devices.read(spec)
        turn = self._upgrades.look(given, spec) if self._upgrades else False
        given = replace(
            given,
            network=network,
            authority=authority,
            activator=activator,
            demand=demand,
            devices=devices,
            may_upgrade=turn,
        )
        cost = replace(cost, allowances=self._budgets.allowances(given, asked(given, spec)))
        return replace(given, way_in=way_in(self._store, given, spec, self._namespaces), cost=cost)

    async def _authority(self, given: Given) -> Authority:
        """Read the CA, and look which of the model's records hold a certificate of its. Anybody may have made the others."""
        public = await self._authorities.public()
        true = (one for one in records(given) if is_true(one.raw["data"], public.bundle))
        return replace(public, vouched=frozenset(str(one.raw["metadata"]["uid"]) for one in true))

    async def _pod(self, raw: Json, model: Json, now: datetime) -> Pod:
        report, warning, container = await self._report(raw), await self._warning(raw, now), running_container(raw)
        last_loaded, mute = self._voices.hear(
            raw["metadata"]["uid"], container, report, is_ready=_is_ready(raw), before=remembered(model, container)
        )
        return Pod(raw, report, warning, last_loaded, mute)

    async def _report(self, pod: Json) -> Json:
        """Return what the pod's runtime says; for a moment without an answer, what the same container said last."""
        report, container = await self._ask(pod), running_container(pod)
        now = self._clock()
        while self._reports and now - next(iter(self._reports.values()))[0] >= REPORT_AGE:
            self._reports.popitem(last=False)  # of ten thousand pods that serve, none need be kept
        if report and container:
            self._reports[container] = (now, report)
            self._reports.move_to_end(container)
            return report
        _, last = self._reports.get(container, (now, {}))
        return last

    async def _ask(self, pod: Json) -> Json:
        """Ask the pod's runtime what it has loaded; empty when it does not answer as it should."""
        address = pod.get("status", {}).get("podIP", "")
        if not address or not running_container(pod):
            return {}
        host = f"[{address}]" if ":" in address else address
        try:
            async with (
                self._turns,
                self._session.get(
                    f"http://{host}:{self._admin_port}/report",
                    timeout=REPORT_TIMEOUT,
                    allow_redirects=False,
                    auto_decompress=False,  # a limit of bytes bounds what is in memory
                ) as response,
            ):
                if response.status != 200:
                    return {}
                return _parse(await _read(response.content))
        except (aiohttp.ClientError, OSError):
            return {}

    async def _warning(self, pod: Json, now: datetime) -> str:
        """Return the newest Warning about a pod that is stuck without saying why."""
        uid = pod["metadata"]["uid"]
        if not is_stuck(pod, now):
            self._warnings.pop(uid, None)
            return ""
        read_at, message = self._warnings.get(uid, (float("-inf"), ""))
        if self._clock() - read_at < WARNING_AGE:
            return message
        try:
            message = await self._newest_warning(pod["metadata"]["namespace"], uid)
        except OperatorError:
            return message  # a nicety: the pass does not fail for it
        if len(self._warnings) >= REMEMBERED:
            self._warnings.clear()
        self._warnings[uid] = (self._clock(), message)
        return message

    async def _newest_warning(self, namespace: str, uid: str) -> str:
        events: list[dict[str, Any]] = []
        fields = f"involvedObject.uid={uid},type=Warning"
        async for page, _ in self._client.pages(EVENT, namespace, fields=fields):
            events += page
        newest = max(events, key=_last_seen, default={})
        return f"{newest.get('reason', 'Warning')}: {newest.get('message', '')}" if newest else ""


def is_stuck(pod: Json, now: datetime) -> bool:
    """True for a pod that has been waiting for a while and whose status does not tell what for."""
    status = pod.get("status", {})
    if status.get("phase") != "Pending" or "deletionTimestamp" in pod["metadata"]:
        return False
    if now - datetime.fromisoformat(pod["metadata"]["creationTimestamp"]) < PATIENCE:
        return False
    if any(c["type"] == "PodScheduled" and c["status"] == "False" for c in status.get("conditions", ())):
        return False
    states = [container.get("state", {}) for container in status.get("containerStatuses", ())]
    return all(state.get("waiting", {}).get("reason", "") in SILENT_REASONS for state in states)


def _is_ready(pod: Json) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", ()))


async def _read(content: aiohttp.StreamReader) -> bytes:
    """Read to the end, however many pieces it comes in; what is longer than a report can be is cut off, and so no report."""
    text = b""
    async for piece in content.iter_any():
        text += piece
        if len(text) > REPORT_LIMIT:
            break
    return text[:REPORT_LIMIT]


def _parse(text: bytes) -> Json:
    """A report that is not the object it should be counts as none."""
    try:
        report = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return report if isinstance(report, dict) and isinstance(report.get("model", {}), dict) else {}


def _last_seen(event: Json) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return max((str(time) for time in times if time), default=event["metadata"].get("creationTimestamp") or "")
