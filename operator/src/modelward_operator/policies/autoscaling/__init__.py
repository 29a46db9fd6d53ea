"""Autoscaling: who decides the number of replicas, and within which bounds."""
