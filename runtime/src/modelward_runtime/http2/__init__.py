"""HTTP/2 (RFC 9113) on asyncio, a server and a client: what gRPC needs of it, and nothing of gRPC.

Used by `grpc_server.py` and by the activator. `decisions/0017` says why there is one: gRPC's library costs more for a call than all the
rest of this process, and cannot say goodbye before it stops. `h2spec` and clients that nobody here wrote hold it to the standard.

    socket ▶ connection.py ▶ reader.py: frames ▶ receiver.py, hpack.py ▶ stream.py ◀▶ the application's subclass of `Stream`
                  ▲                                                          │
                  └────────────────────── outbox.py ◀───────────────────────┘  flow control of what goes out
    server.py: listens, keeps the connections, lets them leave
    client.py: the same from the other side, for whoever passes calls on; pieces.py: bodies that nobody gathers
"""
