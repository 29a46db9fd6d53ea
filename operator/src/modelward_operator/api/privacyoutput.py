"""`output` of a PrivacyPolicy: what may be returned. Read by `privacypolicy.py`."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StrictBool, StrictInt

from modelward_operator.api.differentialprivacy import DifferentialPrivacy
from modelward_operator.api.privacyinput import TensorName
from modelward_operator.api.types import Decimal, ListedBy, Rule, Struct


class OutputTensor(Struct):
    """What of one output is returned."""

    rules = (
        Rule(
            "has(self.drop) || has(self.labelOnly) || has(self.topK) || has(self.decimals)",
            lambda it: it.drop is not None or it.label_only is not None or it.top_k or it.decimals is not None,
            "an output needs a rule: drop, labelOnly, topK or decimals",
        ),
        Rule(
            "!(has(self.drop) && self.drop) || !(has(self.labelOnly) || has(self.topK) || has(self.decimals))",
            lambda it: not it.drop or (it.label_only is None and it.top_k is None and it.decimals is None),
            "an output that is dropped takes no other rule",
        ),
        Rule(
            "!(has(self.labelOnly) && self.labelOnly) || !(has(self.topK) || has(self.decimals))",
            lambda it: not it.label_only or (it.top_k is None and it.decimals is None),
            "labelOnly leaves one label and no scores: leave topK and decimals out",
        ),
    )

    name: TensorName = Field(description="Name of the output, as the model's metadata says it.")
    drop: StrictBool | None = Field(default=None, description="True: the output is not returned, whoever asks for it.")
    label_only: StrictBool | None = Field(
        default=None,
        description="True: only a label is returned: the model's own, or of these scores 1 for the greatest and 0 for all others. Every "
        "other output is dropped.",
    )
    top_k: StrictInt | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="The k greatest along the last axis stay, the others become 0; after rounding.",
    )
    decimals: StrictInt | None = Field(
        default=None, ge=0, le=15, description="Scores are rounded to this many decimals."
    )


class Distribution(StrEnum):
    """How noise is distributed."""

    GAUSSIAN = "Gaussian"
    LAPLACE = "Laplace"
    UNIFORM = "Uniform"


class Noise(Struct):
    """Noise on one output. It promises nothing: it is not differential privacy."""

    rules = (
        Rule(
            "double(self.scale) > 0.0",
            lambda it: float(it.scale) > 0,
            "scale must be greater than 0: noise of no size is none",
        ),
    )

    name: TensorName = Field(description="Name of the output, as the model's metadata says it.")
    distribution: Distribution = Field(description="Gaussian, Laplace or Uniform, each with mean 0.")
    scale: Decimal = Field(
        description="Its size: the standard deviation of Gaussian, the scale b of Laplace, half the width of Uniform.",
        examples=["0.01"],
    )


class Output(Struct):
    """What may be returned."""

    rules = (
        Rule(
            "has(self.tensors) || has(self.perturbation) || has(self.differentialPrivacy)",
            lambda it: it.tensors or it.perturbation or it.differential_privacy,
            "output needs a rule: tensors, perturbation or differentialPrivacy; without any, leave it out",
        ),
        Rule(
            "!has(self.perturbation) || !has(self.differentialPrivacy)",
            lambda it: it.perturbation is None or it.differential_privacy is None,
            "perturbation and differentialPrivacy exclude each other: one promises nothing, and the other leaves one output",
        ),
        Rule(
            "!has(self.differentialPrivacy) || !has(self.tensors) || !self.tensors.exists(t, t.name == self.differentialPrivacy.name && "
            "has(t.drop) && t.drop)",
            lambda it: (
                it.differential_privacy is None
                or not any(tensor.drop and tensor.name == it.differential_privacy.name for tensor in it.tensors or ())
            ),
            "the output of differentialPrivacy is dropped: nothing would be answered",
        ),
        Rule(
            "!has(self.tensors) || !has(self.perturbation) || !self.perturbation.exists(p, self.tensors.exists(t, t.name == p.name && "
            "has(t.drop) && t.drop))",
            lambda it: (
                not (
                    {noise.name for noise in it.perturbation or ()}
                    & {tensor.name for tensor in it.tensors or () if tensor.drop}
                )
            ),
            "an output that is dropped takes no perturbation",
        ),
    )

    tensors: Annotated[list[OutputTensor], Field(min_length=1, max_length=64), ListedBy("name")] | None = Field(
        default=None, description="Rules by output."
    )
    perturbation: Annotated[list[Noise], Field(min_length=1, max_length=64), ListedBy("name")] | None = Field(
        default=None,
        description="Noise by output, before all else. No promise is made: it is not differential privacy.",
    )
    differential_privacy: DifferentialPrivacy | None = Field(
        default=None,
        description="One output answered at random with a promise, and a budget for it. Rules of `tensors` for that output come after it.",
    )
