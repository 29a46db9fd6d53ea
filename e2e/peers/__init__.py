"""Other people's servers, each in a virtual environment of its own: the conformance suite asks them, the benchmark measures them.

`requirements/NAME.txt` pins every package of a server's environment; `environments.py` makes it, outside the clone, once. What is served
from it and how it is started is the caller's: `e2e/conformance/peers/`, `e2e/bench/serving/`.
"""
