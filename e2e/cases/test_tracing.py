"""A trace goes on through a served model: the caller's traceparent, a collector in the cluster, and nothing of what was asked."""

import base64
import json
from typing import Any

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from e2e.cases.case import Case
from e2e.cases.clients import HTTP
from e2e.cases.kube import Object, wait
from e2e.cases.manifests import NAME

PORT = 4318
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRET = 4242.4242
SERVER = "POST /v2/models/{name}/infer"
STAGES = {"receive", "decode", "queue", "run", "encode"}
COLLECTOR = r"""
import base64, gzip, http.server, json
seen = []


class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        seen.append({"path": self.path, "body": base64.b64encode(body).decode()})
        self.answer(b"", "application/x-protobuf")

    def do_GET(self):
        self.answer(json.dumps(seen).encode(), "application/json")

    def answer(self, body, media):
        self.send_response(200)
        self.send_header("content-type", media)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("", 4318), Collector).serve_forever()
"""


def collector_service() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "collector"},
        "spec": {"selector": {"app": "collector"}, "ports": [{"port": PORT}]},
    }


def test_a_callers_trace_goes_on_in_the_pod_and_reaches_the_collector(case: Case) -> None:
    case.apply(collector_service())
    collector = case.start_client("collector", COLLECTOR)
    address = case.kube.find("Pod", collector.name, case.namespace)["status"]["podIP"]
    endpoint = f"http://collector.{case.namespace}.svc:{PORT}"
    case.serve(observability={"tracing": {"endpoint": endpoint, "sampling": "0"}})
    url = f"http://{case.service_address()}:{HTTP}/v2/models/{NAME}/infer"
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [SECRET] * 4}
    with httpx.Client(trust_env=False, timeout=10) as client:
        for headers in ({}, {"traceparent": f"00-{TRACE}-{PARENT}-01"}):
            assert client.post(url, json={"inputs": [tensor]}, headers=headers).status_code == 200

    def received() -> list[tuple[str, bytes]]:
        told = httpx.get(f"http://{address}:{PORT}/", trust_env=False, timeout=10).json()
        return [(one["path"], base64.b64decode(one["body"])) for one in told]

    def told() -> list[Any]:
        """All spans so far: they may come in several requests."""
        requests = [ExportTraceServiceRequest.FromString(body) for _, body in received()]
        found = [resource for request in requests for resource in request.resource_spans]
        return [span for resource in found for scope in resource.scope_spans for span in scope.spans]

    wait("the collector is sent the trace", lambda: {SERVER, *STAGES} <= {span.name for span in told()}, within=60)
    spans = told()
    assert {span.trace_id.hex() for span in spans} == {TRACE}, "who sent no traceparent is not sampled"
    (server,) = (span for span in spans if span.name == SERVER)
    assert server.parent_span_id.hex() == PARENT
    assert {span.name for span in spans if span.parent_span_id == server.span_id} >= STAGES
    for path, body in received():
        (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
        assert {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"] == NAME
        assert path == "/v1/traces"
        assert str(SECRET).encode() not in body
        assert json.dumps(SECRET).encode() not in body
