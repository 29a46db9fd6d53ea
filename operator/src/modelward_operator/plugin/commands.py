"""What each command of the plugin does, once its arguments are known. Called by `cli.py`.

Each imports its own module when it runs, and those of the others never: most of what they take is the import of the kinds.
"""

from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Final

from modelward_operator.plugin.kubectl import Kubectl


def _status(kubectl: Kubectl, options: Namespace) -> int:
    from modelward_operator.plugin.status_cli import show_status  # noqa: PLC0415

    return show_status(kubectl, options)


def _predict(kubectl: Kubectl, options: Namespace) -> int:
    from modelward_operator.plugin.predict_cli import predict  # noqa: PLC0415

    return predict(kubectl, options)


def _history(kubectl: Kubectl, options: Namespace) -> int:
    from modelward_operator.plugin.revisions_cli import show_history  # noqa: PLC0415

    return show_history(kubectl, options)


def _rollback(kubectl: Kubectl, options: Namespace) -> int:
    from modelward_operator.plugin.revisions_cli import roll_back  # noqa: PLC0415

    return roll_back(kubectl, options)


def _cost(kubectl: Kubectl, options: Namespace) -> int:
    from modelward_operator.plugin.cost_cli import cost  # noqa: PLC0415

    return cost(kubectl, options)


def _evidence(kubectl: Kubectl, options: Namespace) -> int:
    from modelward_operator.plugin.evidence_cli import show_evidence  # noqa: PLC0415

    return show_evidence(kubectl, options)


def _doctor(kubectl: Kubectl, options: Namespace) -> int:
    from modelward_operator.plugin.doctor_cli import doctor  # noqa: PLC0415

    return doctor(kubectl, options)


def _plan(_kubectl: Kubectl, options: Namespace) -> int:
    from modelward_operator.offline import plan  # noqa: PLC0415

    return plan(options)


COMMANDS: Final[Mapping[str, Callable[[Kubectl, Namespace], int]]] = {
    "status": _status,
    "predict": _predict,
    "history": _history,
    "rollback": _rollback,
    "cost": _cost,
    "evidence": _evidence,
    "doctor": _doctor,
    "plan": _plan,
}
