"""The section `privacy` of policy.json, as records. `compile.py` makes rules of it; whether they fit the model is known only there."""

from typing import Annotated, Literal

import msgspec

from modelward_runtime.contract import Name, NotNegative, Positive, Record, TensorName
from modelward_runtime.epsilon.config import DifferentialPrivacy

Number = Annotated[str, msgspec.Meta(pattern=r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?$", max_length=40)]
Scale = Annotated[str, msgspec.Meta(pattern=r"^(?=.*[1-9])(0|[1-9][0-9]*)(\.[0-9]+)?$", max_length=40)]
Kind = Literal["Email", "Phone", "PaymentCard", "IBAN", "CNResidentID", "IPAddress", "Credential"]
Action = Literal["Reject", "Mask", "Hash"]
Distribution = Literal["Gaussian", "Laplace", "Uniform"]


class Columns(Record, frozen=True):
    """Columns along the last axis, by index or by the model's feature names; both ends of the range are allowed values."""

    indices: tuple[NotNegative, ...] = ()
    names: tuple[TensorName, ...] = ()
    action: Literal["Zero"] | None = None
    minimum: Number | None = None
    maximum: Number | None = None


class InputTensor(Record, frozen=True):
    """What holds for one input. `Drop`: what the caller sends is ignored, and the model's own default holds."""

    name: TensorName
    action: Literal["Zero", "Drop"] | None = None
    non_finite: Literal["Reject", "Allow"] | None = None
    columns: tuple[Columns, ...] = ()
    minimum: Number | None = None
    maximum: Number | None = None


class Pii(Record, frozen=True):
    """What is done about which kinds of personal data; no `tensors`: in every BYTES input."""

    kinds: Annotated[tuple[Kind, ...], msgspec.Meta(min_length=1)]
    action: Action
    tensors: tuple[TensorName, ...] = ()


class Input(Record, frozen=True):
    """What may be received."""

    max_elements: Positive | None = None
    max_text_bytes: Positive | None = None
    tensors: tuple[InputTensor, ...] = ()
    pii: tuple[Pii, ...] = ()
    hash_key_file: Name | None = None


class OutputTensor(Record, frozen=True):
    """What may be returned of one output."""

    name: TensorName
    drop: bool = False
    top_k: Positive | None = None
    decimals: Annotated[int, msgspec.Meta(ge=0, le=15)] | None = None
    label_only: bool = False


class Perturbation(Record, frozen=True):
    """Noise on one output. It promises nothing."""

    name: TensorName
    distribution: Distribution
    scale: Scale


class Output(Record, frozen=True):
    """What may be returned."""

    tensors: tuple[OutputTensor, ...] = ()
    perturbation: tuple[Perturbation, ...] = ()
    differential_privacy: DifferentialPrivacy | None = None


class Privacy(Record, frozen=True):
    """The PrivacyPolicy that holds, by name and generation, and what it says to the runtime."""

    policy: Name
    policy_generation: Positive
    input: Input = Input()
    output: Output = Output()
