"""How each peer serves an ONNX model: the least code that its guide asks for, run inside its own environment.

    MODELWARD_BENCH_SERVING='{"model": PATH, "name": …}' PYTHONPATH=CLONE PEER/bin/python -m e2e.bench.serving.adapters.NAME

Each imports its server, numpy, ONNX Runtime and `model.py`, and nothing else of the clone: nothing else is installed there. Where neither
`tuned` nor `batching` is asked for a server runs as it comes; else as README.md says. None checks names, datatypes or shapes: what is
measured is the server.
"""
