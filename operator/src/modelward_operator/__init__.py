"""The Kubernetes operator of ModelWard: ModelDeployments in, governed serving pods out."""

from typing import Final

__version__: Final = "0.1.0"
