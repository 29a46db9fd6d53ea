"""Who is measured, what each speaks, and how it is set up: a line in SERVERS is a row of the tables.

`kind` decides what a server counts as: OURS is judged, a PEER is what it is judged against, a YARDSTICK is shown and judged by nobody.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Final

from e2e.bench.serving import asking, launching
from e2e.bench.serving.asking import BINARY, GRPC, JSON, Ask
from e2e.bench.serving.failures import ImpossibleError
from e2e.bench.serving.launching import Launch, Launcher, Place, Setting
from e2e.bench.serving.models import Made
from e2e.peers.environments import version

OURS, PEER, YARDSTICK = "ours", "peer", "yardstick"
FIRST_PORT, PORTS = 31_000, 3
"""Ports of the first server; each has three, and none is the kernel's to give to an outgoing connection."""

Asking = Callable[[Made, int], Ask]
OIP: Final[Mapping[str, Asking]] = {JSON: asking.oip_json, BINARY: asking.oip_binary, GRPC: asking.oip_grpc}
OIP_REST: Final[Mapping[str, Asking]] = {JSON: asking.oip_json, BINARY: asking.oip_binary}
NO_BINARY: Final[Mapping[str, Asking]] = {JSON: asking.oip_json, GRPC: asking.oip_grpc}
ONLY_JSON: Final[Mapping[str, Asking]] = {JSON: asking.oip_json}
OWN_JSON: Final[Mapping[str, Asking]] = {JSON: asking.own_json}


@dataclass(frozen=True, slots=True)
class Product:
    """A server, whatever its configuration."""

    title: str
    kind: str
    package: str
    peer: str
    """Its environment, and its name in PEERS; empty: ours."""
    asks: Mapping[str, Asking]
    """What it speaks of the encodings; the first is what its start is measured with."""
    launcher: Launcher

    @property
    def version(self) -> str:
        """Of its package."""
        return version(self.peer, self.package) if self.peer else distribution_version(self.package)


@dataclass(frozen=True, slots=True)
class Server:
    """A product in one configuration."""

    key: str
    product: Product
    words: str = ""
    """What sets it apart from the product's other ones."""
    tuned: bool = False
    batching: bool = False

    @property
    def title(self) -> str:
        """As in the tables."""
        return f"{self.product.title}, {self.words}" if self.words else self.product.title

    @property
    def kind(self) -> str:
        """OURS, PEER or YARDSTICK."""
        return self.product.kind

    @property
    def asks(self) -> Mapping[str, Asking]:
        """What it speaks."""
        return self.product.asks

    def launch(self, place: Place) -> Launch:
        """How it is started."""
        return self.product.launcher(Setting(self.product.peer, self.tuned, self.batching), place)

    def ask(self, encoding: str, place: Place) -> Ask:
        """One request."""
        return self.asks[encoding](place.made, place.grpc if encoding == GRPC else place.rest)


MODELWARD: Final = Product("ModelWard", OURS, "modelward-runtime", "", OIP, launching.modelward)
MLSERVER: Final = Product("MLServer", PEER, "mlserver", "mlserver", NO_BINARY, launching.mlserver)
KSERVE: Final = Product("KServe SDK", PEER, "kserve", "kserve", OIP, launching.adapter("kserve_server"))
PYTRITON: Final = Product("PyTriton", PEER, "nvidia-pytriton", "pytriton", OIP, launching.adapter("pytriton_server"))
LITSERVE: Final = Product("LitServe", PEER, "litserve", "litserve", ONLY_JSON, launching.adapter("litserve_server"))
BENTOML: Final = Product("BentoML", PEER, "bentoml", "bentoml", OWN_JSON, launching.bentoml)
RAY: Final = Product("Ray Serve", PEER, "ray", "ray", ONLY_JSON, launching.ray)
STARLETTE: Final = Product(
    "bare starlette", YARDSTICK, "starlette", "starlette", OIP_REST, launching.adapter("starlette_app")
)

SERVERS: Final = (
    Server("modelward", MODELWARD),
    Server("modelward-batching", MODELWARD, "batching", batching=True),
    Server("mlserver", MLSERVER, "as it comes"),  # a process for the model, debugging on
    Server("mlserver-tuned", MLSERVER, tuned=True),
    Server("mlserver-batching", MLSERVER, "batching", tuned=True, batching=True),
    Server("kserve", KSERVE, "as it comes"),
    Server("kserve-tuned", KSERVE, tuned=True),  # its batcher is a sidecar of a cluster
    Server("pytriton", PYTRITON, "as it comes"),  # batches of up to four
    Server("pytriton-batching", PYTRITON, "batching", tuned=True, batching=True),
    Server("litserve", LITSERVE, "as it comes"),
    Server("litserve-batching", LITSERVE, "batching", tuned=True, batching=True),
    Server("bentoml", BENTOML, "as it comes"),
    Server("bentoml-batching", BENTOML, "batching", tuned=True, batching=True),
    Server("ray", RAY, "as it comes"),
    Server("ray-batching", RAY, "batching", tuned=True, batching=True),
    Server("starlette", STARLETTE),  # what Python, uvicorn and orjson cost with no feature at all
)
QUICK: Final = ("mlserver-tuned", "kserve-tuned", "pytriton-batching", "litserve-batching", "bentoml-batching")
"""What QUICK=1 measures of the peers: each once, and not Ray Serve, which takes longer to start than all others together."""
JUDGED: Final = "modelward-batching"
"""The one configuration of ours that the bars judge, in every case."""


def place_for(server: Server, made: Made, folder: Path) -> Place:
    """Where it serves the model."""
    rest, grpc, admin = ports(server)
    return Place(made, folder / made.name / server.key, rest, grpc, admin)


def ports(server: Server) -> range:
    """Its three ports, the same in each run: who finds them taken says so before anything starts."""
    first = FIRST_PORT + PORTS * SERVERS.index(server)
    return range(first, first + PORTS)


def chosen(peers: str, *, quick: bool) -> list[Server]:
    """The servers that PEERS names: `all`, `none`, or names with commas between; ImpossibleError names one that is unknown.

    Ours are always among them; yardsticks unless `none` is.
    """
    known = list(dict.fromkeys(server.product.peer for server in SERVERS if server.kind == PEER))
    given: dict[str, list[str]] = {"all": known, "none": []}
    wanted = given[peers] if peers in given else [name.strip() for name in peers.split(",")]
    if strange := [name for name in wanted if name not in known]:
        raise ImpossibleError(f"PEERS: unknown {', '.join(strange)}; there are: {', '.join(known)}, all, none")
    found = [
        server
        for server in SERVERS
        if server.kind == OURS or server.product.peer in wanted or (server.kind == YARDSTICK and wanted)
    ]
    return [server for server in found if server.kind != PEER or server.key in QUICK] if quick else found
