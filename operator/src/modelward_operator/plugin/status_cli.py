"""`kubectl modelward status`: reads one ModelDeployment by the user's own kubectl. Called by `commands.py`."""

import argparse
import json
from datetime import UTC, datetime

from modelward_operator.plugin.kubectl import MODELS, Kubectl
from modelward_operator.plugin.status import status
from modelward_operator.plugin.status_text import page


def show_status(kubectl: Kubectl, options: argparse.Namespace) -> int:
    """Run the command; return its exit status: 0 the present spec is served, 1 it is not."""
    found = status(kubectl.read(MODELS, options.name, "-n", options.namespace or kubectl.namespace()))
    print(json.dumps(found, indent=2) if options.output == "json" else page(found, datetime.now(UTC)))
    return 0 if found["ready"] == "True" else 1
