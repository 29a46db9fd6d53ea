"""`input` of a PrivacyPolicy: what may be received. Read by `privacypolicy.py`."""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, StrictInt, StringConstraints

from modelward_operator.api.types import Decimal, Distinct, ListedBy, Matches, Rule, SecretKeyRef, Struct

TensorName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256),
    Matches(r"^[^\x00-\x1f\x7f]+$", "name must be a tensor's name as the model's metadata says it"),
]
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
