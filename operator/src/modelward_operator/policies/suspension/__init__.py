"""Suspension: a model that its owner has put to rest."""
