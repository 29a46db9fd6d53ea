"""Callers whose number the test sets, and which say it: the same load for every autoscaler, and a number that KEDA can read.

`SCRIPT` runs in a client pod. `PUT /N` on port 8000 makes it N callers over lasting connections, `GET /` answers with their number and
with what came of their calls. It runs by itself, so it imports nothing of ours.
"""

from dataclasses import dataclass
from typing import Any

import httpx

from e2e.cases.case import Case, Client
from e2e.cases.kube import wait

SCRIPT = r"""
import collections, http.client, http.server, json, sys, threading

host, model = sys.argv[1:3]
BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}]})
counts, failures, wanted, lock = collections.Counter(), [], [0], threading.Lock()


def call(number):
    connection, calls = http.client.HTTPConnection(host, 8080, timeout=60), 0
    while number < wanted[0]:
        try:
            connection.request("POST", f"/v2/models/{model}/infer", BODY, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == 200, f"{answer.status} {text[:200]!r}"
            with lock:
                counts["answered"] += 1
        except Exception as error:
            with lock:
                counts["failed"] += 1
                failures.append(repr(error))
            connection.close()
        calls += 1
        if calls % 200 == 0:  # new pods are met by new connections
            connection.close()


class Desk(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        before, wanted[0] = wanted[0], int(self.path[1:])
        for number in range(before, wanted[0]):
            threading.Thread(target=call, args=(number,), daemon=True).start()
        self.do_GET()

    def do_GET(self):
        with lock:
            said = {"callers": wanted[0], "counts": counts, "failures": failures[-5:]}
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("", 8000), Desk).serve_forever()
"""


@dataclass(frozen=True)
class Crowd:
    """The running callers."""

    address: str

    def become(self, callers: int) -> None:
        """Let so many call from now on."""
        httpx.put(f"{self.address}/{callers}", timeout=10, trust_env=False).raise_for_status()

    def told(self) -> dict[str, Any]:
        """Return their number, and what came of their calls."""
        return dict(httpx.get(self.address, timeout=10, trust_env=False).json())

    @property
    def trigger(self) -> dict[str, Any]:
        """A trigger of KEDA's that asks for a replica for each two callers."""
        metadata = {"url": f"{self.address}/", "valueLocation": "callers", "targetValue": "2", "format": "json"}
        return {"type": "metrics-api", "metadata": metadata}


def gather(case: Case, model: str) -> Crowd:
    """Start the pod of the callers, none of whom calls yet."""
    client: Client = case.start_client(f"crowd-{model}", SCRIPT, f"{model}.{case.namespace}.svc", model)
    found = case.kube.find("Pod", client.name, case.namespace)
    crowd = Crowd(f"http://{found['status']['podIP']}:8000")
    wait("the callers listen", lambda: crowd.told()["callers"] == 0, within=30)
    return crowd
