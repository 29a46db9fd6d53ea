"""Whether requests are followed, and how: flags or boot.json say it, and for traces OpenTelemetry's standard environment does.

`serve.py` and `library/serving.py` call `open_follower` before the ports open, and `close_follower` last. Without a wish there is no
follower. The SDK takes a third of a second to import, and sends what is left on its own time: both are done on threads.

    OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT    either turns traces on
    OTEL_SDK_DISABLED=true, OTEL_TRACES_EXPORTER=none                  off, whatever else is said
    OTEL_TRACES_SAMPLER…, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_HEADERS, OTEL_BSP_…   as the SDK reads them
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import suppress

from modelward_runtime import __version__
from modelward_runtime.observability.config import Observability, Tracing
from modelward_runtime.observability.follower import Follower, Tracer
from modelward_runtime.observability.slow import SlowLog
from modelward_runtime.threads import in_thread

_log = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP = "http/protobuf"
_POD = {"k8s.namespace.name": "POD_NAMESPACE", "k8s.pod.name": "POD_NAME"}
_LAST_SECONDS = 2.0  # for what the collector has not taken when the process ends


async def open_follower(wanted: Observability | None, service: str) -> Follower | None:
    """Who follows requests of this process."""
    if wanted is None and not traces(None, os.environ):
        return None
    return await in_thread(lambda: make_follower(wanted, os.environ, service), "tracing")


async def close_follower(follower: Follower | None) -> None:
    """Send the last spans, if the collector takes them in time."""
    tracer = follower.tracer if follower else None
    if tracer is not None:
        with suppress(TimeoutError):
            await asyncio.wait_for(in_thread(lambda: tracer.flush(_LAST_SECONDS), "last spans"), _LAST_SECONDS)


def make_follower(wanted: Observability | None, environment: Mapping[str, str], service: str) -> Follower | None:
    """Who follows requests; None where nobody wants it. `service` is what traces call this process, unless the environment does."""
    wanted = wanted or Observability()
    milliseconds = wanted.slow_request_milliseconds
    slow = SlowLog(milliseconds / 1000) if milliseconds else None
    tracer = _make_tracer(wanted.tracing, environment, service) if traces(wanted, environment) else None
    return Follower(slow, tracer) if slow or tracer else None


def traces(wanted: Observability | None, environment: Mapping[str, str]) -> bool:
    """Are traces asked for?"""
    off = (
        environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none"
    )
    asked = bool(wanted and wanted.tracing) or any(environment.get(name) for name in _ENDPOINTS)
    return asked and not off


def _make_tracer(wanted: Tracing | None, environment: Mapping[str, str], service: str) -> Tracer | None:
    try:
        from modelward_runtime.observability.otel import connect  # noqa: PLC0415  an extra, and slow to import
    except ModuleNotFoundError as error:
        _log.error(
            "traces are asked for, and cannot be made: %s is not installed, pip install 'modelward-runtime[tracing]'",
            error.name,
        )
        return None
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _HTTP)
    if protocol != _HTTP:
        _log.warning("traces go by OTLP over %s, whatever OTEL_EXPORTER_OTLP_PROTOCOL says", _HTTP)
    resource = {"service.version": __version__}
    resource |= {key: environment[name] for key, name in _POD.items() if environment.get(name)}
    if not (environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")):
        resource["service.name"] = service
    tracer = connect(resource, wanted.endpoint, float(wanted.sampling)) if wanted else connect(resource)
    _log.info("traces go to a collector", extra={"protocol": _HTTP})
    return tracer
