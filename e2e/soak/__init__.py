"""The soak: a million sound, wrong and hostile requests over REST and gRPC, while memory, descriptors and threads are watched.

`run.py` starts the real serving process and the visitors (`rest.py`, `wire_grpc.py`), `watch.py` looks at the process, `judge.py` says
what was found. See README.md.
"""
