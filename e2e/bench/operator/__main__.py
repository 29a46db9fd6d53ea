"""`python -m e2e.bench.operator publish`."""

import sys

from e2e.bench.operator.suite import publish

if __name__ == "__main__":
    if sys.argv[1:] != ["publish"]:
        sys.exit("usage: python -m e2e.bench.operator publish")
    publish()
