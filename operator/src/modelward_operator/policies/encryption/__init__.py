"""Encryption: whose key opens the model, and whose signature counts."""
