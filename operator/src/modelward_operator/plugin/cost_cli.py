"""`kubectl modelward cost`: reads ledgers, budgets, models and prices by the user's own kubectl, and shows what `cost.py` makes of them.

Each kind is read by itself: what the user may not see is a note in the answer, not the end of it. Called by `commands.py`.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from modelward_operator.api.costledger import MONTH_LABEL, CostLedgerSpec
from modelward_operator.api.parse import Invalid, parse_costs
from modelward_operator.api.period import Period
from modelward_operator.api.timezone import zone
from modelward_operator.ledger import shards
from modelward_operator.ledger.book import Book
from modelward_operator.plan.names import MODEL_LABEL
from modelward_operator.plugin.cost import Idle, Seen, report
from modelward_operator.plugin.cost_text import page, sheet
from modelward_operator.plugin.evidence import is_ready
from modelward_operator.plugin.kubectl import Kubectl, KubectlError
from modelward_operator.policies.cost.periods import Span, span_of

Json = dict[str, Any]
LONGEST: Final = 100 * 366 * 86400
"""Seconds that a pod may say that nobody has called it; beyond, it says nothing that can be believed."""
AT_ONCE: Final = 8
"""Pods that are asked at the same time, each through a kubectl of its own."""


def cost(kubectl: Kubectl, options: argparse.Namespace) -> int:
    """Run the command; return its exit status: 0 told, 2 nothing could be read, or the arguments are wrong."""
    try:
        chosen = zone(options.time_zone)
    except KeyError:
        print(f"kubectl modelward: there is no time zone {options.time_zone!r}", file=sys.stderr)
        return 2
    now = datetime.now(UTC)
    span = span_of(Period(options.period), chosen, now)
    where = ["-A"] if options.all_namespaces else ["-n", options.namespace or kubectl.namespace()]
    reader = Reader(kubectl, where)
    seen = reader.gather(span, ask_pods=not options.no_idle)
    if {"ModelDeployments", "CostLedgers"} <= seen.unread.keys():
        raise KubectlError(seen.unread["ModelDeployments"])
    found = report(seen, options.period, options.time_zone, span, now)
    shown: Mapping[str, Callable[[Json], str]] = {
        "text": page,
        "json": lambda it: json.dumps(it, indent=2),
        "csv": sheet,
    }
    print(shown[options.output](found).rstrip("\n"))
    return 0


@dataclass
class Reader:
    """Reads kinds one by one, and remembers what could not be read."""

    kubectl: Kubectl
    where: list[str]
    unread: dict[str, str] = field(default_factory=dict)

    def gather(self, span: Span, *, ask_pods: bool) -> Seen:
        """Read all that the report is made of."""
        ledgers = self._list(
            "CostLedgers", "costledgers", *self.where, "-l", f"{MONTH_LABEL} in ({','.join(_months(span))})"
        )
        return Seen(
            books=self._books(ledgers),
            models=self._list("ModelDeployments", "modeldeployments", *self.where),
            budgets=self._list("CostBudgets", "costbudgets", *self.where),
            price_books=self._list("PriceBooks", "pricebooks"),
            idle=self._idle() if ask_pods else {},
            unread=self.unread,
        )

    def _list(self, kind: str, plural: str, *arguments: str) -> list[Json]:
        try:
            return list(self.kubectl.read(f"{plural}.modelward.dev", *arguments)["items"])
        except KubectlError as error:
            self.unread[kind] = str(error)
            return []

    def _books(self, ledgers: Iterable[Json]) -> Mapping[str, Book]:
        """Read the shards of each namespace as the operator does."""
        parts = defaultdict[str, list[CostLedgerSpec]](list)
        for one in ledgers:
            spec, name = parse_costs(one), f"CostLedger {one['metadata']['namespace']}/{one['metadata']['name']}"
            if isinstance(spec, Invalid):
                self.unread[name] = str(spec)
            else:
                parts[one["metadata"]["namespace"]].append(spec)
        return {namespace: book for namespace, specs in parts.items() if (book := self._book(namespace, specs))}

    def _book(self, namespace: str, specs: list[CostLedgerSpec]) -> Book | None:
        try:
            return shards.read(specs)[0]
        except ValueError as error:  # a day or a time that no calendar has
            self.unread[f"CostLedgers of {namespace}"] = str(error)
            return None

    def _idle(self) -> Mapping[tuple[str, str], Idle]:
        """Ask every ready pod; a model has been idle for as long as all of its pods have."""
        try:
            pods = self.kubectl.read("pods", *self.where, "-l", MODEL_LABEL)["items"]
        except KubectlError as error:
            self.unread["Pods"] = str(error)
            return {}
        found: dict[tuple[str, str], Idle] = {}
        ready = [pod["metadata"] for pod in pods if is_ready(pod)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for pod, idle in zip(ready, pool.map(self._ask, ready), strict=True):
                key = (pod["namespace"], pod["labels"][MODEL_LABEL])
                known = found.get(key, idle)
                found[key] = min(known, idle, key=lambda one: (not one.silence, one.seconds))
        return found

    def _ask(self, pod: Json) -> Idle:
        try:
            seconds = float(self.kubectl.ask(pod["namespace"], pod["name"], "/load")["idleSeconds"])
            return Idle(seconds) if 0 <= seconds <= LONGEST else Idle(silence=f"pod {pod['name']} says {seconds:g} s")
        except (KubectlError, KeyError, TypeError, ValueError, OverflowError) as error:
            return Idle(silence=f"pod {pod['name']} does not say it: {error}")


def _months(span: Span) -> list[str]:
    """The UTC months that the period touches, and the one that its last moment so far lies in."""
    moments = (span.start, span.end - timedelta(seconds=1))
    return sorted({moment.strftime("%Y-%m") for moment in moments})
