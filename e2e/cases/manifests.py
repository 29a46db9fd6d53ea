"""What a user would write, as values: the ModelDeployment of a case and the objects around it. Pure."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e.cases.place import Store, runtime_image

Object = dict[str, Any]
NAME = "scorer"
CREDENTIALS = "s3-read"
AUTHORITY = "corp-ca"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
_HARDENED = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONTAINED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def namespace(name: str, labels: Mapping[str, str] = RESTRICTED) -> Object:
    """A namespace, by default one where only pods under Pod Security `restricted` may run."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}}


def model_deployment(uri: str, storage: Object | None = None, name: str = NAME, **spec: Any) -> Object:
    """A ModelDeployment with small requests. Words of `spec` override; `model` adds to uri and storage.

    Whoever reaches it may call, unless `security` says otherwise: most cases are about something else.
    """
    model = {"uri": uri} | ({"storage": storage} if storage else {}) | spec.pop("model", {})
    spec["security"] = {"authentication": {"mode": "None"}} | spec.get("security", {})
    resources = {"requests": {"cpu": "20m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}}
    return {
        "apiVersion": "modelward.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name},
        "spec": {"model": model, "resources": resources} | spec,
    }


def storage(store: Store, **change: Any) -> Object:
    """How a case reaches the object store, unless it says otherwise."""
    usual = {"endpoint": store.endpoint, "region": "us-east-1", "secretRef": {"name": CREDENTIALS}}
    return {key: value for key, value in (usual | change).items() if value is not None}


def credentials(store: Store, name: str = CREDENTIALS, secret_key: str = "") -> Object:
    """The Secret with the object store's credentials; another `secret_key` makes them wrong."""
    pair = {"AWS_ACCESS_KEY_ID": store.access_key, "AWS_SECRET_ACCESS_KEY": secret_key or store.secret_key}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": pair}


def authority(ca_file: Path) -> Object:
    """The ConfigMap with the object store's private CA."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": AUTHORITY},
        "data": {"ca.crt": ca_file.read_text()},
    }


def client_pod(name: str, script: str, *arguments: str) -> Object:
    """A pod that runs a Python script from the serving image, under Pod Security `restricted`."""
    container = {
        "name": "client",
        "image": runtime_image(),
        "command": ["python3", "-u", "-c", script, *arguments],
        "securityContext": _CONTAINED,
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
    }
    spec = {
        "containers": [container],
        "securityContext": _HARDENED,
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def claim(name: str, volume: str) -> Object:
    """A PersistentVolumeClaim of just that volume."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "10Mi"}},
            "storageClassName": "",
            "volumeName": volume,
        },
    }


def host_volume(name: str, path: str) -> Object:
    """A PersistentVolume that is a folder of the node."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "capacity": {"storage": "10Mi"},
            "hostPath": {"path": path, "type": "DirectoryOrCreate"},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
        },
    }


def files(name: str, content: Mapping[str, bytes]) -> Object:
    """A ConfigMap that carries small files."""
    encoded = {key: base64.b64encode(value).decode() for key, value in content.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "binaryData": encoded}


def host_writer(name: str, files_from: str, path: str) -> Object:
    """A root pod that copies a ConfigMap's files into a folder of the node; it needs a namespace that allows that."""
    script = (
        "import pathlib, shutil\n"
        "for f in pathlib.Path('/from').iterdir():\n"
        "    if f.is_file(): shutil.copyfile(f, '/to/' + f.name); pathlib.Path('/to', f.name).chmod(0o644)\n"
    )
    container = {
        "name": "writer",
        "image": runtime_image(),
        "command": ["python3", "-c", script],
        "securityContext": {"runAsUser": 0},
        "volumeMounts": [{"name": "from", "mountPath": "/from"}, {"name": "to", "mountPath": "/to"}],
    }
    volumes = [
        {"name": "from", "configMap": {"name": files_from}},
        {"name": "to", "hostPath": {"path": path, "type": "DirectoryOrCreate"}},
    ]
    spec = {"containers": [container], "volumes": volumes, "restartPolicy": "Never"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
