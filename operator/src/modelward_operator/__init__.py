"""The Kubernetes operator of ModelWard: ModelDeployments in, governed serving pods out."""
