"""The load path up to bytes on disk: where a model is, how it gets here, and proof of what came."""
