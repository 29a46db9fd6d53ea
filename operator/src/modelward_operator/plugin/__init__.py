"""`kubectl modelward`: what a person asks about a ModelDeployment beyond `kubectl get`."""
