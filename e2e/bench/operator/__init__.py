"""Suite operator: how many models an operator holds, beside others, on a real API server and etcd. README.md says how.

suite.py ──▶ place.py        API server and etcd on one core, with an audit log; with PODS=1 controllers, scheduler, kwok
         ──▶ contestants.py  who is measured, and what a model is to each; control.py, bare.py and three.py are programs of their own
         ──▶ load.py         makes models, changes them ten times a second
         ──▶ audit.py        every figure but CPU and memory is the API server's word
         ──▶ meter.py        CPU and memory, as /proc has them
         ──▶ bars.py, tables.py
"""
