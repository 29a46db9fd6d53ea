"""Suite limits: how a model is best served under a CPU limit of 0.5, 1 and 2. `suite.py` says what is compared."""
