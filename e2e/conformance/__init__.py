"""A conformance suite for servers of the Open Inference Protocol v2, whoever wrote them.

    python -m e2e.conformance models DIR                                     the models to serve, one folder each
    python -m e2e.conformance check --rest URL --grpc HOST:PORT [--model N]  ask a server all the rules, print a report
    python -m e2e.conformance rules                                          list the rules

`rule.py` says what a rule is, `levels/` holds the rules, `target.py` is the server under test, `report.py` tells.
It knows no server's own extensions or flaws: what it asks, the cited text says.
"""
