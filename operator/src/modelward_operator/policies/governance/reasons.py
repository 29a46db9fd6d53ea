"""Reasons that the governance room gives."""

from typing import Final

MODEL_POLICY_VIOLATED: Final = "ModelPolicyViolated"
"""A ModelPolicy that selects the namespace demands what the model does not meet; the message names the policy and each violation."""
