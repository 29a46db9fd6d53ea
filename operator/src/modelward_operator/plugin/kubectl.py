"""The plugin's way to the cluster: the user's own kubectl, with the user's context and rights. No other I/O is done here.

Pods are asked through `kubectl port-forward`: it enters by the kubelet, so that the NetworkPolicy, which closes the admin port to
all but the operator, stays as it is. Who may forward ports to the pods may read their reports, and nobody else.
"""

import json
import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

Json = dict[str, Any]
ADMIN_PORT: Final = 8082
MODELS: Final = "modeldeployments.modelward.dev"
ANSWER: Final = 64 * 1024 * 1024
"""Bytes that are read of what a pod says of itself."""
_LIMIT: Final = 20.0
_FORWARDED: Final = re.compile(r"Forwarding from (127\.0\.0\.1:\d+)")


class KubectlError(Exception):
    """kubectl, or a pod behind it, gave no answer; the message is in its own words."""


class Kubectl:
    """kubectl with the options that choose a cluster (`--context`, `--kubeconfig` …) put before every call."""

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._command = ["kubectl", *options]

    def read(self, *arguments: str) -> Json:
        """`kubectl get … -o json` as a value; with `--ignore-not-found` empty where nothing is. Raises KubectlError."""
        return _document(self.run("get", *arguments, "-o", "json") or "{}", "kubectl")

    def namespace(self) -> str:
        """The namespace of the current context. Raises KubectlError, as for a context that there is not."""
        try:
            return self.run("config", "view", "--minify", "-o", "jsonpath={..namespace}").strip() or "default"
        except KubectlError as error:
            if "current-context" in str(
                error
            ):  # as without a kubeconfig, where kubectl's words are about its own flags
                raise KubectlError(
                    "kubectl has no current context: name a cluster with --context or KUBECONFIG, a namespace with -n"
                ) from error
            raise

    def run(self, *arguments: str, given: str | None = None) -> str:
        """Return what kubectl prints; `given` is its standard input. Raises KubectlError."""
        try:
            done = subprocess.run(
                [*self._command, *arguments], input=given, capture_output=True, text=True, timeout=_LIMIT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KubectlError(f"kubectl {arguments[0]}: {error}") from error
        if done.returncode:
            raise KubectlError(done.stderr.strip())
        return done.stdout

    def report(self, namespace: str, pod: str) -> Json:
        """What the pod says of itself. Raises KubectlError."""
        return self.ask(namespace, pod, "/report")

    def ask(self, namespace: str, pod: str, path: str) -> Json:
        """What the pod answers on its admin port, a JSON object. Raises KubectlError."""
        return _document(self.fetch(namespace, pod, ADMIN_PORT, path), f"pod {pod}")

    def fetch(self, namespace: str, pod: str, port: int, path: str) -> str:
        """What the pod answers to a plain GET. Raises KubectlError."""
        from http.client import HTTPException, IncompleteRead  # noqa: PLC0415  TLS, mail and more, which completion need not wait for

        from modelward_operator.plugin.direct import direct  # noqa: PLC0415  likewise

        with self.forward(namespace, pod, port) as address:
            try:
                with direct(f"http://{address}{path}", timeout=5) as answer:
                    said: bytes = answer.read(ANSWER + 1)
                    if len(said) <= ANSWER and answer.length:  # of what was announced
                        raise IncompleteRead(said, answer.length)
            except (OSError, ValueError, HTTPException) as error:
                raise KubectlError(f"{type(error).__name__}: {error}") from error
        if len(said) > ANSWER:
            raise KubectlError(f"pod {pod} answers {path} with more than {ANSWER} bytes")
        return said.decode("utf-8", "replace")

    @contextmanager
    def forward(self, namespace: str, pod: str, port: int) -> Iterator[str]:
        """Yield HOST:PORT on this machine that leads to the pod's port, for as long as the block runs. Raises KubectlError."""
        command = [*self._command, "port-forward", "-n", namespace, f"pod/{pod}", f":{port}"]
        try:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        except OSError as error:
            raise KubectlError(f"kubectl port-forward: {error}") from error
        with process:
            alarm = threading.Timer(_LIMIT, process.kill)  # it may hang without a word
            alarm.start()
            try:
                address = _address(process)
                alarm.cancel()
                yield address
            finally:
                alarm.cancel()
                process.kill()


def _document(text: str, whose: str) -> Json:
    """Return a JSON object. Raises KubectlError for what is none: a pod may run any image, and say anything."""
    try:
        found = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise KubectlError(f"{whose} answers with what is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise KubectlError(f"{whose} answers with what is no JSON object")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _address(process: subprocess.Popen[str]) -> str:
    """The local address that kubectl announces, or what it said instead."""
    said = []
    for line in process.stdout or ():
        if found := _FORWARDED.match(line):
            return found.group(1)
        said.append(line.strip())
    raise KubectlError(" ".join(said) or f"kubectl port-forward said nothing within {_LIMIT:.0f} s")
