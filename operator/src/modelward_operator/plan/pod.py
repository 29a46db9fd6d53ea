"""The pod template of the serving pods, under Pod Security `restricted`. Called by `deployment.py`.

Everything here rolls the pods when it changes; an operator upgrade must not change it (tests/golden).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from modelward_operator.api.model import Model
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.runtime import EnvVar
from modelward_operator.api.storage import scheme
from modelward_operator.facts import Given, Json
from modelward_operator.plan import names
from modelward_operator.plan.affinity import node_affinity
from modelward_operator.plan.quantity import canonical
from modelward_operator.plan.serviceaccount import account_name
from modelward_operator.plan.uri import split_pvc
from modelward_operator.rulings import Ruling, Slot


def pod_template(given: Given, spec: ModelDeploymentSpec, ruling: Ruling, image: str, boot_config_name: str) -> Json:
    """Return the template, marked with the hash of itself."""
    template: dict[str, Any] = {
        "metadata": _metadata(given, spec),
        "spec": _pod(given, spec, ruling, image, boot_config_name),
    }
    marked = {names.REVISION: names.fingerprint_of_object(template)[:16]}
    template["metadata"]["annotations"] = {**template["metadata"].get("annotations", {}), **marked}
    return template


def revision(template: Json) -> str:
    """Return the revision that a pod or a template carries, or an empty string."""
    return str(template.get("metadata", {}).get("annotations", {}).get(names.REVISION, ""))


def running_container(pod: Json) -> str:
    """Return the ID of the runtime's running container in a live pod, or an empty string."""
    containers = pod.get("status", {}).get("containerStatuses", ())
    running = (c for c in containers if c["name"] == names.CONTAINER and "running" in c.get("state", {}))
    return next((str(c.get("containerID") or pod["metadata"]["uid"]) for c in running), "")


def _metadata(given: Given, spec: ModelDeploymentSpec) -> dict[str, Any]:
    """Return what the spec asks for, and ours over it."""
    own, asked, identity = names.selector(given.key.name), spec.pod_metadata, spec.service_account
    annotations = dict(asked.annotations) if asked else {}
    if identity and identity.name is None:
        annotations[names.IDENTITY] = names.fingerprint([identity.labels, identity.annotations])[:16]
    return {
        "labels": {**(asked.labels if asked else {}), **own, "app.kubernetes.io/name": given.key.name},
        **({"annotations": annotations} if annotations else {}),
    }


def _pod(given: Given, spec: ModelDeploymentSpec, ruling: Ruling, image: str, boot_config_name: str) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "serviceAccountName": account_name(given, spec),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": spec.runtime.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": names.USER_ID,
            "runAsGroup": names.USER_ID,
            **_group(spec.model, ruling),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(spec, ruling, image)],
        "volumes": [*_volumes(given, spec, boot_config_name), *_added_volumes(ruling)],
    }
    if spec.runtime.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret.name} for secret in spec.runtime.image_pull_secrets]
    return pod | _scheduling(given, spec)


def _scheduling(given: Given, spec: ModelDeploymentSpec) -> dict[str, Any]:
    fields = spec.scheduling.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    for toleration in fields.get("tolerations", ()):
        if not toleration.get("value", "absent"):
            del toleration["value"]  # an empty one is not kept
    for constraint in fields.get("topologySpreadConstraints", ()):
        constraint["labelSelector"] = {"matchLabels": names.selector(given.key.name)}
        constraint["matchLabelKeys"] = ["pod-template-hash"]  # each revision by itself
    affinity = node_affinity(spec)
    return fields | ({"affinity": affinity} if affinity else {})


def _container(spec: ModelDeploymentSpec, ruling: Ruling, image: str) -> dict[str, Any]:
    return {
        "name": names.CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["run", "--boot", f"{names.BOOT_DIR}/boot.json", "--policy", f"{names.POLICY_DIR}/policy.json"],
        "ports": [
            {"name": "http", "containerPort": names.HTTP_PORT, "protocol": "TCP"},
            {"name": "grpc", "containerPort": names.GRPC_PORT, "protocol": "TCP"},
            {"name": "admin", "containerPort": names.ADMIN_PORT, "protocol": "TCP"},
        ],
        "env": _environment(spec, ruling),
        "resources": resources_of(spec),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # The ceiling is fixed: it must not depend on the model's size, because changing a probe rolls the pods.
        "startupProbe": _probe("/startupz", period=1, failures=spec.runtime.startup_timeout_seconds),
        "readinessProbe": _probe("/readyz", period=1, failures=3),
        "livenessProbe": _probe("/livez", period=10, failures=6),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [*_mounts(spec), *_added_mounts(ruling)],
    }


def _probe(path: str, *, period: int, failures: int) -> Json:
    return {
        "httpGet": {"path": path, "port": "admin", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _environment(spec: ModelDeploymentSpec, ruling: Ruling) -> list[Json]:
    return [
        _from_field("POD_NAME", "metadata.name"),
        _from_field("POD_NAMESPACE", "metadata.namespace"),
        {"name": "MODELWARD_CACHE_DIR", "value": names.CACHE_DIR},
        *_credentials(spec.model, ruling.values(Slot.CREDENTIALS)),
        *map(_user_variable, spec.runtime.env),
    ]


def _from_field(name: str, path: str) -> Json:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _credentials(model: Model, added: Mapping[str, str]) -> Iterator[Json]:
    """By key, not envFrom: a missing Secret or key is named in the pod's status at once, and no other key slips in."""
    secret = _secret_of(model)
    of_store = {"AWS": secret} if secret and scheme(model.uri) == "s3" else {}
    for whose, secret in sorted({**added, **of_store}.items()):
        for key in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            yield _from_secret(f"{whose}_{key}", secret, f"AWS_{key}")
        yield _from_secret(f"{whose}_SESSION_TOKEN", secret, "AWS_SESSION_TOKEN", optional=True)


def _mounted_secret(model: Model) -> tuple[Json, Json] | None:
    """The volume and the mount of a Secret that is read anew at each fetch, so that it may be renewed; that of s3:// is environment.

    Of a web server's either token or username and password are there, so the Secret is mounted as it is.
    """
    secret, kind = _secret_of(model), scheme(model.uri)
    if not secret or kind == "s3":
        return None
    name, folder = ("registry", names.REGISTRY_DIR) if kind == "oci" else ("source", names.SOURCE_DIR)
    source: dict[str, Any] = {"secretName": secret}
    if item := _MOUNTED.get(kind):
        source["items"] = [{"key": item[0], "path": item[1]}]
    source["defaultMode"] = 0o444
    return {"name": name, "secret": source}, {"name": name, "mountPath": folder, "readOnly": True}


_MOUNTED = {"oci": (".dockerconfigjson", "config.json"), "gs": ("key.json", "key.json")}


def _secret_of(model: Model) -> str:
    return model.storage.secret_ref.name if model.storage and model.storage.secret_ref else ""


def _from_secret(variable: str, secret: str, key: str, *, optional: bool = False) -> Json:
    reference: dict[str, Any] = {"name": secret, "key": key}
    if optional:
        reference["optional"] = True
    return {"name": variable, "valueFrom": {"secretKeyRef": reference}}


def _user_variable(variable: EnvVar) -> Json:
    if variable.value_from is not None:
        source = variable.value_from.secret_key_ref
        return _from_secret(variable.name, source.name, source.key)
    return {"name": variable.name, "value": variable.value} if variable.value else {"name": variable.name}


def resources_of(spec: ModelDeploymentSpec) -> Json:
    """Return what one replica requests, and its limits, as in a container."""
    requests, limits = _canonical(spec.resources.requests), _canonical(spec.resources.limits)
    if spec.accelerator:
        device = {spec.accelerator.resource: str(spec.accelerator.count)}
        requests, limits = requests | device, limits | device
    return {key: value for key, value in (("requests", requests), ("limits", limits)) if value}


def _canonical(quantities: Mapping[str, str]) -> dict[str, str]:
    return {name: canonical(quantity) for name, quantity in quantities.items()}


def _volumes(given: Given, spec: ModelDeploymentSpec, boot_config_name: str) -> list[Json]:
    volumes: list[Json] = [
        {"name": "boot", "configMap": {"name": boot_config_name}},
        {"name": "policy", "configMap": {"name": names.policy_config_name(given.key.name)}},
        {"name": "cache", "emptyDir": {}},
    ]
    storage = spec.model.storage
    if storage and storage.ca_bundle_ref:
        items = [{"key": "ca.crt", "path": "ca.crt"}]
        volumes.append({"name": "ca", "configMap": {"name": storage.ca_bundle_ref.name, "items": items}})
    if mounted := _mounted_secret(spec.model):
        volumes.append(mounted[0])
    if spec.model.cache:
        volumes.append({"name": "shared-cache", "persistentVolumeClaim": {"claimName": spec.model.cache.claim_name}})
    if spec.model.uri.startswith("pvc://"):
        claim, _ = split_pvc(spec.model.uri)
        volumes.append({"name": "model", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}})
    return volumes


def _mounts(spec: ModelDeploymentSpec) -> list[Json]:
    mounts: list[Json] = [
        {"name": "boot", "mountPath": names.BOOT_DIR, "readOnly": True},
        {"name": "policy", "mountPath": names.POLICY_DIR, "readOnly": True},
        {"name": "cache", "mountPath": names.CACHE_DIR},
    ]
    if spec.model.storage and spec.model.storage.ca_bundle_ref:
        mounts.append({"name": "ca", "mountPath": names.CA_DIR, "readOnly": True})
    if mounted := _mounted_secret(spec.model):
        mounts.append(mounted[1])
    if spec.model.cache:
        mounts.append({"name": "shared-cache", "mountPath": names.SHARED_CACHE_DIR})
    if spec.model.uri.startswith("pvc://"):
        mounts.append({"name": "model", "mountPath": names.MODEL_DIR, "readOnly": True})
    return mounts


def _added_volumes(ruling: Ruling) -> list[Json]:
    return [{"name": name, **part["source"]} for name, part in ruling.parts(Slot.VOLUME).items()]


def _added_mounts(ruling: Ruling) -> list[Json]:
    return [
        {"name": name, "mountPath": part["mountPath"], **({} if part.get("writable") else {"readOnly": True})}
        for name, part in ruling.parts(Slot.VOLUME).items()
    ]


def _group(model: Model, ruling: Ruling) -> Json:
    """A claim that pods write to belongs to root until the kubelet gives it to their group; an emptyDir is everybody's."""
    written = [part["source"] for part in ruling.parts(Slot.VOLUME).values() if part.get("writable")]
    if model.cache is None and not any("persistentVolumeClaim" in source for source in written):
        return {}
    return {"fsGroup": names.USER_ID, "fsGroupChangePolicy": "OnRootMismatch"}
