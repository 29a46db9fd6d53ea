"""The real input of the demo, the e2e cases and the benchmarks: three model families made here, none downloaded ready-made.

`python -m e2e.models` trains two classifiers on scikit-learn's breast cancer data and one on its digits, and writes the
graph of a six-layer BERT over published weights. Nothing here knows Kubernetes or ModelWard.
"""
