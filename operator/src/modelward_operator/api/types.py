"""Building blocks of the kinds: strings with limits, Kubernetes quantities, and the markers that the CRD generator reads.

Used by every module of `api/`. A type says three things once: what Python checks (pydantic), what the API server checks
(the schema that `crd.py` derives from the same constraints, plus the `x-kubernetes-*` markers below), and what the field
reference prints (the description).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, NamedTuple, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, SchemaValidator, core_schema

QUANTITY_PATTERN: Final = r"^\+?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?[0-9]{1,2}))?$"
DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"


@dataclass(frozen=True)
class Matches:
    """A string must match `pattern` (with `never`: must not), else the user reads `message`, which says what to write instead.

    The API server checks it as a CEL rule, because the message of a schema's bare `pattern` is the pattern; `parse` checks
    it with the same family of regular expressions (no back-references, no look-around, `$` is the very end).
    """

    pattern: str
    message: str
    never: bool = False

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        matcher = SchemaValidator(core_schema.str_schema(pattern=self.pattern))

        def check(value: str) -> str:
            if matcher.isinstance_python(value) is self.never:
                raise PydanticCustomError("matches", self.message)
            return value

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        rule = {"rule": f"{'!' if self.never else ''}self.matches(r'{self.pattern}')", "message": self.message}
        inner = handler(schema)
        return {**inner, "x-kubernetes-validations": [*inner.get("x-kubernetes-validations", []), rule]}


STORED: Final = "stored"
"""The context in which `parse` reads what the API server has stored, perhaps under the rules of an earlier release."""


class Rule(NamedTuple):
    """What must hold among the fields of one struct: once for the API server, once for `parse`, one message for both.

    CEL: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
    """

    cel: str
    holds: Callable[[Any], bool]
    message: str
    is_new: bool = False
    """True for one that stored objects may break, as it came after them: admission refuses what breaks it, and what is stored goes on."""


def exactly_one(first: str, second: str, message: str) -> Rule:
    """Return the rule that of two optional fields one is there and the other is not; both by their names in Python."""

    def holds(it: Any) -> bool:  # noqa: ANN401  -- of any struct
        return (getattr(it, first) is None) != (getattr(it, second) is None)

    return Rule(f"has(self.{to_camel(first)}) != has(self.{to_camel(second)})", holds, message)


class Struct(BaseModel):
    """A frozen part of a kind. Fields are camelCase on the wire; fields of a newer version are left alone."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return itself: nobody changes a spec, and pydantic would copy every default of every section for each one that it reads."""
        return self

    @model_validator(mode="after")
    def _obey_rules(self, info: ValidationInfo) -> Self:
        rules = [rule for rule in self.rules if not rule.is_new] if info.context is STORED else self.rules
        if broken := [rule.message for rule in rules if not rule.holds(self)]:
            raise PydanticCustomError("rule", "{messages}", {"messages": "; ".join(broken)})
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        json = handler.resolve_ref_schema(handler(schema))
        if cls.rules:
            json["x-kubernetes-validations"] = [{"rule": rule.cel, "message": rule.message} for rule in cls.rules]
        return json


@dataclass(frozen=True)
class ListedBy:
    """A list that is a map by the field `key` of its items, and perhaps others: merged item by item, duplicates refused."""

    key: str
    also: tuple[str, ...] = ()

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def check(items: list[Any]) -> list[Any]:
            keys = [" and ".join(str(getattr(item, field)) for field in (self.key, *self.also)) for item in items]
            if twice := sorted({key for key in keys if keys.count(key) > 1}):
                raise PydanticCustomError(
                    "duplicate",
                    "duplicate {key}: {twice}",
                    {"key": " and ".join(self._names), "twice": ", ".join(twice)},
                )
            return items

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": self._names}

    @property
    def _names(self) -> list[str]:
        return [to_camel(field) for field in (self.key, *self.also)]


@dataclass(frozen=True)
class Distinct:
    """A list that is a set of plain values: duplicates refused."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        def check(items: list[Any]) -> list[Any]:
            if twice := sorted({str(item) for item in items if items.count(item) > 1}):
                raise PydanticCustomError("duplicate", "duplicate: {twice}", {"twice": ", ".join(twice)})
            return items

        return core_schema.no_info_after_validator_function(check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "x-kubernetes-list-type": "set"}


def _number_as_text(value: object) -> object:
    """YAML writes `cpu: 2`; the API server keeps the integer."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    BeforeValidator(_number_as_text),
    StringConstraints(max_length=32, pattern=QUANTITY_PATTERN),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": QUANTITY_PATTERN,
            "maxLength": 32,
            "minimum": 0,
        }
    ),
]
"""A Kubernetes quantity such as `500m`, `2` or `4Gi`."""

Decimal = Annotated[
    str,
    StringConstraints(min_length=1, max_length=32),
    Matches(
        r"^-?(0|[1-9][0-9]{0,14})([.][0-9]{1,15})?$",
        'must be a decimal number in quotes, without an exponent or leading zeros, for example "0.5"',
    ),
]
"""A number that is no float on the wire, as the API conventions ask."""

ObjectName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    Matches(
        DNS_SUBDOMAIN,
        "must be an object's name: lower-case letters, digits, - and ., with a letter or digit at both ends",
    ),
]
"""The name of an object of the same namespace."""

NamespaceName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63),
    Matches(
        DNS_LABEL, "must be a namespace's name: lower-case letters, digits and -, with a letter or digit at both ends"
    ),
]
"""The name of a namespace."""


ObjectKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    Matches(r"^[-._a-zA-Z0-9]+$", "key must be a key of a Secret or ConfigMap: letters, digits, -, _ and ."),
]
"""A key in the data of a Secret or a ConfigMap."""

Region = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63),
    Matches(r"^[a-z0-9-]+$", "region must be lower-case letters, digits and -, for example eu-central-1"),
]
"""A region of AWS, or of a store that speaks like it."""
LabelKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=317),
    Matches(
        r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
        "a key must be a name of at most 63 letters, digits, -, _ and ., after a domain and / where it has one",
    ),
]
LabelValue = Annotated[
    str,
    StringConstraints(max_length=63),
    Matches(
        r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$",
        "a value must be letters, digits, -, _ and ., with a letter or digit at both ends",
    ),
]


class LocalObjectRef(Struct):
    """Names an object of the same namespace."""

    name: ObjectName = Field(description="Name of the object, in the same namespace as what names it.")


class SecretKeyRef(Struct):
    """Names one key of a Secret of the same namespace."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: ObjectKey = Field(description="Key in the Secret.")
