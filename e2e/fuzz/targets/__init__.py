"""The targets, by what they read. Importing this package registers all of them."""

from e2e.fuzz.targets import agreement, bodies, configuration, connections, doors, http2, models, requests, seals

__all__ = ["agreement", "bodies", "configuration", "connections", "doors", "http2", "models", "requests", "seals"]
