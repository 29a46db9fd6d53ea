"""Privacy: what a model may receive, return, log and keep."""
