"""Reasons that the privacy room gives."""

from typing import Final

POLICY_NOT_FOUND: Final = "PolicyNotFound"
"""spec.privacy names a PrivacyPolicy that does not exist in the namespace: what protected the data is gone, so the model does not serve."""
