"""Fuzzing of everything that reads bytes which others wrote: requests, tokens, models, seals, files of configuration.

A target is a function of bytes that must end well or with one of its declared errors (`target.py`, `targets/`). The same targets run
guided by coverage, for as long as one likes (`python -m e2e.fuzz --minutes N TARGET`, `guided.py`), and in the quick ring, the same way
each time (`replay.py`). See README.md.
"""
