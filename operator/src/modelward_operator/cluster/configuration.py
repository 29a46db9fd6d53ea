"""Where the API server is and who we are there: kubeconfig or service account. Called by parts.py and by tests."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from modelward_operator.errors import Unreadable

HOME_CONFIG: Final = str(Path("~/.kube/config").expanduser())


async def load_configuration(environ: Mapping[str, str] = os.environ) -> Configuration:
    """Find the API server: KUBECONFIG, else the pod's service account, else ~/.kube/config. Raises Unreadable."""
    configuration = Configuration()
    try:
        if environ.get("KUBECONFIG"):
            await load_kube_config(config_file=environ["KUBECONFIG"], client_configuration=configuration)
        elif environ.get("KUBERNETES_SERVICE_HOST"):
            load_incluster_config(client_configuration=configuration)
        else:
            await load_kube_config(config_file=HOME_CONFIG, client_configuration=configuration)
    except (ConfigException, OSError, AttributeError) as error:  # a missing file is an AttributeError inside the loader
        raise Unreadable(f"no way to reach a Kubernetes API server: {error}") from error
    return configuration
