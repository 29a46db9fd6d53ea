"""The serving runtime of ModelWard."""
