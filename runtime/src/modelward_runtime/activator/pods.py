"""The pods of one model, as far as a request could be sent to them.

    listed ready ─────────────────────────▶ usable ◀── proven: our own probe was answered
    listed, not ready ─▶ doubtful ─ probe ──┘  │
                            ▲                  └ a connection was refused
                            └──────────────────┘
    terminating, or no longer listed: left alone; what it has begun, it ends

Kept by `route.py`; `probing.py` proves. The kubelet's word is seconds late, so that a new pod is asked itself.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from modelward_runtime.activator.channel import Channel
from modelward_runtime.activator.endpoints import Listed
from modelward_runtime.activator.trust import Trust
from modelward_runtime.activator.upstream import Pool

ADMIN_PORT: Final = 8082


class Pod:
    """One pod: what is known of it, and the ways to it."""

    def __init__(self, listed: Listed, trust: Trust | None, admin_port: int = ADMIN_PORT) -> None:
        self.listed = listed
        self.in_flight = 0
        secured = (trust.http1, trust.server_name) if trust else (None, "")
        self.rest = Pool(listed.address, listed.http_port, *secured)
        self.grpc = Channel(listed.address, listed.grpc_port, trust)
        self.admin = Pool(listed.address, admin_port)
        self._proven = False
        self._suspect = False

    @property
    def usable(self) -> bool:
        """A request may be sent to it."""
        return not self.listed.terminating and not self._suspect and (self.listed.ready or self._proven)

    @property
    def doubtful(self) -> bool:
        """It may become usable: ask it."""
        return not self.listed.terminating and not self.usable

    def prove(self) -> None:
        """It says itself that it is ready."""
        self._proven, self._suspect = True, False

    def suspect(self) -> None:
        """It refused a connection, whoever calls it ready."""
        self._proven, self._suspect = False, True
        self.rest.close()

    def list(self, listed: Listed) -> None:
        """What the slices say now. Who was called ready and is not any more has to prove it anew."""
        self._proven = self._proven and not (self.listed.ready and not listed.ready)
        self.listed = listed
        if listed.terminating:
            self.rest.close()

    def close(self) -> None:
        """It is not listed any more; requests that it has go on."""
        self.rest.close()
        self.admin.close()
        self.grpc.close()


class Pods:
    """All of one model's."""

    def __init__(self, admin_port: int = ADMIN_PORT) -> None:
        self._admin_port = admin_port
        self._trust: Trust | None = None
        self._pods: dict[str, Pod] = {}

    def set_trust(self, trust: Trust | None) -> None:
        """How pods are spoken to from now on; ways that stand go on."""
        if trust == self._trust:
            return
        self._trust = trust
        listed = {uid: pod.listed for uid, pod in self._pods.items()}
        self.update({})
        self.update(listed)

    def update(self, listed: Mapping[str, Listed]) -> None:
        """These pods, and no others."""
        for uid in self._pods.keys() - listed.keys():
            self._pods.pop(uid).close()
        for uid, one in listed.items():
            known = self._pods.get(uid)
            if known is not None and known.listed.address == one.address:
                known.list(one)
                continue
            if known is not None:
                known.close()
            self._pods[uid] = Pod(one, self._trust, self._admin_port)

    def choose(self) -> Pod | None:
        """The usable one with the fewest requests of ours."""
        usable = [pod for pod in self._pods.values() if pod.usable]
        return min(usable, key=lambda pod: pod.in_flight, default=None)

    def doubtful(self) -> Iterable[Pod]:
        """Those to be asked."""
        return [pod for pod in self._pods.values() if pod.doubtful]

    @property
    def has_usable(self) -> bool:
        """A request that comes now need not wait."""
        return any(pod.usable for pod in self._pods.values())
