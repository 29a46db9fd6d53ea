"""Reasons that the encryption room gives."""

from typing import Final

TENANT_AMBIGUOUS: Final = "TenantAmbiguous"
"""The namespace has no tenant label, and another one's label says that its tenant is this namespace's name."""
