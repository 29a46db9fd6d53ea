"""Suite scaling: the real autoscalers of others, set up as for the e2e cases; and the desk where KEDA asks how many callers there are."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from e2e.cases import autoscalers, place
from e2e.cases.kube import connect
from e2e.demo.kube import Json


@contextmanager
def peers() -> Iterator[None]:
    """A metrics-server and a KEDA, both away again afterwards."""
    host, kubeconfig = str(urlsplit(place.store().endpoint).hostname), os.environ["KUBECONFIG"]
    with tempfile.TemporaryDirectory() as folder, connect() as kube:
        metrics, keda = Path(folder, "metrics-server"), Path(folder, "keda")
        metrics.mkdir()
        keda.mkdir()
        with (
            autoscalers.metrics_server(metrics, host, kubeconfig, kube),
            autoscalers.keda(keda, host, kubeconfig, kube),
        ):
            yield


class Desk:
    """Says over HTTP how many callers there are. KEDA's operator runs on the node, as this does."""

    def __init__(self, port: int) -> None:
        self.callers = 0
        self._port = port

    @property
    def trigger(self) -> Json:
        """A trigger of KEDA's that asks for a replica for each two callers, as in the e2e cases."""
        url = f"http://127.0.0.1:{self._port}/"
        metadata = {"url": url, "valueLocation": "callers", "targetValue": "2", "format": "json"}
        return {"type": "metrics-api", "metadata": metadata}


@contextmanager
def open_desk() -> Iterator[Desk]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"callers": desk.callers}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        desk = Desk(server.server_port)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield desk
        finally:
            server.shutdown()
            serving.join()
