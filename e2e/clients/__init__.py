"""Clients of other projects, each in its own project's environment (`e2e/peers/`): programs, since those cannot be imported here.

`asking.py` runs them. A program takes the endpoint's REST URL, its gRPC address and the model's name; the inputs come as JSON on stdin,
and the outputs go by the way they were had, as JSON, to stdout.
"""
