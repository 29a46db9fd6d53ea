"""PrivacyPolicy, the kind that a compliance officer applies: what a model may receive, return, log and keep.

Namespaced, named by `spec.privacy.policyRef` of a ModelDeployment. `policies/privacy` turns it into sections of policy.json, which the
runtime enforces on every request. What each field protects from, what not, and what it costs: `privacyguide.py`.
Sinks, logging and audit are in `auditing.py`.
"""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, StrictBool, StrictInt, StringConstraints

from modelward_operator.api.auditing import Audit, Logging
from modelward_operator.api.differentialprivacy import DifferentialPrivacy, TensorName
from modelward_operator.api.modeldeployment import SecretKeyRef
from modelward_operator.api.types import Decimal, Distinct, ListedBy, Rule, Struct

PRIVACY_KIND: Final = "PrivacyPolicy"
PRIVACY_PLURAL: Final = "privacypolicies"

FeatureName = Annotated[str, StringConstraints(min_length=1, max_length=256)]
"""Bounded in length alone: a rule for each name of each column of each tensor is more than the API server would check."""
ColumnIndex = Annotated[StrictInt, Field(ge=0, le=1_000_000)]
ORDERED_CEL: Final = "!has(self.minimum) || !has(self.maximum) || double(self.minimum) <= double(self.maximum)"


def _ordered(bounds: Any) -> bool:  # noqa: ANN401  a Column or an InputTensor, both with a minimum and a maximum
    return bounds.minimum is None or bounds.maximum is None or float(bounds.minimum) <= float(bounds.maximum)


ORDERED: Final = Rule(ORDERED_CEL, _ordered, "minimum must not exceed maximum: no value could pass")


class ColumnAction(StrEnum):
    """What becomes of some columns."""

    ZERO = "Zero"


class TensorAction(StrEnum):
    """What becomes of a whole input."""

    ZERO = "Zero"
    DROP = "Drop"


class NonFinite(StrEnum):
    """What not-a-number and infinity mean."""

    REJECT = "Reject"
    ALLOW = "Allow"


class Column(Struct):
    """Columns of one input, along its last axis."""

    rules = (
        Rule(
            "has(self.indices) || has(self.names)",
            lambda it: it.indices or it.names,
            "say which columns: by indices, or by names that the model's property feature_names holds",
        ),
        Rule(
            "has(self.action) != (has(self.minimum) || has(self.maximum))",
            lambda it: (it.action is not None) != (it.minimum is not None or it.maximum is not None),
            "columns take either an action or a range: what is zeroed has no range that matters, and neither says nothing",
        ),
        ORDERED,
    )

    indices: Annotated[list[ColumnIndex], Field(min_length=1, max_length=256), Distinct()] | None = Field(
        default=None, description="Columns by their index, from 0.", examples=[[0, 3]]
    )
    names: Annotated[list[FeatureName], Field(min_length=1, max_length=256), Distinct()] | None = Field(
        default=None,
        description="Columns by their names in the model's metadata property feature_names, a JSON list.",
        examples=[["age"]],
    )
    action: ColumnAction | None = Field(
        default=None, description="Zero: the model sees 0 (of text: nothing) in place of what the caller sent."
    )
    minimum: Decimal | None = Field(
        default=None, description="Least value that a caller may send, itself included.", examples=["0"]
    )
    maximum: Decimal | None = Field(
        default=None, description="Greatest value that a caller may send, itself included.", examples=["120"]
    )


class InputTensor(Struct):
    """What one input may hold."""

    rules = (
        Rule(
            "has(self.action) || has(self.nonFinite) || has(self.columns) || has(self.minimum) || has(self.maximum)",
            lambda it: it.action or it.non_finite or it.columns or it.minimum is not None or it.maximum is not None,
            "a tensor needs a rule: action, nonFinite, columns, minimum or maximum",
        ),
        Rule(
            "!has(self.action) || !(has(self.nonFinite) || has(self.columns) || has(self.minimum) || has(self.maximum))",
            lambda it: (
                it.action is None
                or not (it.non_finite or it.columns or it.minimum is not None or it.maximum is not None)
            ),
            "action Zero or Drop throws the values away: leave nonFinite, columns, minimum and maximum out",
        ),
        ORDERED,
    )

    name: TensorName = Field(description="Name of the input, as the model's metadata says it.", examples=["input"])
    action: TensorAction | None = Field(
        default=None,
        description="Zero: the model sees zeros (of text: empty strings). Drop: what the caller sends under this name is removed; only for "
        "an input that the model has a default for.",
    )
    non_finite: NonFinite | None = Field(
        default=None,
        description="Reject: not-a-number and infinity are refused. Allow: not-a-number passes a range as well. Absent: it passes where no "
        "range is.",
    )
    columns: (
        Annotated[
            list[Column],
            Field(min_length=1, max_length=64),
        ]
        | None
    ) = Field(
        default=None,
        description="Rules for some columns, along the last axis.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    minimum: Decimal | None = Field(
        default=None, description="Least value that a caller may send anywhere in it, itself included."
    )
    maximum: Decimal | None = Field(
        default=None, description="Greatest value that a caller may send anywhere in it, itself included."
    )


class PiiKind(StrEnum):
    """A kind of personal data in text."""

    EMAIL = "Email"
    PHONE = "Phone"
    PAYMENT_CARD = "PaymentCard"
    IBAN = "IBAN"
    CN_RESIDENT_ID = "CNResidentID"
    IP_ADDRESS = "IPAddress"
    CREDENTIAL = "Credential"


class PiiAction(StrEnum):
    """What becomes of personal data that was found."""

    REJECT = "Reject"
    MASK = "Mask"
    HASH = "Hash"


class Pii(Struct):
    """Personal data that is looked for in text."""

    kinds: Annotated[list[PiiKind], Field(min_length=1, max_length=7), Distinct()] = Field(
        description="What is looked for.", examples=[["Email", "IBAN"]]
    )
    tensors: Annotated[list[TensorName], Field(min_length=1, max_length=16), Distinct()] | None = Field(
        default=None, description="Names of the text inputs that are searched. Absent: every text input."
    )
    action: PiiAction = Field(
        description="Reject: the request is refused, and the answer does not repeat what was found. Mask: what was found is replaced by "
        "its kind. Hash: by its keyed hash (HMAC), the same for the same text, so that the model can still tell one person from another."
    )


def _clash(one: Pii, other: Pii) -> bool:
    """True when both say what becomes of the same kind in the same tensor, and say it differently."""
    kinds, tensors = {*one.kinds} & {*other.kinds}, {*(one.tensors or ())} & {*(other.tensors or ())}
    return bool(one.action is not other.action and kinds and (tensors or not (one.tensors and other.tensors)))


class Input(Struct):
    """What may be received."""

    rules = (
        Rule(
            "has(self.maxElements) || has(self.maxTextBytes) || has(self.tensors) || has(self.pii)",
            lambda it: it.max_elements or it.max_text_bytes or it.tensors or it.pii,
            "input needs a rule: maxElements, maxTextBytes, tensors or pii; without any, leave it out",
        ),
        Rule(
            "has(self.hashKeyRef) == (has(self.pii) && self.pii.exists(p, p.action == 'Hash'))",
            lambda it: (it.hash_key_ref is not None) == any(rule.action is PiiAction.HASH for rule in it.pii or ()),
            "pii with action Hash needs hashKeyRef, and hashKeyRef is for nothing else",
        ),
        Rule(
            "!has(self.pii) || self.pii.all(a, self.pii.all(b, a.action == b.action || !a.kinds.exists(k, k in b.kinds) || "
            "(has(a.tensors) && has(b.tensors) && !a.tensors.exists(t, t in b.tensors))))",
            lambda it: not any(_clash(a, b) for a in it.pii or () for b in it.pii or ()),
            "one kind in one tensor has one action: two entries of pii with the same kind name different tensors, or the same action",
        ),
    )

    max_elements: StrictInt | None = Field(
        default=None, ge=1, le=1_000_000_000, description="Most values in one request, all its tensors together."
    )
    max_text_bytes: StrictInt | None = Field(
        default=None, ge=1, le=67_108_864, description="Most bytes of text in one request, all its tensors together."
    )
    tensors: Annotated[list[InputTensor], Field(min_length=1, max_length=64), ListedBy("name")] | None = Field(
        default=None, description="Rules by input."
    )
    pii: Annotated[list[Pii], Field(min_length=1, max_length=8)] | None = Field(
        default=None,
        description="Personal data to find in text.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    hash_key_ref: SecretKeyRef | None = Field(
        default=None,
        description="Key of a Secret that keys the hash of action Hash: 16 random bytes or more, better 32.",
    )


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


class PrivacyPolicySpec(Struct):
    """What the models that name this policy may receive, return, log and keep."""

    rules = (
        Rule(
            "has(self.input) || has(self.output) || has(self.logging) || has(self.audit)",
            lambda it: it.input or it.output or it.logging or it.audit,
            "a policy must say something: set input, output, logging or audit",
        ),
    )

    input: Input | None = Field(default=None, description="What may be received. Absent: what the model takes.")
    output: Output | None = Field(default=None, description="What may be returned. Absent: what the model says.")
    logging: Logging | None = Field(default=None, description="What of requests is logged. Absent: nothing.")
    audit: Audit | None = Field(default=None, description="A chained record of every call. Absent: none.")
