"""How many replicas, and who decides: `spec.scaling` of a ModelDeployment.

Which autoscaler is in charge can follow from the bounds alone, so nobody reads the field: ask `Scaling.chosen`, and for what was left out
`Scaling.minimum`, `.maximum`, `.target`, `.utilization`, `.idle`, `.scale_down` and `.activating`.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StrictInt, StringConstraints

from modelward_operator.api.scalers import Hpa, Keda
from modelward_operator.api.types import Matches, Rule, Struct

MOST_REPLICAS: Final = 1000
TARGET: Final = "8"
UTILIZATION: Final = 70
IDLE_SECONDS: Final = 600
SCALE_DOWN_SECONDS: Final = 60


class Autoscaler(StrEnum):
    """Who decides the number of replicas."""

    NONE = "None"
    EXTERNAL = "External"
    CONCURRENCY = "Concurrency"
    HPA = "HPA"
    KEDA = "KEDA"


BOUNDED: Final = frozenset({Autoscaler.CONCURRENCY, Autoscaler.HPA, Autoscaler.KEDA})
"""Those that move between minReplicas and maxReplicas."""

_CHOSEN: Final = (
    "(has(self.autoscaler) ? self.autoscaler : "
    "(has(self.minReplicas) && has(self.maxReplicas) && self.minReplicas != self.maxReplicas ? 'Concurrency' : 'None'))"
)
"""CEL of `Scaling.chosen`."""
_BOUNDED: Final = f"{_CHOSEN} in ['Concurrency', 'HPA', 'KEDA']"

TargetConcurrency = Annotated[
    str,
    StringConstraints(min_length=1, max_length=10),
    Matches(
        r"^((0|[1-9][0-9]{0,5})[.][0-9]{0,2}[1-9]|[1-9][0-9]{0,5}([.][0-9]{1,3})?)$",
        'targetConcurrency must be a decimal number above 0 in quotes, with at most 3 decimals, for example "8" or "0.5"',
    ),
]


class Activation(Struct):
    """What happens to a request that comes while there are no replicas."""

    hold_seconds: StrictInt = Field(
        default=60,
        ge=1,
        le=3600,
        description="How long a request waits for the first pod at most; then it is answered 503, with Retry-After.",
    )
    max_held: StrictInt = Field(
        default=100,
        ge=1,
        le=10_000,
        description="How many requests of this model one pod of the activator holds; what is beyond is answered 429.",
    )


class Scaling(Struct):
    """How many replicas."""

    rules = (
        Rule(
            f"!has(self.replicas) || {_CHOSEN} in ['None', 'External']",
            lambda it: it.replicas is None or it.chosen not in BOUNDED,
            "replicas is for autoscaler None and External: an autoscaler that moves between minReplicas and maxReplicas owns the number, "
            "so leave replicas out",
        ),
        Rule(
            f"!(has(self.minReplicas) || has(self.maxReplicas)) || {_BOUNDED}",
            lambda it: (it.min_replicas is None and it.max_replicas is None) or it.chosen in BOUNDED,
            "minReplicas and maxReplicas are for autoscaler Concurrency, HPA and KEDA: write one of them, or give both bounds and let them "
            "differ, or write replicas instead",
        ),
        Rule(
            f"has(self.maxReplicas) || !({_BOUNDED})",
            lambda it: it.max_replicas is not None or it.chosen not in BOUNDED,
            "autoscaler Concurrency, HPA and KEDA need maxReplicas: nothing else bounds what they may ask for",
        ),
        Rule(
            "!has(self.maxReplicas) || (has(self.minReplicas) ? self.minReplicas : 1) <= self.maxReplicas",
            lambda it: it.max_replicas is None or it.minimum <= it.max_replicas,
            "minReplicas (1 when absent) must not exceed maxReplicas",
        ),
        Rule(
            f"!({_CHOSEN} == 'HPA' && has(self.minReplicas) && self.minReplicas == 0)",
            lambda it: not (it.chosen is Autoscaler.HPA and it.min_replicas == 0),
            "autoscaler HPA keeps at least one replica: write minReplicas: 1, or autoscaler: Concurrency to scale to zero",
        ),
        Rule(
            "!(has(self.targetConcurrency) || has(self.targetUtilizationPercent) || has(self.scaleDownSeconds) || "
            f"has(self.fallbackReplicas)) || {_CHOSEN} == 'Concurrency'",
            lambda it: it.chosen is Autoscaler.CONCURRENCY or not it.is_tuned,
            "targetConcurrency, targetUtilizationPercent, scaleDownSeconds and fallbackReplicas are for autoscaler Concurrency: leave them "
            "out",
        ),
        Rule(
            "!has(self.fallbackReplicas) || !has(self.maxReplicas) || self.fallbackReplicas <= self.maxReplicas",
            lambda it: None in (it.fallback_replicas, it.max_replicas) or it.fallback_replicas <= it.max_replicas,
            "fallbackReplicas must not exceed maxReplicas",
        ),
        Rule(
            f"!has(self.idleSeconds) || ({_CHOSEN} == 'Concurrency' && has(self.minReplicas) && self.minReplicas == 0)",
            lambda it: it.idle_seconds is None or (it.chosen is Autoscaler.CONCURRENCY and it.min_replicas == 0),
            "idleSeconds is for autoscaler Concurrency with minReplicas: 0: nothing else scales to zero by it",
        ),
        Rule(
            "!has(self.activation) || (has(self.minReplicas) && self.minReplicas == 0)",
            lambda it: it.activation is None or it.min_replicas == 0,
            "activation is for minReplicas: 0: while there are replicas nothing is held",
        ),
        Rule(
            f"has(self.hpa) == ({_CHOSEN} == 'HPA')",
            lambda it: (it.hpa is not None) == (it.chosen is Autoscaler.HPA),
            "autoscaler HPA needs hpa, which says what to aim at; no other takes it",
        ),
        Rule(
            f"has(self.keda) == ({_CHOSEN} == 'KEDA')",
            lambda it: (it.keda is not None) == (it.chosen is Autoscaler.KEDA),
            "autoscaler KEDA needs keda, which says what is measured; no other takes it",
        ),
    )

    autoscaler: Autoscaler | None = Field(
        default=None,
        description="None: `replicas` is the number. External: somebody else decides, through /scale of this object (which sets "
        "`replicas`) or, while `replicas` is absent, through /scale of the Deployment, whose replicas the operator then leaves alone. "
        "Concurrency: the operator, from the requests that are in flight and queued in the pods; it needs nothing else in the cluster. "
        "HPA: a HorizontalPodAutoscaler, from CPU and memory; it needs metrics-server. KEDA: a ScaledObject; it needs KEDA. Absent: "
        "Concurrency where minReplicas and maxReplicas are given and differ, else None.",
    )
    replicas: StrictInt | None = Field(
        default=None,
        ge=0,
        le=MOST_REPLICAS,
        description="Replicas, with None and External. Absent with None: 1. The path of /scale.",
    )
    min_replicas: StrictInt | None = Field(
        default=None,
        ge=0,
        le=MOST_REPLICAS,
        description="Fewest replicas, with Concurrency, HPA (1 or more) and KEDA. Absent: 1. With 0 the last replica goes when nobody "
        "calls, and the next request waits until one is back. Where a budget allows less, less runs.",
    )
    max_replicas: StrictInt | None = Field(
        default=None,
        ge=1,
        le=MOST_REPLICAS,
        description="Most replicas, with Concurrency, HPA and KEDA, which need it.",
    )
    target_concurrency: TargetConcurrency | None = Field(
        default=None,
        description='Requests in flight and queued that one replica should have at most, with Concurrency. Absent: "8".',
        examples=["8"],
    )
    target_utilization_percent: StrictInt | None = Field(
        default=None,
        ge=10,
        le=100,
        description="Which share of targetConcurrency is aimed at, with Concurrency, so that a replica more is there before it is "
        "needed. Absent: 70.",
    )
    idle_seconds: StrictInt | None = Field(
        default=None,
        ge=1,
        le=604_800,
        description="How long nobody must have called before the last replica goes, with Concurrency and minReplicas 0. Absent: 600.",
    )
    scale_down_seconds: StrictInt | None = Field(
        default=None,
        ge=0,
        le=3600,
        description="How long fewer replicas must have been enough before replicas go, with Concurrency; longer where this model's "
        "pods were seen to take longer to start. Absent: 60.",
    )
    fallback_replicas: StrictInt | None = Field(
        default=None,
        ge=1,
        le=MOST_REPLICAS,
        description="Replicas that run at least, with Concurrency, when no pod has said its load for two minutes. Absent: those that ran "
        "then; fewer never run for want of data.",
    )
    activation: Activation | None = Field(
        default=None,
        description="What happens to a request that comes at zero replicas. Absent: the defaults of its fields.",
    )
    hpa: Hpa | None = Field(default=None, description="What autoscaler HPA aims at.")
    keda: Keda | None = Field(default=None, description="What autoscaler KEDA measures.")

    @property
    def chosen(self) -> Autoscaler:
        """Who decides, also where the field is absent."""
        if self.autoscaler is not None:
            return self.autoscaler
        bounds = (self.min_replicas, self.max_replicas)
        return Autoscaler.CONCURRENCY if None not in bounds and bounds[0] != bounds[1] else Autoscaler.NONE

    @property
    def minimum(self) -> int:
        """Fewest replicas that an autoscaler may ask for."""
        return 1 if self.min_replicas is None else self.min_replicas

    @property
    def maximum(self) -> int:
        """Most replicas that an autoscaler may ask for."""
        return MOST_REPLICAS if self.max_replicas is None else self.max_replicas

    @property
    def is_tuned(self) -> bool:
        """True where something is set that only the autoscaler Concurrency reads, whatever the bounds."""
        tuning = (
            self.target_concurrency,
            self.target_utilization_percent,
            self.scale_down_seconds,
            self.fallback_replicas,
        )
        return tuning != (None, None, None, None)

    @property
    def reaches_zero(self) -> bool:
        """True where the last replica may go while nobody calls, so that the activator must be able to take over."""
        return self.min_replicas == 0

    @property
    def target(self) -> float:
        """Requests in flight and queued that one replica should have."""
        return float(Decimal(self.target_concurrency or TARGET))

    @property
    def utilization(self) -> float:
        """The share of `target` that is aimed at."""
        return (self.target_utilization_percent or UTILIZATION) / 100

    @property
    def idle(self) -> int:
        """Seconds without a request after which the last replica goes."""
        return self.idle_seconds or IDLE_SECONDS

    @property
    def scale_down(self) -> int:
        """Seconds for which fewer replicas must have been enough."""
        return SCALE_DOWN_SECONDS if self.scale_down_seconds is None else self.scale_down_seconds

    @property
    def activating(self) -> Activation:
        """What happens to a request at zero replicas."""
        return self.activation or Activation()
