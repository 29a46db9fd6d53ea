"""Governance: what ModelPolicies demand of the models of a namespace."""
