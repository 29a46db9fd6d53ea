"""The only code that talks to the Kubernetes API and to the pods; everything else is pure or waits for it."""
