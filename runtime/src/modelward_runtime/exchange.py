"""The conductor of a request, in the order of the picture, and the one data plane behind REST and gRPC.

      bytes ▶ decode ▶ privacy-in ▶ batch ▶ ORT ▶ split ▶ privacy-out ▶ encode ▶ bytes
              Decoded   Cleared                   Raw     Released
              └──────────── metrics and access log, always, never the payload ──────────┘

Called by `web.py` and `grpc_server.py`, which own everything that is HTTP or gRPC; composed by `serve.py`:

    metrics = Metrics()                                            # metrics.py; `metrics.exposition()` is GET /metrics
    exchange = Exchange("fraud-scorer", "7", metrics, limits=Limits(max_queue=1024, request_timeout=60.0))
    app = web.App(exchange, max_body_bytes=67108864)               # an ASGI application for uvicorn
    grpc_server = grpc_server.create(exchange, max_body_bytes=67108864)    # a grpc.aio.Server: add a port, start it
    ...                                                            # both answer 503 until the model is there
    exchange.serve(model, Batching(max_batch_size=32, max_delay=0.0005), workers=1)    # loaded and warm: ready
    exchange.ready                                                 # what readiness probes ask
    exchange.retire()                                              # SIGTERM: readiness off, requests still answered
    await exchange.drain()                                         # no new requests (503), those in flight finish
    exchange.close()                                               # worker threads end

`serve`, `retire`, `drain` and `close` are called on the event loop's thread. It must not do I/O of its own.
"""
