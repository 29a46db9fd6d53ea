"""`modelward run` with one thing done otherwise than it would be: what `suite.py` compares the defaults with. No option of the product."""

from __future__ import annotations

import sys
from typing import Any

from modelward_runtime import cli, engine, ports, providers
from modelward_runtime.hardware import Hardware
from modelward_runtime.pace import Inline


def without_arena(*given: Any) -> Any:
    options = providers.options_of(*given)
    options.enable_cpu_mem_arena = False
    return options


def alter(variant: str) -> None:
    """Do this otherwise."""
    match variant:
        case "spinning":
            setattr(Hardware, "spinning", True)  # noqa: B010  a property, of a type that knows it as one
        case "no arena":
            setattr(engine, "options_of", without_arena)  # noqa: B010  a name that it imports
        case "2 workers":
            ports._workers = lambda *_, **__: 2  # noqa: SLF001
        case "never inline":
            ports._inline = lambda *_: None  # noqa: SLF001
        case "always inline":
            ports._inline = lambda *_: Inline(1.0)  # noqa: SLF001


if __name__ == "__main__":
    alter(sys.argv[1])
    sys.argv = ["modelward", *sys.argv[2:]]
    cli.main()
