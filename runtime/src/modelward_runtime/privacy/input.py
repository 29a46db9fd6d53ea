"""What can be checked and changed of an input: each a small frozen value that is called with the tensor.

Made by `compile.py`. Refusals name the tensor and the rule and never a value of the caller's. An array that must change is copied,
for it may be a read-only view of the request's bytes; one that need not is passed on as it is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from modelward_runtime.bfloat16 import widen
from modelward_runtime.errors import PolicyViolated
from modelward_runtime.model import Array
from modelward_runtime.privacy.config import Action
from modelward_runtime.privacy.pii import scan
from modelward_runtime.privacy.pii.replace import Replacement, mask, replace
from modelward_runtime.privacy.pii.scan import Kind, Match

Bound = int | float
_FEW = 32  # elements that Python has looked at before numpy has begun: a row of a table


@dataclass(frozen=True)
class Finite:
    """No NaN and no infinity."""

    tensor: str

    def __call__(self, array: Array) -> Array:
        """The array, or `PolicyViolated`."""
        few = array.size <= _FEW
        if not (all(map(math.isfinite, array.ravel().tolist())) if few else np.isfinite(array).all()):
            raise PolicyViolated("non-finite", f"input '{self.tensor}' has NaN or an infinity")
        return array


@dataclass(frozen=True)
class Selection:
    """Columns along the last axis; None: all of it. `words` is how a refusal names them."""

    columns: tuple[int, ...] | None
    words: str

    def of(self, array: Array) -> Array:
        """A copy of these columns, or the array itself. `PolicyViolated` where a dynamic axis has fewer."""
        if self.columns is None:
            return array
        self.check(array)
        return array[..., self.columns[0]] if len(self.columns) == 1 else array[..., list(self.columns)]

    def check(self, array: Array) -> None:
        """A dynamic axis must have all the columns that the policy speaks of."""
        if self.columns is not None and max(self.columns) >= array.shape[-1]:
            raise PolicyViolated("columns-missing", f"{self.words}: the tensor has only {array.shape[-1]} columns")


@dataclass(frozen=True)
class Range:
    """Every value lies between two bounds, which are allowed themselves. NaN lies nowhere, unless it is `nan_allowed`."""

    selection: Selection
    low: Bound | None
    high: Bound | None
    nan_allowed: bool
    told: str

    def __call__(self, array: Array) -> Array:
        """The array, or `PolicyViolated`."""
        values = self.selection.of(array)
        if not values.size or self._holds(values):
            return array
        if self.nan_allowed:
            values = values[~np.isnan(values)]
            if not values.size or self._holds(values):
                return array
        raise PolicyViolated("out-of-range", f"{self.selection.words}: a value is not {self.told}")

    def _holds(self, values: Array) -> bool:
        if values.size <= _FEW:
            few = values.ravel().tolist()
            return (self.low is None or all(value >= self.low for value in few)) and (
                self.high is None or all(value <= self.high for value in few)
            )
        return (self.low is None or bool(values.min() >= self.low)) and (
            self.high is None or bool(values.max() <= self.high)
        )


@dataclass(frozen=True)
class OfBits:
    """A check of BF16, which numpy sees as 16 bits: it is shown the numbers."""

    check: Finite | Range

    def __call__(self, array: Array) -> Array:
        """The array, or `PolicyViolated`."""
        self.check(widen(array))
        return array


@dataclass(frozen=True)
class Zero:
    """Nothing of the selection is left: zeros, or empty strings."""

    selection: Selection
    nothing: int | str

    def __call__(self, array: Array) -> Array:
        """Another array."""
        if self.selection.columns is None:
            return np.full_like(array, self.nothing)
        self.selection.check(array)
        changed = array.copy()
        for column in self.selection.columns:
            changed[..., column] = self.nothing
        return changed


@dataclass(frozen=True)
class Personal:
    """No personal data in a BYTES tensor: refused, or replaced."""

    tensor: str
    actions: Mapping[Kind, Action]
    hashed: Replacement

    def __call__(self, array: Array) -> Array:
        """The array where nothing was found; another; or `PolicyViolated`."""
        elements: list[str] = array.ravel().tolist()
        touched = False
        for first, last in scan.blocks(elements):
            block = elements[first:last]
            matches = scan.find(block, self.actions)
            for match in matches:
                if self.actions[match.kind] == "Reject":
                    self._refuse(match.kind, f"element {first + match.element}")
            if matches:
                elements[first:last] = replace(block, matches, self.actions, self._put)
                touched = True
        self._refuse_across(array)
        if not touched:
            return array
        changed = np.empty(len(elements), np.object_)
        changed[:] = elements
        return changed.reshape(array.shape)

    def _refuse_across(self, array: Array) -> None:
        """What is split over rows can be refused, but not replaced: no row holds it."""
        kinds = [kind for kind, action in self.actions.items() if action == "Reject"]
        if not kinds or array.ndim == 0 or len(array) < 2:
            return
        for column in array.reshape(len(array), -1).T.tolist():
            found = scan.find_across(column, kinds)
            if found:
                self._refuse(found[0], f"rows {found[1]} and following, taken together")

    def _refuse(self, kind: Kind, where: str) -> None:
        raise PolicyViolated("pii-rejected", f"input '{self.tensor}' holds {kind} ({where})")

    def _put(self, match: Match, found: str) -> str:
        return self.hashed(match.kind, found) if self.actions[match.kind] == "Hash" else mask(match.kind, found)
