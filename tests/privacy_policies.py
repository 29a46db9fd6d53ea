"""Privacy policies and models for the tests of `privacy/`: a policy is the JSON that policy.json holds."""

from collections.abc import Mapping
from typing import Any

import msgspec

from modelward_runtime.model import Array, TensorSpec
from modelward_runtime.privacy.compile import compile_rules
from modelward_runtime.privacy.config import Privacy
from modelward_runtime.privacy.rules import Rules
from tests.runtime_models import Double

KEY = b"0123456789abcdef0123456789abcdef"


def policy(**sections: Any) -> Privacy:
    """A PrivacyPolicy `standard`, generation 3, with these sections."""
    said = {"policy": "standard", "policyGeneration": 3, **sections}
    return msgspec.json.decode(msgspec.json.encode(said), type=Privacy)


def nothing(_inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The double of a model that is described and never run."""
    raise NotImplementedError


CLASSIFIER = Double(
    nothing,
    (TensorSpec("x", "FP32", (-1, 4)), TensorSpec("n", "INT64", (-1, 2)), TensorSpec("text", "BYTES", (-1, 1))),
    (
        TensorSpec("label", "INT64", (-1,)),
        TensorSpec("probabilities", "FP32", (-1, 3)),
        TensorSpec("embedding", "FP16", (-1, 8)),
    ),
    defaults=frozenset({"temperature"}),
    properties={"feature_names": '["age","income","score","income"]'},
)
ODD = Double(
    nothing,
    (
        TensorSpec("flat", "FP32", (-1,)), TensorSpec("flag", "BOOL", (-1, 2)), TensorSpec("half", "BF16", (-1, 2)),
        TensorSpec("wide", "FP32", (-1, -1)), TensorSpec("small", "UINT8", (-1, 2)), TensorSpec("double", "FP64", (-1, 2)),
    ),
    (TensorSpec("scores", "FP32", (-1, -1)), TensorSpec("value", "FP32", (-1, 1)), TensorSpec("bits", "BF16", (-1, 2))),
)  # fmt: skip


def rules(model: Double = CLASSIFIER, **sections: Any) -> Rules:
    """The compiled policy with these sections."""
    return compile_rules(policy(**sections), model, lambda _file: KEY)
