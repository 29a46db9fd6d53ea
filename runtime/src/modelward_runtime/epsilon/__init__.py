"""Differential privacy of answers: the mechanism, and the ledger of what it has cost. See runtime/DIFFERENTIAL_PRIVACY.md."""
