"""A privacy policy once it is checked against the model: frozen, and nothing left to look up or to doubt while requests run.

Made by `compile.py`, swapped as one value by `exchange.py`, applied by `states.clear` and `states.release`. A request is cleared and
released under the same `Rules`, whatever arrives meanwhile. Applying must not change an array that it is given: arrays may be
views of the caller's bytes, and raw outputs views of a batch that others share.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from modelward_runtime.errors import PolicyViolated
from modelward_runtime.model import Array, Face, Model, face_of

if TYPE_CHECKING:
    from modelward_runtime.epsilon.promise import Paid, Promise

Step = Callable[[Array], Array]
"""A check or a change of one tensor: the array itself, or another; raises `PolicyViolated`."""

Steps = Mapping[str, tuple[Step, ...]]

OFF_LOOP_TEXT = 1 << 15  # bytes of a request in which text is searched that would hold up probes


class Rules(msgspec.Struct, frozen=True):
    """What holds for each request. Without a policy: nothing."""

    face: Face
    inputs: Steps = {}
    outputs: Steps = {}
    max_elements: int | None = None
    max_text_bytes: int | None = None
    searches_text: bool = False
    policy: str = ""
    policy_generation: int = 0
    promise: "Promise | None" = None

    @property
    def governed(self) -> bool:
        """A policy holds: what goes wrong is told without the caller's values, too."""
        return bool(self.policy)

    def clear(self, sent: Mapping[str, Array]) -> Mapping[str, Array]:
        """What the model may see: sizes first, then each tensor. Raises `PolicyViolated`."""
        if self.max_elements is not None:
            _check_elements(sent, self.max_elements)
        if self.max_text_bytes is not None:
            _check_text(sent, self.max_text_bytes)
        if not self.inputs:
            return sent
        return {name: _apply(self.inputs.get(name, ()), array) for name, array in sent.items()}

    async def pay(self, cleared: Mapping[str, Array], subject: str, deadline: float) -> "Paid | None":
        """Spend what the answer will cost of a privacy budget, if there is one. Raises `ApiError`."""
        return None if self.promise is None else await self.promise.pay(cleared.values(), subject, deadline)

    def put_back(self, paid: "Paid | None") -> None:
        """The model has not seen this request."""
        if self.promise is not None and paid is not None:
            self.promise.put_back(paid)

    def takes_long(self, arrays: Sequence[Array]) -> bool:
        """Releasing these would hold up probes, however few bytes they are."""
        return self.promise is not None and self.promise.takes_long(arrays)

    def release(self, names: Sequence[str], arrays: Sequence[Array], paid: "Paid | None" = None) -> dict[str, Array]:
        """What the caller may see: what is answered at random comes first, and every other step works on that."""
        found = dict(zip(names, arrays, strict=True))
        if self.promise is not None:
            found = self.promise.keep(found, paid)
        if not self.outputs:
            return found
        return {name: _apply(self.outputs.get(name, ()), array) for name, array in found.items()}


def ungoverned(model: Model) -> Rules:
    """No policy: everything may be seen."""
    return Rules(face_of(model))


def _apply(steps: Sequence[Step], array: Array) -> Array:
    for step in steps:
        array = step(array)
    return array


def _check_elements(sent: Mapping[str, Array], most: int) -> None:
    count = sum(array.size for array in sent.values())
    if count > most:
        raise PolicyViolated("too-many-elements", f"{count} elements were sent, {most} may be")


def _check_text(sent: Mapping[str, Array], most: int) -> None:
    size = sum(_text_bytes(array) for array in sent.values() if array.dtype.hasobject)
    if size > most:
        raise PolicyViolated("text-too-long", f"{size} bytes of text were sent, {most} may be")


def _text_bytes(array: Array) -> int:
    """Bytes in UTF-8; of plain ASCII, which knows its length, without encoding it."""
    elements: list[str] = array.ravel().tolist()
    return sum(len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")) for text in elements)
