"""The two ConfigMaps that configure the runtime: boot.json, which rolls the pods, and policy.json, which is read live.

The format is the file contract `runtime/v1`; the runtime parses it strictly, and tests/contract parses every golden with the
runtime's own parser.
"""

import hashlib
from typing import Any

from modelward_operator.api.model import Model
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.quantity import amount
from modelward_operator.api.runtime import DRAIN_SECONDS, MAX_BODY_SIZE, REQUEST_TIMEOUT_SECONDS, Batching, Padding
from modelward_operator.api.storage import scheme
from modelward_operator.facts import Given, Json, Plan
from modelward_operator.plan import names
from modelward_operator.plan.uri import split_pvc
from modelward_operator.rulings import Ruling, Slot

API_VERSION = "runtime/v1"


def boot_config(given: Given, spec: ModelDeploymentSpec, ruling: Ruling) -> Json:
    """Return the immutable ConfigMap with boot.json, named by its content."""
    boot = names.canonical_json(_boot(given, spec) | ruling.parts(Slot.BOOT))
    name = names.boot_config_name(given.key.name, names.fingerprint(boot))
    return names.child(given, "v1", "ConfigMap", name, immutable=True, data={"boot.json": boot})


def policy_config(given: Given, ruling: Ruling) -> Json:
    """Return the ConfigMap with policy.json, whose `generation` the pods report once they enforce it."""
    policy: dict[str, Any] = {"apiVersion": API_VERSION, "kind": "Policy"} | ruling.parts(Slot.POLICY)
    policy["generation"] = names.fingerprint(policy)[:12]
    name = names.policy_config_name(given.key.name)
    return names.child(given, "v1", "ConfigMap", name, data={"policy.json": names.canonical_json(policy)})


def max_body_bytes(spec: ModelDeploymentSpec) -> int:
    """Return the size of the largest body of a request."""
    return int(amount(spec.runtime.max_body_size or MAX_BODY_SIZE))


def policy_digest(plan: Plan) -> str:
    """Return the SHA-256 of the planned policy.json, in hex, which pods report once they enforce it."""
    planned = next(o for o in plan.objects if "policy.json" in o.get("data", {}))
    return hashlib.sha256(planned["data"]["policy.json"].encode()).hexdigest()


def _boot(given: Given, spec: ModelDeploymentSpec) -> dict[str, Any]:
    boot: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "Boot",
        "model": _model(given, spec),
        "engine": _engine(spec),
        "server": {
            "httpPort": names.HTTP_PORT,
            "grpcPort": names.GRPC_PORT,
            "adminPort": names.ADMIN_PORT,
            "drainSeconds": spec.runtime.drain_seconds or DRAIN_SECONDS,
            "requestTimeoutSeconds": spec.runtime.request_timeout_seconds or REQUEST_TIMEOUT_SECONDS,
            "maxBodyBytes": max_body_bytes(spec),
            "maxQueue": names.MAX_QUEUE,
        },
    }
    if spec.runtime.batching:
        boot["batching"] = _batching(spec.runtime.batching)
    if spec.observability:
        boot["observability"] = spec.observability.model_dump(by_alias=True, exclude_none=True)
    return boot


def _engine(spec: ModelDeploymentSpec) -> dict[str, Any]:
    engine = {"threads": spec.runtime.threads, "accelerator": "CUDA" if spec.accelerator else "CPU"}
    cuda = spec.runtime.cuda
    if cuda is None:
        return engine
    told = cuda.model_dump(by_alias=True, exclude_defaults=True, exclude={"memory_limit"})
    if cuda.memory_limit is not None:
        told["memoryLimitBytes"] = int(amount(cuda.memory_limit))
    return engine | ({"cuda": told} if told else {})


def _batching(batching: Batching) -> dict[str, Any]:
    """Padding only where it is wanted: a serving image from before does not know the field."""
    told = batching.model_dump(by_alias=True)
    if batching.padding == Padding.NONE:
        del told["padding"]
    return told


def _model(given: Given, spec: ModelDeploymentSpec) -> dict[str, Any]:
    model: dict[str, Any] = {
        "name": spec.model.name or given.key.name,
        "version": spec.model.version,
        "uri": spec.model.uri,
    }
    if spec.model.digest:
        model["digest"] = spec.model.digest
    if spec.model.uri.startswith("pvc://"):
        _, path = split_pvc(spec.model.uri)
        model["directory"] = f"{names.MODEL_DIR}/{path}".rstrip("/")
    return model | _storage(spec.model) | _cache(spec.model)


def _storage(model: Model) -> dict[str, Any]:
    storage = model.storage
    if not storage:
        return {}
    ca = {"caBundleFile": f"{names.CA_DIR}/ca.crt"} if storage.ca_bundle_ref else {}
    secret = bool(storage.secret_ref)
    match scheme(model.uri):
        case "oci":
            config = f"{names.REGISTRY_DIR}/config.json" if secret else None
            return {"oci": _present({"endpoint": storage.endpoint, "dockerConfigFile": config}), **ca}
        case "gs":
            key = f"{names.SOURCE_DIR}/key.json" if secret else None
            return {"gs": _present({"endpoint": storage.endpoint, "serviceAccountFile": key}), **ca}
        case "https":
            return {"https": {"credentialsDirectory": names.SOURCE_DIR} if secret else {}, **ca}
        case _:
            return {"s3": _present({"endpoint": storage.endpoint, "region": storage.region}), **ca}


def _cache(model: Model) -> dict[str, Any]:
    if not model.cache:
        return {}
    return {"cache": {"directory": names.SHARED_CACHE_DIR, "maxBytes": int(amount(model.cache.size_limit))}}


def _present(fields: dict[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in fields.items() if value is not None}
