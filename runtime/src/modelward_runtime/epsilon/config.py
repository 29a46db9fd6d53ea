"""What policy.json says about differential privacy: `privacy.output.differentialPrivacy`.

Parsed strictly by `modelward_runtime.config`; whether it fits the model is `promise.py`'s to say.
"""

from typing import Annotated, Literal

import msgspec

from modelward_runtime.contract import Name, Record, TensorName
from modelward_runtime.epsilon import amount
from modelward_runtime.epsilon.amount import Epsilon
from modelward_runtime.epsilon.period import Period

Bound = Annotated[str, msgspec.Meta(pattern=r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?$")]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
MOST_EPSILON = (
    20 * amount.MICRO
)  # of a row: beyond it an answer is hardly ever changed, and e to its power is no number to promise


class Budget(Record, frozen=True):
    """How much may be spent in a period of the calendar (UTC): by each subject, or by all together."""

    epsilon: Epsilon
    period: Period
    scope: Literal["Subject", "All"]


class LedgerPlace(Record, frozen=True):
    """The objects of the Kubernetes API that hold what was spent; `key_file` names subjects in them, and only scope All has none."""

    namespace: Name
    policy: Name
    server: Annotated[str, msgspec.Meta(pattern="^https://[^/?#@]+", max_length=2048)]
    token_file: Name
    ca_file: Name
    key_file: Name | None = None


class DifferentialPrivacy(Record, frozen=True):
    """One output is answered at random, near the truth; each answered row costs `epsilon`."""

    name: TensorName  # of the output
    mechanism: Literal["RandomizedResponse", "Laplace"]
    epsilon: Epsilon
    budget: Budget
    ledger: LedgerPlace
    labels: Annotated[tuple[Label, ...], msgspec.Meta(min_length=2, max_length=1024)] | None = None
    lower: Bound | None = None
    upper: Bound | None = None

    def __post_init__(self) -> None:
        """Refuse what promises nothing or cannot be kept."""
        if not 0 < self.micro <= MOST_EPSILON:
            raise ValueError("`epsilon` must be above 0 and at most 20")
        if amount.parse(self.budget.epsilon) < self.micro:
            raise ValueError("`budget.epsilon` must be at least `epsilon`: no row could be answered")
        if (self.budget.scope == "Subject") != (self.ledger.key_file is not None):
            raise ValueError("`ledger.keyFile` is for the scope Subject, which needs it")
        if self.mechanism == "RandomizedResponse":
            self._check_labels()
        else:
            self._check_bounds()

    @property
    def micro(self) -> int:
        """Millionths of epsilon that a row costs."""
        return amount.parse(self.epsilon)

    def _check_labels(self) -> None:
        if self.labels is None or self.lower is not None or self.upper is not None:
            raise ValueError("RandomizedResponse takes `labels`, and neither `lower` nor `upper`")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("`labels` must differ from each other")

    def _check_bounds(self) -> None:
        if self.labels is not None or self.lower is None or self.upper is None:
            raise ValueError("Laplace takes `lower` and `upper`, and no `labels`")
        if not float(self.lower) < float(self.upper):
            raise ValueError("`lower` must be below `upper`")
