"""Reasons that the privacy room gives."""

from typing import Final

PRIVACY_POLICY_NOT_FOUND: Final = "PrivacyPolicyNotFound"
"""spec.privacy names a PrivacyPolicy that does not exist in the namespace: what protected the data is gone, so the model does not serve."""
CALLERS_UNKNOWN: Final = "CallersUnknown"
"""The PrivacyPolicy gives each caller a budget, and security.authentication is None: nobody knows whose budget it is, so the model does not
serve."""
