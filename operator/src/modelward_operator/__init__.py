"""The Kubernetes operator of ModelWard."""
