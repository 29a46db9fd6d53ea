"""The half of `compile.py` that is about outputs: records to steps and withheld names, or problems."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelward_runtime.model import Model, TensorSpec
from modelward_runtime.privacy.compile_input import FLOATS, INTEGERS
from modelward_runtime.privacy.config import Output, OutputTensor, Perturbation
from modelward_runtime.privacy.output import Decimals, Largest, Noise, OnBits, OneHot
from modelward_runtime.privacy.problems import Problems, listed
from modelward_runtime.privacy.rules import Step, Steps

if TYPE_CHECKING:
    from modelward_runtime.epsilon.promise import Promise


@dataclass(frozen=True)
class Outputs:
    """What the output half comes to."""

    steps: Steps
    withheld: frozenset[str]


def compile_outputs(policy: Output, model: Model, problems: Problems) -> Outputs:
    """Steps for each output that a rule speaks of, in the order of `output.py`, and the outputs that nobody gets."""
    steps: dict[str, list[Step]] = {spec.name: [] for spec in model.outputs}
    for number, noise in enumerate(policy.perturbation):
        _perturb(noise, model, steps, problems.at(f"perturbation[{number}]"))
    seen: set[str] = set()
    for number, tensor in enumerate(policy.tensors):
        place = problems.at(f"tensors[{number}]")
        if tensor.name in seen:
            place.at("name").add(
                f"output '{tensor.name}' has an entry already: one entry says everything about a tensor"
            )
        seen.add(tensor.name)
        spec = _find(tensor.name, model, place.at("name"))
        if spec:
            steps[spec.name] += _coarsen(tensor, spec, place)
    withheld = _withhold(policy, model, steps, problems)
    _refuse_void(policy, withheld, problems)
    return Outputs({spec.name: _taken(steps[spec.name], spec) for spec in model.outputs if steps[spec.name]}, withheld)


def _taken(steps: list[Step], spec: TensorSpec) -> tuple[Step, ...]:
    """The steps as they can be taken on the tensor's arrays."""
    return (OnBits(tuple(steps)),) if spec.datatype == "BF16" else tuple(steps)


def compile_promise(
    policy: Output, model: Model, outputs: Outputs, place: Problems, before: "Promise | None"
) -> "Promise | None":
    """The promise of differential privacy, where there is one: the same as `before` where nothing about it has changed."""
    section = policy.differential_privacy
    if section is None:
        return None
    from modelward_runtime.epsilon.promise import Unfit, promise_of  # noqa: PLC0415  start-up: for policies that ask for it

    if policy.perturbation:
        place.add("leave perturbation out: one promises nothing, and the other leaves one output")
    try:
        promise = promise_of(section, model, outputs.withheld)
    except Unfit as unfit:
        place.add(str(unfit))
        return None
    return before if before is not None and before.section == section else promise


def _find(name: str, model: Model, place: Problems) -> TensorSpec | None:
    for spec in model.outputs:
        if spec.name == name:
            return spec
    place.add(f"the model has no output '{name}', it has: {listed(spec.name for spec in model.outputs)}")
    return None


def _perturb(noise: Perturbation, model: Model, steps: dict[str, list[Step]], place: Problems) -> None:
    spec = _find(noise.name, model, place.at("name"))
    if spec is None:
        return
    if spec.datatype not in FLOATS:
        place.add(f"output '{spec.name}' is {spec.datatype}: noise needs FP16, BF16, FP32 or FP64")
    elif steps[spec.name]:
        place.at("name").add(f"output '{spec.name}' has noise already")
    else:
        steps[spec.name].append(Noise(noise.distribution, float(noise.scale)))


def _coarsen(tensor: OutputTensor, spec: TensorSpec, place: Problems) -> list[Step]:
    steps: list[Step] = []
    if tensor.decimals is not None:
        steps.append(Decimals(tensor.decimals))
        if spec.datatype not in FLOATS:
            place.at("decimals").add(
                f"output '{spec.name}' is {spec.datatype}: rounding needs FP16, BF16, FP32 or FP64"
            )
    if tensor.top_k is not None:
        steps.append(Largest(tensor.top_k))
        if spec.datatype not in FLOATS | INTEGERS:
            place.at("topK").add(f"output '{spec.name}' is {spec.datatype}, which has no largest")
        if len(spec.shape) < 2:
            place.at("topK").add(
                f"output '{spec.name}' has {len(spec.shape)} axes: the k largest of a row need two or more"
            )
    if tensor.drop and (steps or tensor.label_only):
        place.add("an output that is dropped can have no other rule")
    if tensor.label_only and steps:
        place.add("of the largest only, neither decimals nor others of the k largest are left: leave those rules out")
    if not (tensor.drop or tensor.label_only or steps):
        place.add("says nothing to do: give drop, topK, decimals or labelOnly")
    return steps


def _withhold(policy: Output, model: Model, steps: dict[str, list[Step]], problems: Problems) -> frozenset[str]:
    """Who is dropped by name, and who because only the label may be seen."""
    withheld = {tensor.name for tensor in policy.tensors if tensor.drop}
    for number, tensor in enumerate(policy.tensors):
        spec = next((spec for spec in model.outputs if spec.name == tensor.name), None)
        if tensor.label_only and spec:
            label = _label(spec, model, problems.at(f"tensors[{number}].labelOnly"))
            if label is spec and spec.datatype in FLOATS:
                steps[spec.name].append(OneHot())
            withheld |= {other.name for other in model.outputs if other is not label}
    if withheld >= {spec.name for spec in model.outputs}:
        problems.at("tensors").add("no output would be left")
    return frozenset(withheld)


def _label(spec: TensorSpec, model: Model, place: Problems) -> TensorSpec:
    """The one output that says what labelOnly leaves: the model's label, else the scores, of which the largest is marked."""
    if _is_label(spec):
        return spec
    if not _is_scores(spec):
        place.add(
            f"output '{spec.name}' ({spec.datatype} {list(spec.shape)}) is neither a label nor the scores of classes"
        )
        return spec
    labels = [other for other in model.outputs if _is_label(other)]
    if len(labels) > 1:
        place.add(f"the model has several labels, name one: {listed(label.name for label in labels)}")
    return labels[0] if labels else spec


def _is_label(spec: TensorSpec) -> bool:
    """One class for each row: an integer, a truth value or a text."""
    single = len(spec.shape) == 1 or (len(spec.shape) == 2 and spec.shape[1] == 1)
    return single and spec.datatype in INTEGERS | {"BOOL", "BYTES"}


def _is_scores(spec: TensorSpec) -> bool:
    """A number for each class of each row."""
    return len(spec.shape) == 2 and spec.shape[1] != 1 and spec.datatype in FLOATS


def _refuse_void(policy: Output, withheld: Iterable[str], problems: Problems) -> None:
    """A rule about what nobody gets would promise what is not done."""
    for number, noise in enumerate(policy.perturbation):
        if noise.name in withheld:
            problems.at(f"perturbation[{number}]").add(f"output '{noise.name}' is not returned at all")
    for number, tensor in enumerate(policy.tensors):
        if tensor.name in withheld and (tensor.decimals is not None or tensor.top_k is not None):
            problems.at(f"tensors[{number}]").add(f"output '{tensor.name}' is not returned at all")
