"""Masks personal data in the texts of a payload record, whatever the policy's own rules let the model and the caller see.

Called by `log.py` before anything is cut: half a card number is none to a recogniser, and still half of one to a reader. So a text is
searched as a whole or not logged. Every kind that `privacy/pii` knows is masked, each element by itself, as action Mask does it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from modelward_runtime.model import Array
from modelward_runtime.privacy.pii import scan
from modelward_runtime.privacy.pii.replace import mask, replace

MOST_SEARCHED: Final = 1 << 20  # characters of a record: what is over is not logged

Elements = Mapping[str, list[str]]


@dataclass(frozen=True)
class Texts:
    """The elements of a call's BYTES tensors that may be logged, by tensor: the first ones, each of them whole."""

    inputs: Elements
    outputs: Elements
    characters: int

    def redacted(self) -> "Texts":
        """The same without personal data."""
        inputs, outputs = ({name: _mask(some) for name, some in part.items()} for part in (self.inputs, self.outputs))
        return Texts(inputs, outputs, self.characters)


NO_TEXTS: Final = Texts({}, {}, 0)


def texts_of(inputs: Mapping[str, Array], outputs: Mapping[str, Array], most_elements: int) -> Texts:
    """The texts of a call as they are, inputs first, until `MOST_SEARCHED`; of each tensor so many elements at most."""
    room = MOST_SEARCHED
    parts: list[dict[str, list[str]]] = []
    for arrays in (inputs, outputs):
        part: dict[str, list[str]] = {}
        for name, array in arrays.items():
            if array.dtype.hasobject:
                part[name] = _first(array.ravel()[:most_elements].tolist(), room)
                room -= sum(map(len, part[name]))
        parts.append(part)
    return Texts(parts[0], parts[1], MOST_SEARCHED - room)


def _first(elements: list[str], room: int) -> list[str]:
    for number, element in enumerate(elements):
        room -= len(element)
        if room < 0:
            return elements[:number]
    return elements


def _mask(elements: list[str]) -> list[str]:
    matches = scan.find(elements, scan.RECOGNISERS)
    if not matches:
        return elements
    return replace(elements, matches, scan.RECOGNISERS, lambda match, found: mask(match.kind, found))
