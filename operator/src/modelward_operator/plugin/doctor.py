"""The installation, looked at from outside: a literal list of pure checks. `doctor_cli.py` reads, this module judges.

Each check says ok, warning, failed or unknown (what it needs could not be read), why, and what to do next. Only what is failed makes the
exit status 1. The first thing that is wrong explains those below it, so the order is that of causes.
"""

from collections.abc import Callable, Mapping
from typing import Final

from modelward_operator.plugin.checks_cluster import check_admission, check_clocks, check_crds, check_kubernetes
from modelward_operator.plugin.checks_models import check_models, check_network, check_versions
from modelward_operator.plugin.checks_operator import (
    check_activator,
    check_leader,
    check_operator,
    check_rights,
    check_watches,
)
from modelward_operator.plugin.examination import Finding, Seen

Check = Callable[[Seen], Finding]

CHECKS: Final[Mapping[str, Check]] = {
    "Kubernetes": check_kubernetes,  # is there anything to ask
    "CRDs": check_crds,  # before the operator, which waits for them
    "Operator": check_operator,
    "Leader": check_leader,  # of its pods one works
    "Clocks": check_clocks,
    "Rights": check_rights,  # without which it works in vain
    "Watches": check_watches,  # and hears nothing
    "Activator": check_activator,
    "Admission": check_admission,
    "Versions": check_versions,
    "Network": check_network,
    "Models": check_models,  # what comes of all that
}


def examine(seen: Seen) -> list[tuple[str, Finding]]:
    """Return what each check found, in the order of the list; nothing more where there is nobody to ask."""
    if not seen.server_version:
        return [("Kubernetes", check_kubernetes(seen))]
    return [(name, check(seen)) for name, check in CHECKS.items()]
