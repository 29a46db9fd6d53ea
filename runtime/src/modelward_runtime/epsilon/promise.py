"""One policy's promise: what the model must be like for it, what a call costs, and what of its answer is released.

Built when a policy is taken (`privacy/`), asked by `exchange.py` for each request. The model must answer row by row through one output,
and every other output must be dropped: what else it said would tell what the mechanism hides. A call is paid before the model runs, by
the rows that are sent, so that who has no budget costs no computation; what the model breaks on stays paid.
"""

import asyncio
import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from modelward_runtime.epsilon import amount
from modelward_runtime.epsilon.account import Terms
from modelward_runtime.epsilon.config import DifferentialPrivacy
from modelward_runtime.epsilon.ledger import Ledger, Receipt
from modelward_runtime.epsilon.mechanism import BoundedLaplace, Mechanism, OnBits, RandomisedResponse, Unbuildable
from modelward_runtime.epsilon.shards import Shards
from modelward_runtime.epsilon.subjects import subjects_of
from modelward_runtime.errors import BadRequest, EpsilonRefused, EpsilonUnavailable, InferenceFailed
from modelward_runtime.hmackey import KeyUnusable
from modelward_runtime.model import NUMPY_TYPES, Array, Model, TensorSpec

INTEGERS: Final = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
FLOATS: Final = frozenset({"FP16", "FP32", "FP64", "BF16"})
OFF_LOOP_VALUES: Final = 16  # more are randomised on a thread: each takes up to 0.1 ms


class Unfit(Exception):
    """The policy cannot be kept with this model, or in this process; the text is for who wrote it."""


@dataclass(frozen=True, slots=True)
class Paid:
    """So many rows were paid for."""

    rows: int
    receipt: Receipt


class Promise:
    """The mechanism and the ledger of one policy."""

    def __init__(
        self,
        section: DifferentialPrivacy,
        mechanism: Mechanism,
        ledger: Ledger,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.section = section
        self.ledger = ledger
        self._mechanism = mechanism
        self.close = close
        """Let connections go that are kept; requests under this promise may go on and make new ones."""

    async def pay(self, inputs: Iterable[Array], subject: str, deadline: float) -> Paid:
        """Spend what these rows cost; `deadline` is in the event loop's time. Raises `ApiError`."""
        rows = _rows(inputs)
        if not subject and self.section.budget.scope == "Subject":
            raise EpsilonRefused(
                "epsilon-subject-unknown", "each caller has a budget of their own, and nobody says who calls"
            )
        cost = rows * self.section.micro
        if receipt := self.ledger.take_held(subject, cost):
            return Paid(rows, receipt)
        try:
            async with asyncio.timeout_at(deadline):
                return Paid(rows, await self.ledger.take(subject, cost))
        except TimeoutError:
            raise EpsilonUnavailable("no answer before the request's deadline") from None

    def put_back(self, paid: Paid) -> None:
        """The model has not seen this call."""
        self.ledger.put_back(paid.receipt)

    def takes_long(self, arrays: Iterable[Array]) -> bool:
        """Keeping the promise with so many values holds up an event loop."""
        return sum(array.size for array in arrays) > OFF_LOOP_VALUES

    def keep(self, answers: dict[str, Array], paid: Paid | None) -> dict[str, Array]:
        """The answers at random: of the one output only, and of as many rows as were paid for."""
        name = self.section.name
        if paid is None or answers.keys() != {name} or answers[name].shape[:1] != (paid.rows,):
            raise InferenceFailed("the model did not answer row by row, as the privacy policy needs it")
        return {name: self._mechanism.randomise(answers[name])}

    def report(self) -> dict[str, Any]:
        """The section `epsilon` of the report; no subject is named."""
        remaining = self.ledger.remaining
        return {
            "policy": self.section.ledger.policy,
            "spent": amount.show(self.ledger.counted),
            "reserved": amount.show(self.ledger.reserved),
            "remaining": None if remaining is None else amount.show(remaining),
            "failure": self.ledger.failure,
        }


def promise_of(section: DifferentialPrivacy, model: Model, dropped: Collection[str]) -> Promise:
    """The promise, if this model lets it be kept. Blocks for OpenDP's import. Raises `Unfit`."""
    output = _check_outputs(section, model, dropped)
    _check_rows(model, output)
    terms = Terms(amount.parse(section.budget.epsilon), section.budget.period)
    try:
        mechanism = _mechanism(section, output)
        subjects = subjects_of(section.ledger)
    except (Unbuildable, KeyUnusable) as error:
        raise Unfit(str(error)) from None
    shards = Shards(section.ledger)
    ledger = Ledger(shards, subjects, terms)

    def close() -> None:
        ledger.close()
        shards.close()

    return Promise(section, mechanism, ledger, close)


def _check_outputs(section: DifferentialPrivacy, model: Model, dropped: Collection[str]) -> TensorSpec:
    found = next((output for output in model.outputs if output.name == section.name), None)
    if found is None:
        raise Unfit(f"the model has no output '{section.name}'")
    if section.name in dropped:
        raise Unfit(f"output '{section.name}' is dropped: nothing would be answered")
    if others := [spec.name for spec in model.outputs if spec.name not in {section.name, *dropped}]:
        raise Unfit(f"drop every other output, or it tells what '{section.name}' hides: {', '.join(others)}")
    return found


def _check_rows(model: Model, output: TensorSpec) -> None:
    """A row in is a row out, so that what is paid for is what is answered, and the number of rows tells nothing."""
    firsts = {spec.shape[0] if spec.shape else None for spec in (*model.inputs, output)}
    if len(firsts) != 1 or None in firsts:
        raise Unfit("the inputs and the output must have the same first axis: a row of answers for a row of inputs")
    if any(axis < 0 for axis in output.shape[1:]):
        raise Unfit(f"output '{output.name}': only the first axis may be dynamic")


def _mechanism(section: DifferentialPrivacy, output: TensorSpec) -> Mechanism:
    values = math.prod(output.shape[1:])
    if section.labels is not None:
        if values != 1:
            raise Unfit(f"output '{output.name}' has {values} values a row: RandomizedResponse takes one label a row")
        return RandomisedResponse(_labels(section.labels, output), section.micro)
    if output.datatype not in FLOATS:
        raise Unfit(f"output '{output.name}' is {output.datatype}: Laplace takes {', '.join(sorted(FLOATS))}")
    laplace = BoundedLaplace(float(section.lower or 0), float(section.upper or 0), values, section.micro)
    return OnBits(laplace) if output.datatype == "BF16" else laplace


def _labels(labels: tuple[str, ...], output: TensorSpec) -> Array:
    """The declared labels as the model spells them."""
    if output.datatype == "BYTES":
        array = np.empty(len(labels), np.object_)
        array[:] = labels
        return array
    if output.datatype not in INTEGERS:
        raise Unfit(f"output '{output.name}' is {output.datatype}: RandomizedResponse takes integers or BYTES")
    try:
        array = np.array([int(label) for label in labels], NUMPY_TYPES[output.datatype])
    except (ValueError, OverflowError):
        raise Unfit(f"output '{output.name}' is {output.datatype}, and some of the labels are not") from None
    if len(set(array.tolist())) < len(labels):
        raise Unfit("some of the labels are the same number")
    return array


def _rows(inputs: Iterable[Array]) -> int:
    counts: set[int] = {array.shape[0] for array in inputs}
    if len(counts) != 1:
        raise BadRequest("policy: epsilon-rows: the inputs must have the same number of rows")
    return counts.pop()
