"""Two models of one tenant whose issuers' name servers never answer, one model of another's: how long does the other's caller wait?

Run by `test_activator_resolver.py` as a process of its own, in a network and under an /etc/resolv.conf of its own, where the name server is
a socket that is bound here and never answers. On uvloop, as the activator. Prints JSON.
"""

import asyncio
import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
import time
from pathlib import Path

import uvloop

from modelward_runtime.access import jwks
from modelward_runtime.activator import resolver
from modelward_runtime.activator.config import Route, parse_routes
from modelward_runtime.activator.metrics import Metrics
from modelward_runtime.activator.probing import Prober
from modelward_runtime.activator.route import ApiPlace, LiveRoute, Surroundings
from modelward_runtime.activator.share import Common
from modelward_runtime.errors import Unavailable
from tests.tokens import raw

PATIENCE = 120.0
"""Seconds that a lookup, and a fetch of keys, may take here: far more than the other's caller waits on the busiest machine."""
VICTIM = "login.victim.example"  # stands in /etc/hosts; nobody listens there
MS_BIND = 4096
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def prepare(folder: Path) -> socket.socket:
    """The name server: it hears, and says nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    for name, text in (("resolv.conf", "nameserver 127.0.0.1\n"), ("hosts", f"127.0.0.1 localhost {VICTIM}\n")):
        (folder / name).write_text(text)
        if libc.mount(str(folder / name).encode(), f"/etc/{name}".encode(), None, MS_BIND, None):
            raise OSError(ctypes.get_errno(), f"/etc/{name} cannot be bound")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    server.settimeout(PATIENCE)
    return server


def route(namespace: str, name: str, host: str, port: int) -> Route:
    asked = {
        "mode": "JWT",
        "issuer": "i",
        "audiences": ["a"],
        "jwksUri": f"https://{host}/keys",
        "algorithms": ["RS256"],
        "usernameClaim": "sub",
        "usernamePrefix": "oidc:",
        "server": "https://k",
        "tokenFile": "/t",
        "caFile": "/c",
    }
    one = {
        "namespace": namespace,
        "name": name,
        "ports": {"http": port, "grpc": port + 1},
        "access": {"authentication": asked, "authorization": {"namespace": namespace, "name": name}},
        "tls": None,
        "holdSeconds": 30,
        "maxHeld": 100,
        "wake": True,
        "refusal": None,
        "maxBodyBytes": 1 << 26,
    }
    return parse_routes(json.dumps({"apiVersion": "activator/v1", "routes": [one]}))[0]


async def knock(live: LiveRoute) -> float:
    """Seconds until the door says that it cannot ask the issuer."""
    token = raw({"alg": "RS256", "kid": "k"}, {"iss": "i", "aud": "a", "sub": "s", "exp": time.time() + 600}, b"s")
    began = time.monotonic()
    try:
        await live.door.admit(b"Bearer " + token.encode(), "192.0.2.1")
    except Unavailable:
        return time.monotonic() - began
    raise AssertionError("somebody was let in")


async def main(folder: Path) -> None:
    server = prepare(folder)
    resolver.LOOKUP = jwks._SECONDS = PATIENCE  # type: ignore[misc]
    place = ApiPlace("https://127.0.0.1:1", folder / "none", folder / "none")
    around = Surroundings(place, Common(10), Common(1 << 30), Metrics(), Prober(), lambda: None, permits=lambda _: True)
    evil = [LiveRoute(route("evil", name, f"{name}.evil.example", 20000), around) for name in "ab"]
    victim = LiveRoute(route("risk", "m", VICTIM, 20010), around)
    knocking = [asyncio.ensure_future(knock(live)) for live in evil]
    question = await asyncio.to_thread(server.recv, 512)
    await asyncio.sleep(0.5)
    waited = await knock(victim)
    found = {"asked": b"evil" in question, "hanging": sum(not one.done() for one in knocking), "waited": waited}
    sys.stdout.write(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # without the threads that hang


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1])))
