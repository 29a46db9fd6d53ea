"""`output.differentialPrivacy` of a PrivacyPolicy: one output answered at random, and the budget that its answers cost.

Read by `privacyoutput.py`. What is promised and what is not: runtime/DIFFERENTIAL_PRIVACY.md. The runtime checks the rest against the
model, whose outputs nobody here knows: every other output must be dropped.
"""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from modelward_operator.api.privacyinput import TensorName
from modelward_operator.api.types import Decimal, Distinct, Matches, Rule, SecretKeyRef, Struct

MOST_EPSILON: Final = 20
"""Of a row. The runtime knows the same number."""

Epsilon = Annotated[
    str,
    StringConstraints(min_length=1, max_length=16),
    Matches(
        r"^(0|[1-9][0-9]{0,5})([.][0-9]{1,6})?$",
        'epsilon must be a decimal number in quotes with at most six decimals, for example "0.5"',
    ),
]
Label = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    Matches(r"^[^\x00-\x1f\x7f]+$", "a label must be one that the model may answer, in quotes"),
]


class Mechanism(StrEnum):
    """How an answer is made random."""

    RANDOMIZED_RESPONSE = "RandomizedResponse"
    LAPLACE = "Laplace"


class Period(StrEnum):
    """How long a budget holds, in UTC."""

    HOUR = "Hour"
    DAY = "Day"
    WEEK = "Week"
    MONTH = "Month"


class Scope(StrEnum):
    """Whose budget it is."""

    SUBJECT = "Subject"
    ALL = "All"


class EpsilonBudget(Struct):
    """How much may be spent."""

    epsilon: Epsilon = Field(
        description="What all answered rows of a period may cost together. At the end of it calls get 403 and the time at which it begins "
        "anew.",
        examples=["50"],
    )
    period: Period = Field(
        description="Hour, Day, Week (from Monday) or Month, of the calendar in UTC. A period that was begun under a longer one ends with "
        "that."
    )
    scope: Scope = Field(
        description="Subject: each caller has a budget of their own; callers who join hands have the sum of theirs. All: one budget for "
        "whoever calls any model under this policy."
    )


def _labels_or_bounds(it: Any) -> bool:  # noqa: ANN401  a DifferentialPrivacy, which is not defined yet
    has_bounds = it.lower is not None and it.upper is not None
    if it.mechanism is Mechanism.RANDOMIZED_RESPONSE:
        return it.labels is not None and it.lower is None and it.upper is None
    return it.labels is None and has_bounds


class DifferentialPrivacy(Struct):
    """One output is answered at random, near the truth, and each answered row costs epsilon."""

    rules = (
        Rule(
            "self.mechanism == 'RandomizedResponse' ? has(self.labels) && !has(self.lower) && !has(self.upper) : "
            "!has(self.labels) && has(self.lower) && has(self.upper)",
            _labels_or_bounds,
            "mechanism RandomizedResponse takes labels; Laplace takes lower and upper; neither takes what is the other's",
        ),
        Rule(
            "!has(self.lower) || !has(self.upper) || double(self.lower) < double(self.upper)",
            lambda it: it.lower is None or it.upper is None or float(it.lower) < float(it.upper),
            "lower must be below upper",
        ),
        Rule(
            f"double(self.epsilon) > 0.0 && double(self.epsilon) <= {MOST_EPSILON}.0",
            lambda it: 0 < float(it.epsilon) <= MOST_EPSILON,
            f"epsilon must be above 0 and at most {MOST_EPSILON}: beyond it hardly any answer is changed",
        ),
        Rule(
            "double(self.epsilon) <= double(self.budget.epsilon)",
            lambda it: float(it.epsilon) <= float(it.budget.epsilon),
            "budget.epsilon must be at least epsilon, or no row could be answered",
        ),
        Rule(
            "has(self.subjectKeyRef) == (self.budget.scope == 'Subject')",
            lambda it: (it.subject_key_ref is not None) == (it.budget.scope is Scope.SUBJECT),
            "scope Subject needs subjectKeyRef, by which the ledger names callers; scope All names nobody",
        ),
    )

    name: TensorName = Field(
        description="Name of the one output that is answered. Every other output must be dropped by `tensors`, or the model is not "
        "served: it would tell what the mechanism hides.",
        examples=["label"],
    )
    mechanism: Mechanism = Field(
        description="RandomizedResponse: the label with probability e^epsilon/(e^epsilon+k-1) among k labels, else another. Laplace: the "
        "number, clipped to its bounds, with Laplace noise of the scale (upper - lower) x values in a row / epsilon, clipped again."
    )
    epsilon: Epsilon = Field(
        description="What one answered row costs and reveals at most; a call of 1,000 rows costs 1,000 times as much.",
        examples=["0.5"],
    )
    labels: Annotated[list[Label], Field(min_length=2, max_length=1024), Distinct()] | None = Field(
        default=None,
        description="RandomizedResponse: every label that may be answered, numbers in quotes as well. One that is not among them counts as "
        "the first.",
        examples=[["0", "1", "2"]],
    )
    lower: Decimal | None = Field(
        default=None,
        description="Laplace: the least answer; a smaller one, and not-a-number, count as this.",
        examples=["0"],
    )
    upper: Decimal | None = Field(
        default=None, description="Laplace: the greatest answer; a greater one counts as this.", examples=["1"]
    )
    budget: EpsilonBudget = Field(description="How much may be spent in a period.")
    subject_key_ref: SecretKeyRef | None = Field(
        default=None,
        description="Scope Subject: key of a Secret, at least 16 random bytes, by which the ledger names callers (HMAC): nobody reads "
        "in it who they are. With another key nobody is answered, for everybody's budget would begin anew.",
    )
