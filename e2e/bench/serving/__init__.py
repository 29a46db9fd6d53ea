"""Suite serving: our server beside others, `make bench SUITE=serving PEERS=all`. README.md says how each is set up, and why.

    command.py ─▶ suite.py ──▶ servers.py launching.py processes.py tree.py    who runs, started, paused, counted, ended
                     │     ├─▶ models.py cases.py asking.py                    what they serve, and how they are asked
                     │     └─▶ load.py meter.py alone.py                       load, what it cost, and the model with no server
                     ▼
               JSON of a run ─▶ bars.py ─▶ tables.py     held or MISSED
                             └▶ plots.py ─▶ svg.py       pictures

`adapters/` runs in the peers' own environments. What judges and draws is pure, and reads nothing but the JSON.
"""
