"""`python -m e2e.bench.serving publish`: the last run's JSON and pictures into published/, for the README."""

import sys

from e2e.bench.serving.command import publish

if sys.argv[1:] != ["publish"]:
    sys.exit(__doc__)
publish()
