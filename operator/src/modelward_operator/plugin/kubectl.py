"""The plugin's way to the cluster: the user's own kubectl, with the user's context and rights. No other I/O is done here.

Pods are asked through `kubectl port-forward`: it enters by the kubelet, so that the NetworkPolicy, which closes the admin port to
all but the operator, stays as it is. Who may forward ports to the pods may read their reports, and nobody else.
"""

import json
import re
import subprocess
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

Json = dict[str, Any]
ADMIN_PORT: Final = 8082
_LIMIT: Final = 20.0
_FORWARDED: Final = re.compile(r"Forwarding from (127\.0\.0\.1:\d+)")


class KubectlError(Exception):
    """kubectl, or a pod behind it, gave no answer; the message is in its own words."""


class Kubectl:
    """kubectl with the options that choose a cluster (`--context`, `--kubeconfig` …) put before every call."""

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._command = ["kubectl", *options]

    def read(self, *arguments: str) -> Json:
        """`kubectl get … -o json` as a value. Raises KubectlError."""
        found: Json = json.loads(self._run("get", *arguments, "-o", "json"))
        return found

    def namespace(self) -> str:
        """The namespace of the current context. Raises KubectlError, as for a context that there is not."""
        return self._run("config", "view", "--minify", "-o", "jsonpath={..namespace}").strip() or "default"

    def _run(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                [*self._command, *arguments], capture_output=True, text=True, timeout=_LIMIT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KubectlError(f"kubectl {arguments[0]}: {error}") from error
        if done.returncode:
            raise KubectlError(done.stderr.strip())
        return done.stdout

    def report(self, namespace: str, pod: str) -> Json:
        """What the pod says of itself on its admin port. Raises KubectlError."""
        with self._forward(namespace, pod) as address:
            try:
                with urllib.request.urlopen(f"http://{address}/report", timeout=5) as answer:
                    found: Json = json.load(answer)
            except (OSError, ValueError) as error:
                raise KubectlError(f"{error}") from error
        return found

    @contextmanager
    def _forward(self, namespace: str, pod: str) -> Iterator[str]:
        command = [*self._command, "port-forward", "-n", namespace, f"pod/{pod}", f":{ADMIN_PORT}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            alarm = threading.Timer(_LIMIT, process.kill)  # it may hang without a word
            alarm.start()
            try:
                yield _address(process)
            finally:
                alarm.cancel()
                process.kill()


def _address(process: subprocess.Popen[str]) -> str:
    """The local address that kubectl announces, or what it said instead."""
    said = []
    for line in process.stdout or ():
        if found := _FORWARDED.match(line):
            return found.group(1)
        said.append(line.strip())
    raise KubectlError(" ".join(said) or f"kubectl port-forward said nothing within {_LIMIT:.0f} s")
