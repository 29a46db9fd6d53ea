"""The states a request passes through, as types, so that no path can skip a step.

    Decoded ──clear──▶ Cleared ──Batcher.run──▶ Raw ──release──▶ Released

Only `clear` and `release` make a `Cleared` and a `Released` (a test holds that), the batcher takes nothing but `Cleared`,
encoders take nothing but `Released`: `mypy --strict` refuses a path that forgets a step. What a policy does to a request's
inputs and outputs is done in these two functions, by the rules that `privacy/` made of it. Used by `exchange.py`; must not know
transports.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from modelward_runtime.model import Array
from modelward_runtime.privacy.rules import Rules

if TYPE_CHECKING:
    from modelward_runtime.epsilon.promise import Paid


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """Tensors that fit the model, in the model's order, as some caller sent them; `outputs` is never empty."""

    inputs: dict[str, Array]
    outputs: tuple[str, ...]


class Cleared(msgspec.Struct, frozen=True, gc=False):
    """Tensors that the model may see."""

    inputs: Mapping[str, Array]
    outputs: tuple[str, ...]


class Raw(msgspec.Struct, frozen=True, gc=False):
    """What the model said for one caller: one array per requested output, in that order."""

    arrays: list[Array]


class Released(msgspec.Struct, frozen=True, gc=False):
    """What the caller may see, by output name, in the requested order."""

    outputs: dict[str, Array]


def clear(decoded: Decoded, rules: Rules) -> Cleared:
    """What the model may see of what was sent. Raises `PolicyViolated`."""
    return Cleared(rules.clear(decoded.inputs), decoded.outputs)


def release(cleared: Cleared, raw: Raw, rules: Rules, paid: "Paid | None") -> Released:
    """What the caller may see of what the model said; `rules` are those that the request was cleared by, and was paid under."""
    return Released(rules.release(cleared.outputs, raw.arrays, paid))
