"""Holds the calls of a model that is scaled to zero, has it woken, and passes them on: `modelward activator`.

A process of its own (two replicas, in the operator's namespace), which is in a model's path only while the model has no ready pod. It
imports neither numpy nor ONNX Runtime. Why it is as it is: operator/decisions/0013; what it promises: runtime/ACTIVATOR.md.

    ConfigMaps `routes.json` ─▶ config, table ─┐          ┌─ kube.py: list + watch ─┐
    EndpointSlices ─▶ endpoints ───────────────┤          │                         │
                                               ▼          ▼                         │
    caller ─▶ ports.py ─▶ rest.py / grpc.py ─▶ route.py: door ─▶ hold ─▶ pods ─▶ upstream ─▶ a ready pod
                                                                  │        ▲
                                      demand.py ─▶ the operator   │        └ probing.py: /readyz every 30 ms while somebody waits
                                      (admin.py, GET /demand)  ◀──┘

`run.py` puts it together. Nothing here reads a body before a pod is there to take it, nor keeps one.
"""
