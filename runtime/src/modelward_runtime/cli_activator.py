"""The arguments of `modelward activator`. Every one may be an environment variable instead: a chart has few lines to spare.

Imported by `cli.py` for the parser; what they mean, `activator/run.py` says.
"""

import argparse
import os
from pathlib import Path

_ACCOUNT = "/var/run/secrets/modelward/api"  # as in the serving pods


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command and its flags."""
    activator = commands.add_parser(
        "activator",
        help="hold the calls of models at zero; the command of the activator's pods",
        description="Holds the calls of models that are scaled to zero until a pod is there, and passes them on. "
        "Each flag may be given as MODELWARD_ACTIVATOR_NAME in the environment instead.",
    )
    given = _Given(activator)
    given.add("--namespace", os.environ.get("POD_NAMESPACE"), str, "where the ConfigMaps with its routes are")
    watched = os.environ.get("WATCH_NAMESPACES", "")
    given.add("--watch-namespaces", watched, _names, "where models are, by commas; empty for all namespaces")
    given.add("--host", "", str, "address to listen on; empty for all")
    given.add("--admin-port", "8082", _port, "probes, metrics, /demand")
    given.add("--api-server", _in_cluster(), str, "the Kubernetes API, an https URL")
    given.add("--token-file", f"{_ACCOUNT}/token", Path, "who it is to the API server")
    given.add("--ca-file", f"{_ACCOUNT}/ca.crt", Path, "what the API server's certificate is checked against")
    given.add("--ca-directory", "/etc/modelward/activator-ca", Path, "tls.crt and tls.key of modelward-activator-ca")
    given.add("--pod-admin-port", "8082", _port, "the admin port of serving pods, where they are probed")
    given.add("--drain-seconds", "6", _seconds, "how long it serves on after SIGTERM")
    given.add("--grace-seconds", "20", _seconds, "how long requests that pods have may take after that")


class _Given:
    """Adds flags that the environment may give."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser

    def add(self, flag: str, default: str | None, kind: type | object, text: str) -> None:
        variable = "MODELWARD_ACTIVATOR_" + flag.removeprefix("--").replace("-", "_").upper()
        value = os.environ.get(variable, default)
        told = f"{text} (default {default})" if default else text
        self._parser.add_argument(flag, type=kind, default=value, required=value is None, metavar="X", help=told)  # type: ignore[arg-type]


def _in_cluster() -> str:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        return "https://kubernetes.default.svc"
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return int(text)


def _seconds(text: str) -> float:
    if not text.isdecimal() or int(text) > 3600:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds up to 3600")
    return float(text)
