"""The built-in autoscaler: what pods say of their load, and how many of them that asks for.

    pods ──GET /load, hanging──▶ sampler.py ──▶ track.py (one a model: window.py, silences, starts) ──▶ decide.py ──▶ the queue rings
    activators ──GET /demand──▶ note_activator ────┘                                                       └─▶ Given.demand, next pass

`decide.py`, `track.py`, `window.py` and `load.py` are pure: no I/O, and the time is an argument. The simulator and the benchmark drive
`Track` as `sampler.py` does.
"""
