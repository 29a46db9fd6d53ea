"""The door of the model's ports: who calls, may they, and not too often. The same for REST and gRPC, before a body is read.

    authorization ──▶ bearer ──▶ verdicts ────────────── known ──▶ Caller ──▶ limits ──▶ body, exchange
                                     │ unknown                        ▲
                                     ▼ one review per token           │
                      tokenreview (asks the API server) ┐             │
                      webtoken (a JWT, keys of jwks)    ├▶ Identity ──▶ permission (asks the API server)

`door.py` is the conductor, `opening.py` puts the parts together from boot.json. Reached only by `web.py`, `grpc_door.py` and
`ports.py`. Whatever cannot be found out is refused. A token is never logged, never kept (a hash of it is), and never in a message.

`certificate.py` is about TLS on the same ports.
"""
