"""The half of `compile.py` that is about inputs: records to steps, or problems.

The order of a tensor's steps is fixed: non-finite, ranges, personal data, zeros; checks see what the caller sent.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from modelward_runtime import bfloat16
from modelward_runtime.model import NUMPY_TYPES, Model, TensorSpec
from modelward_runtime.privacy.config import Action, Columns, Input, InputTensor, Pii
from modelward_runtime.privacy.input import Bound, Finite, OfBits, Personal, Range, Selection, Zero
from modelward_runtime.privacy.pii import fold
from modelward_runtime.privacy.pii.replace import Replacement, hasher, mask
from modelward_runtime.privacy.pii.scan import RECOGNISERS, Kind
from modelward_runtime.privacy.problems import Problems, listed
from modelward_runtime.privacy.rules import Step, Steps
from modelward_runtime.properties import names_in

FLOATS = frozenset({"FP16", "FP32", "FP64", "BF16"})
INTEGERS = frozenset({"UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"})


@dataclass(frozen=True)
class Inputs:
    """What the input half comes to."""

    steps: Steps
    dropped: frozenset[str]
    searches_text: bool


def compile_inputs(policy: Input, model: Model, problems: Problems, key: bytes | None) -> Inputs:
    """Steps for each input that a rule speaks of."""
    steps: dict[str, list[Step]] = {}
    zeros: dict[str, list[Step]] = {}
    dropped: set[str] = set()
    seen: set[str] = set()
    for number, tensor in enumerate(policy.tensors):
        place = problems.at(f"tensors[{number}]")
        if tensor.name in seen:
            place.at("name").add(
                f"input '{tensor.name}' has an entry already: one entry says everything about a tensor"
            )
        seen.add(tensor.name)
        if tensor.action == "Drop":
            _drop(tensor, model, place)
            dropped.add(tensor.name)
            continue
        spec = _find(tensor.name, model, place.at("name"))
        if spec:
            steps[spec.name] = _checks(tensor, spec, model, place)
            zeros[spec.name] = _zeros(tensor, spec, model)
    personal = _personal(policy, model, problems, key)
    for name, step in personal.items():
        steps.setdefault(name, []).append(step)
    for name, more in zeros.items():
        steps[name] += more
    return Inputs({name: tuple(some) for name, some in steps.items() if some}, frozenset(dropped), bool(personal))


def _find(name: str, model: Model, place: Problems) -> TensorSpec | None:
    for spec in model.inputs:
        if spec.name == name:
            return spec
    place.add(f"the model has no input '{name}', it has: {listed(spec.name for spec in model.inputs)}")
    return None


def _drop(tensor: InputTensor, model: Model, place: Problems) -> None:
    """What is dropped must be optional or have a default; nothing else can be said about it."""
    if tensor.name in {spec.name for spec in model.inputs if not spec.optional}:
        place.at("action").add(f"the model has no default for input '{tensor.name}' and cannot run without: use Zero")
    elif tensor.name not in model.defaults:
        _find(tensor.name, model, place.at("name"))
    if tensor.columns or tensor.minimum or tensor.maximum or tensor.non_finite:
        place.add("a tensor that is dropped is not looked at: leave the other rules out")


def _checks(tensor: InputTensor, spec: TensorSpec, model: Model, place: Problems) -> list[Step]:
    steps: list[Step] = []
    if tensor.non_finite == "Reject":
        if spec.datatype in FLOATS:
            steps.append(_seen(Finite(spec.name), spec))
        else:
            place.at("nonFinite").add(f"input '{spec.name}' is {spec.datatype}, which has no NaN and no infinity")
    nan_allowed = tensor.non_finite == "Allow" and spec.datatype in FLOATS
    whole = Selection(None, f"input '{spec.name}'")
    steps += _range(whole, tensor.minimum, tensor.maximum, spec, place, nan_allowed=nan_allowed)
    for number, columns in enumerate(tensor.columns):
        below = place.at(f"columns[{number}]")
        selection = _select(columns, spec, model, below)
        if columns.action is None and columns.minimum is None and columns.maximum is None:
            below.add("says nothing to do: give an action, a minimum or a maximum")
        if selection:
            steps += _range(selection, columns.minimum, columns.maximum, spec, below, nan_allowed=nan_allowed)
    return steps


def _zeros(tensor: InputTensor, spec: TensorSpec, model: Model) -> list[Step]:
    """What is replaced; its problems were told by `_checks`."""
    nothing = "" if spec.datatype == "BYTES" else 0
    if tensor.action == "Zero":
        return [Zero(Selection(None, f"input '{spec.name}'"), nothing)]
    silent = Problems("")
    selections = [_select(columns, spec, model, silent) for columns in tensor.columns if columns.action == "Zero"]
    return [Zero(selection, nothing) for selection in selections if selection]


def _select(columns: Columns, spec: TensorSpec, model: Model, place: Problems) -> Selection | None:
    """Which columns are meant; None, and why, when they cannot be."""
    if len(spec.shape) < 2:
        place.add(f"input '{spec.name}' has {len(spec.shape)} axes: columns need two or more")
        return None
    width = spec.shape[-1]
    wanted = list(columns.indices)
    for number, index in enumerate(columns.indices):
        if 0 <= width <= index:
            place.at(f"indices[{number}]").add(
                f"column {index} is out of range, input '{spec.name}' has {width} columns"
            )
    wanted += _resolve(columns, spec, model, place)
    if not (columns.indices or columns.names):
        place.add("names no column: give indices or names")
    if not wanted:
        return None
    chosen = tuple(dict.fromkeys(wanted))
    return Selection(chosen, f"input '{spec.name}', column{'s' * (len(chosen) > 1)} {listed(map(str, chosen))}")


def _resolve(columns: Columns, spec: TensorSpec, model: Model, place: Problems) -> list[int]:
    """Indices of feature names, by the model's metadata."""
    if not columns.names:
        return []
    features = names_in(model.properties.get("feature_names", ""))
    if not features:
        place.at("names").add("the model's metadata have no feature_names: give indices")
        return []
    if spec.shape[-1] not in {-1, len(features)}:
        place.at("names").add(
            f"the model's metadata name {len(features)} features, input '{spec.name}' has {spec.shape[-1]} columns: give indices"
        )
        return []
    found = []
    for number, name in enumerate(columns.names):
        if features.count(name) == 1:
            found.append(features.index(name))
        else:
            # which names there are is not said: they are from the inside of a model that may be sealed
            why = "is not one of" if name not in features else "stands more than once among"
            place.at(f"names[{number}]").add(
                f"'{name}' {why} the {len(features)} feature_names of the model's metadata"
            )
    return found


def _range(
    selection: Selection,
    minimum: str | None,
    maximum: str | None,
    spec: TensorSpec,
    place: Problems,
    *,
    nan_allowed: bool,
) -> list[Step]:
    if minimum is None and maximum is None:
        return []
    if spec.datatype not in FLOATS | INTEGERS:
        place.add(f"input '{spec.name}' is {spec.datatype}, which a range cannot be asked of")
        return []
    if minimum is not None and maximum is not None and Decimal(minimum) > Decimal(maximum):
        place.add(f"minimum {minimum} is greater than maximum {maximum}: no value would be allowed")
        return []
    low, high = _bound(minimum, spec.datatype, up=True), _bound(maximum, spec.datatype, up=False)
    words = f"between {minimum} and {maximum}"
    if maximum is None:
        words = f"{minimum} or more"
    elif minimum is None:
        words = f"{maximum} or less"
    return [_seen(Range(selection, low, high, nan_allowed, words), spec)]


def _seen(check: Finite | Range, spec: TensorSpec) -> Step:
    """The check as it can be asked of the tensor's arrays."""
    return OfBits(check) if spec.datatype == "BF16" else check


def _bound(text: str | None, datatype: str, *, up: bool) -> Bound | None:
    """A bound as the datatype spells it, so that a caller's 0.1 is within a maximum of 0.1; of integers, the next one inside.

    Of floats there always is one, finite where a finite value can satisfy it: an infinity lies in no range.
    """
    limit = _largest(datatype) if datatype in FLOATS else math.inf
    if text is None:
        return None if datatype in INTEGERS else -limit if up else limit
    if datatype in INTEGERS:
        return math.ceil(Decimal(text)) if up else math.floor(Decimal(text))
    bound = _spelled(text, datatype)
    return max(bound, -limit) if up else min(bound, limit)


def _largest(datatype: str) -> float:
    return bfloat16.MOST if datatype == "BF16" else float(np.finfo(NUMPY_TYPES[datatype]).max)


def _spelled(text: str, datatype: str) -> float:
    """A decimal number as the floating-point type has it, an infinity where it has none so large."""
    if datatype == "BF16":
        return float(bfloat16.widen(bfloat16.narrow(np.array(text, np.float64))))
    with np.errstate(over="ignore"):
        return float(NUMPY_TYPES[datatype].type(text))


def _personal(policy: Input, model: Model, problems: Problems, key: bytes | None) -> dict[str, Personal]:
    """One step for each BYTES input that a rule about personal data speaks of."""
    actions: dict[str, dict[Kind, Action]] = {}
    for number, rule in enumerate(policy.pii):
        place = problems.at(f"pii[{number}]")
        if rule.action == "Hash" and policy.hash_key_file is None:
            place.at("action").add("Hash needs a key: give hashKeyFile")
        for name in _texts(rule, model, place):
            for kind in rule.kinds:
                before = actions.setdefault(name, {}).setdefault(kind, rule.action)
                if before != rule.action:
                    place.at("kinds").add(
                        f"{kind} in input '{name}' is to be {before} by a rule above, and {rule.action} here"
                    )
    if actions:
        fold.prepare()
    hashed: Replacement = hasher(key) if key else mask
    return {name: Personal(name, _by_severity(chosen), hashed) for name, chosen in actions.items()}


def _texts(rule: Pii, model: Model, place: Problems) -> list[str]:
    """The BYTES inputs that a rule is about."""
    if not rule.tensors:
        return [spec.name for spec in model.inputs if spec.datatype == "BYTES"]
    names = []
    for number, name in enumerate(rule.tensors):
        here = place.at(f"tensors[{number}]")
        spec = _find(name, model, here)
        if spec and spec.datatype != "BYTES":
            here.add(f"input '{name}' is {spec.datatype}: personal data is looked for in BYTES")
        elif spec:
            names.append(name)
    return names


def _by_severity(chosen: Mapping[Kind, Action]) -> dict[Kind, Action]:
    return {kind: chosen[kind] for kind in RECOGNISERS if kind in chosen}
