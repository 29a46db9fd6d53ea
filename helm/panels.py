"""What the dashboard shows: every panel with its queries, as literals. Read by `dashboard.py`, which draws them.

The labels namespace and model of what pods export come from the scrape (helm/modelward/RUNBOOK.md). Each query is asked of a real
Prometheus by tests/integration/test_dashboard.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

MODEL: Final = 'namespace=~"$namespace", model=~"$model"'
SPACE: Final = 'namespace=~"$namespace"'


@dataclass(frozen=True, slots=True)
class Query:
    """One line of a panel: PromQL, and what its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture; `width` and `height` in Grafana's grid."""

    title: str
    says: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 8


def _quantile(share: str, metric: str, by: str, where: str = "") -> str:
    return f"histogram_quantile({share}, sum by (le{by}) (rate({metric}_bucket{where}[$__rate_interval])))"


MONEY: Final = (
    Panel(
        "Cost now",
        "What the pods that exist cost an hour.",
        [Query(f"sum by (currency) (modelward_model_cost_per_hour{{{MODEL}}})", "{{currency}} an hour")],
        kind="stat",
        width=4,
    ),
    Panel(
        "Spent this month",
        "UTC month, from the CostLedgers.",
        [Query(f"sum by (currency) (modelward_model_spent{{{MODEL}}})", "{{currency}}")],
        kind="stat",
        width=4,
    ),
    Panel(
        "Cost per model",
        "Price of all pods of a model for an hour.",
        [
            Query(
                f"sum by (namespace, model, currency) (modelward_model_cost_per_hour{{{MODEL}}})",
                "{{namespace}}/{{model}} {{currency}}",
            )
        ],
    ),
    Panel(
        "Spent per model, this month",
        "Sum of the ledger's cells since the month began, UTC.",
        [
            Query(
                f"max by (namespace, model, currency) (modelward_model_spent{{{MODEL}}})",
                "{{namespace}}/{{model}} {{currency}}",
            )
        ],
    ),
    Panel(
        "Budgets: share that is left",
        "What is left of the limit in this period. At 0 the ladder of onExceeded is in force.",
        [
            Query(
                f"max by (namespace, budget) (modelward_budget_left{{{SPACE}}} / modelward_budget_limit{{{SPACE}}})",
                "{{namespace}}/{{budget}}",
            )
        ],
        unit="percentunit",
        kind="bargauge",
        width=12,
    ),
    Panel(
        "Budgets: spent and forecast against the limit",
        "Forecast is what will have been spent at the period's end at the present rate.",
        [
            Query(
                f"max by (namespace, budget, currency) (modelward_budget_spent{{{SPACE}}})",
                "{{budget}} spent {{currency}}",
            ),
            Query(
                f"max by (namespace, budget, currency) (modelward_budget_forecast{{{SPACE}}})",
                "{{budget}} forecast {{currency}}",
            ),
            Query(
                f"max by (namespace, budget, currency) (modelward_budget_limit{{{SPACE}}})",
                "{{budget}} limit {{currency}}",
            ),
        ],
        width=12,
    ),
)
SCALING: Final = (
    Panel(
        "Replicas wanted and ready",
        "Wanted: what the load asks for and why, within minReplicas and maxReplicas; a budget may hold it lower.",
        [
            Query(
                f"max by (namespace, model) (modelward_replicas_wanted{{{MODEL}}}) * on (namespace, model) group_right () "
                f"max by (namespace, model, cause) (modelward_replicas_wanted_cause{{{MODEL}}})",
                "{{namespace}}/{{model}} wanted: {{cause}}",
            ),
            Query(f"sum by (namespace, model) (modelward_ready{{{MODEL}}})", "{{namespace}}/{{model}} ready"),
        ],
    ),
    Panel(
        "Concurrency per model",
        "Requests in flight and queued at the pods: what the built-in autoscaler counts.",
        [
            Query(f"sum by (namespace, model) (modelward_in_flight{{{MODEL}}})", "{{namespace}}/{{model}} in flight"),
            Query(f"sum by (namespace, model) (modelward_queue_waiting{{{MODEL}}})", "{{namespace}}/{{model}} queued"),
        ],
    ),
    Panel(
        "Scaling decisions",
        "Changes of the number of replicas within an hour, by direction.",
        [
            Query(
                f"sum by (namespace, model, direction) (increase(modelward_scaling_decisions_total{{{MODEL}}}[1h]))",
                "{{namespace}}/{{model}} {{direction}}",
            )
        ],
    ),
    Panel(
        "Cold starts",
        "From the decision to wake a model until a pod of it is ready.",
        [
            Query(_quantile("0.5", "modelward_cold_start_seconds", ""), "p50"),
            Query(_quantile("0.9", "modelward_cold_start_seconds", ""), "p90"),
        ],
        unit="s",
    ),
    Panel(
        "Held by the activator",
        "Requests that wait for a model to wake.",
        [Query(f"sum by (namespace, model) (modelward_activator_held{{{MODEL}}})", "{{namespace}}/{{model}}")],
    ),
    Panel(
        "Activator: answers by code, and how long it held",
        "Codes a second; the time that requests were held.",
        [
            Query("sum by (code) (rate(modelward_activator_requests_total[$__rate_interval]))", "{{code}} a second"),
            Query(_quantile("0.99", "modelward_activator_hold_seconds", ""), "held, p99 in s"),
        ],
    ),
)
SERVING: Final = (
    Panel(
        "Requests a second",
        "By status code; the labels namespace and model come from the scrape, see RUNBOOK.md.",
        [
            Query(
                f"sum by (namespace, model, code) (rate(modelward_requests_total{{{MODEL}}}[$__rate_interval]))",
                "{{namespace}}/{{model}} {{code}}",
            )
        ],
        unit="reqps",
    ),
    Panel(
        "Latency in the pod",
        "From the first byte read to the answer; what the network and the activator add is not in it.",
        [
            Query(
                _quantile(share, "modelward_stage_seconds", ", namespace, model", f'{{{MODEL}, stage="total"}}'),
                f"{{{{namespace}}}}/{{{{model}}}} p{name}",
            )
            for share, name in (("0.5", "50"), ("0.99", "99"))
        ],
        unit="s",
    ),
    Panel(
        "Latency by stage, p99",
        "queue is the wait for the model, run a pass of it.",
        [Query(_quantile("0.99", "modelward_stage_seconds", ", stage", f"{{{MODEL}}}"), "{{stage}}")],
        unit="s",
    ),
)
OPERATOR: Final = (
    Panel("Leaders", "One, always.", [Query("sum(modelward_leader)", "leaders")], kind="stat", width=4),
    Panel(
        "Passes a second",
        "By result.",
        [Query("sum by (result) (rate(modelward_reconcile_seconds_count[$__rate_interval]))", "{{result}}")],
        width=10,
    ),
    Panel(
        "Time of a pass, and the wait before it",
        "p99.",
        [
            Query(_quantile("0.99", "modelward_reconcile_seconds", ""), "pass"),
            Query(_quantile("0.99", "modelward_queue_wait_seconds", ""), "wait"),
        ],
        unit="s",
        width=10,
    ),
    Panel(
        "Queue",
        "Keys that wait for a worker, where a replica leads.",
        [
            Query("sum(modelward_queue_depth and on (job, instance) modelward_leader == 1)", "depth"),
            Query("max(modelward_queue_oldest_seconds and on (job, instance) modelward_leader == 1)", "oldest, s"),
        ],
    ),
    Panel(
        "Requests to the API server",
        "A second, by verb and code; 0 is no answer.",
        [Query("sum by (verb, code) (rate(modelward_api_requests_total[$__rate_interval]))", "{{verb}} {{code}}")],
    ),
    Panel(
        "Writes, errors, silent watches",
        "A second; and the seconds since the watch that has been silent for longest was heard.",
        [
            Query("sum by (kind) (rate(modelward_api_writes_total[$__rate_interval]))", "writes of {{kind}}"),
            Query("sum by (where) (rate(modelward_errors_total[$__rate_interval]))", "errors in {{where}}"),
            Query("max(modelward_watch_age_seconds)", "silence, s"),
        ],
    ),
    Panel(
        "Passes that ended early",
        "A second. conflict: somebody wrote in between. unreadable: the API server or a pod does not answer. failed: a bug.",
        [
            Query(
                'sum by (result) (rate(modelward_reconcile_seconds_count{result!~"success|requeued"}[$__rate_interval]))'
                " or vector(0)",
                "{{result}}",
            )
        ],
    ),
    Panel(
        "Certificates: time left",
        "Of what models' pods serve. Managed ones are renewed with 30 days left.",
        [
            Query(
                f"min by (namespace, model) (modelward_certificate_expiry_timestamp_seconds{{{MODEL}}}) - time()",
                "{{namespace}}/{{model}}",
            )
        ],
        unit="s",
    ),
    Panel(
        "The operator's CAs: time left",
        "Of those that sign now; a successor takes over with 11 months left.",
        [
            Query(
                "max by (authority) (modelward_authority_expiry_timestamp_seconds) - time()",
                "{{authority}}",
            )
        ],
        unit="s",
    ),
)
ROWS: Final = (("Money", MONEY), ("Scaling", SCALING), ("Serving", SERVING), ("Operator", OPERATOR))


def queries() -> Iterator[str]:
    """Give every query of the dashboard."""
    for _, panels in ROWS:
        for panel in panels:
            yield from (query.expr for query in panel.queries)
