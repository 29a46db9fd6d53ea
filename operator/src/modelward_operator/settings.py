"""What the operator is told by its Deployment: environment variables, read once, checked with every error at once.

Called by cli.py and main.py. It must not be read from deep inside: each part gets the value it needs.

    RUNTIME_IMAGE       serving image for ModelDeployments that name none (required)
    POD_NAMESPACE       namespace of the operator itself: Lease, admin port's NetworkPolicy   (modelward-system)
    POD_NAME            identity in the Lease                                                (the host's name)
    WATCH_NAMESPACES    comma-separated; empty means all
    CLUSTER_DOMAIN      behind .svc in the full names of Services                            (cluster.local)
    LOG_LEVEL           DEBUG INFO WARNING ERROR                                             (INFO)
    WORKERS             passes at once                                                       (16)
    WRITES_PER_SECOND   token bucket on writes to the API server; burst is twice that        (400)
    MAX_CONCURRENT_UPGRADES   models with upgradePolicy Rolling that are rolled to a new image at once   (10)
    ACTIVATOR           false where the chart installs none: no model goes to zero              (true)
    LEADER_ELECTION     false for a single replica outside a cluster                         (true)
    LEASE_SECONDS       after so many without a sign of the leader another replica leads      (15)
    HEALTH_PORT, METRICS_PORT   0 picks a free one, for tests                                (8080, 9090)
"""

import logging
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from modelward_operator.errors import OperatorError

DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DNS_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")


class BadSettings(OperatorError):
    """The environment does not say what the operator needs; the message lists every error."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings; defaults as in the module's table."""

    runtime_image: str
    namespace: str = "modelward-system"
    identity: str = "modelward-operator"
    watch_namespaces: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    log_level: int = logging.INFO
    workers: int = 16
    writes_per_second: int = 400
    max_concurrent_upgrades: int = 10
    activator: bool = True
    leader_election: bool = True
    lease_seconds: int = 15
    health_port: int = 8080
    metrics_port: int = 9090

    @property
    def clusterwide(self) -> bool:
        """True when every namespace is served, with the right to read what is the cluster's."""
        return not self.watch_namespaces


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from `environ`; raises `BadSettings` with every error."""
    errors: list[str] = []

    def number(name: str, default: int, low: int, high: int) -> int:
        text = environ.get(name) or str(default)
        if text.isascii() and text.isdigit() and low <= int(text) <= high:
            return int(text)
        errors.append(f"{name} must be a whole number from {low} to {high}, not {text!r}")
        return default

    def choice(name: str, default: str, allowed: tuple[str, ...]) -> str:
        text = environ.get(name) or default
        if text not in allowed:
            errors.append(f"{name} must be one of {', '.join(allowed)}, not {text!r}")
        return text

    image = environ.get("RUNTIME_IMAGE", "").strip()
    if not image:
        errors.append("RUNTIME_IMAGE must name the serving image")
    namespaces = tuple(sorted({n.strip() for n in environ.get("WATCH_NAMESPACES", "").split(",") if n.strip()}))
    errors += [f"WATCH_NAMESPACES: {n!r} is not a namespace" for n in namespaces if not DNS_LABEL.fullmatch(n)]
    domain = environ.get("CLUSTER_DOMAIN") or "cluster.local"
    if not DNS_NAME.fullmatch(domain):
        errors.append(f"CLUSTER_DOMAIN: {domain!r} is not a domain")
    settings = Settings(
        runtime_image=image,
        namespace=environ.get("POD_NAMESPACE") or "modelward-system",
        identity=environ.get("POD_NAME") or socket.gethostname(),
        watch_namespaces=namespaces,
        cluster_domain=domain,
        log_level=logging.getLevelNamesMapping().get(choice("LOG_LEVEL", "INFO", LEVELS), logging.INFO),
        workers=number("WORKERS", 16, 1, 256),
        writes_per_second=number("WRITES_PER_SECOND", 400, 1, 100_000),
        max_concurrent_upgrades=number("MAX_CONCURRENT_UPGRADES", 10, 1, 1000),
        activator=choice("ACTIVATOR", "true", ("true", "false")) == "true",
        lease_seconds=number("LEASE_SECONDS", 15, 3, 300),
        leader_election=choice("LEADER_ELECTION", "true", ("true", "false")) == "true",
        health_port=number("HEALTH_PORT", 8080, 0, 65535),
        metrics_port=number("METRICS_PORT", 9090, 0, 65535),
    )
    if errors:
        raise BadSettings("; ".join(errors))
    return settings
