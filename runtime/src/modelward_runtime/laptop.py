"""`modelward serve`: what its flags mean, without a cluster, a boot.json or a policy.

`main.py` calls `prepare` and runs what it returns. It must not import what a model needs before the flags are known to be good.
"""

import argparse
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from modelward_runtime import config
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.guard import Guard
from modelward_runtime.observability.config import Observability

Life = Callable[[], Coroutine[Any, Any, int]]


def prepare(arguments: argparse.Namespace) -> Life:
    """What is to live in the event loop; LoadError or OSError when the flags do not go together with what lies there."""
    if (arguments.path is None) == (arguments.repository is None):
        raise _usage("give either PATH, one model, or --repository DIR, a folder of them")
    return _one(arguments) if arguments.path is not None else _many(arguments)


def _one(arguments: argparse.Namespace) -> Life:
    from modelward_runtime.greeting import say_ready  # noqa: PLC0415
    from modelward_runtime.starting import start  # noqa: PLC0415
    from modelward_runtime.surroundings import Surroundings  # noqa: PLC0415

    if arguments.load or arguments.explicit:
        raise _usage("--load and --explicit choose from a folder of models: give --repository DIR too")
    path: Path = arguments.path.absolute()
    name = arguments.name or (path.stem if path.suffix == ".onnx" else path.name)
    for flag, word in (("--name", name), ("--model-version", arguments.model_version or "1")):
        if "/" in word or not word.isprintable():
            raise _usage(f"{word!a} cannot be part of a path that callers ask for: give another {flag}")
    boot = _boot(arguments, name, path)
    surroundings = Surroundings(
        cache=path,
        guard=_guard(arguments, path),
        host=arguments.host,
        on_ready=lambda ready: say_ready(ready, arguments.host, sys.stdout),
        reload=arguments.reload,
    )
    return partial(start, boot, "", surroundings)


def _many(arguments: argparse.Namespace) -> Life:
    from modelward_runtime.greeting import say_opened  # noqa: PLC0415
    from modelward_runtime.library.serving import Wishes, serve_library  # noqa: PLC0415

    if arguments.name or arguments.model_version:
        raise _usage("--name and --model-version are of one model: in a repository folders and files say them")
    folder: Path = arguments.repository.absolute()
    if not folder.is_dir():
        raise _usage(f"{folder} is no folder")
    wishes = Wishes(
        folder=folder,
        boot=_boot(arguments, folder.name, folder),
        guard=_guard_of_many(arguments, folder),
        host=arguments.host,
        only=frozenset(arguments.load) if arguments.load or arguments.explicit else None,
        reload=arguments.reload,
        on_ready=lambda opened: say_opened(opened, folder, arguments.host, sys.stdout),
    )
    return partial(serve_library, wishes)


def _boot(arguments: argparse.Namespace, name: str, path: Path) -> config.Boot:
    version = arguments.model_version or "1"
    slow = arguments.slow_ms
    return config.Boot(
        api_version=config.API_VERSION,
        kind="Boot",
        model=config.ModelSource(name=name, version=version, uri=str(path), directory=str(path)),
        engine=config.Engine(threads=arguments.threads),
        server=config.Server(
            http_port=arguments.http_port,
            grpc_port=arguments.grpc_port,
            admin_port=arguments.admin_port,
            drain_seconds=0,
        ),
        observability=Observability(slow_request_milliseconds=slow) if slow else None,
    )


def _guard(arguments: argparse.Namespace, path: Path) -> Guard:
    """What the flags demand; LoadError when a sealed model lacks some of them."""
    from modelward_runtime.store.verify import files_below, is_sealed  # noqa: PLC0415

    names = set(files_below(path)) if path.is_dir() else set()
    _suggest_repository(path, names)
    sealed = is_sealed(names)
    if sealed or arguments.kek:
        named = {"--name N": arguments.name, "--model-version V": arguments.model_version}
        _demand_flags(arguments, path, "is a sealed model" if sealed else "is to be sealed, as --kek says", named)
    return _guard_of_flags(arguments)


def _suggest_repository(path: Path, names: set[str]) -> None:
    """Who names a folder of folders means all of them."""
    models = sorted(name for name in names if name.endswith(".onnx"))
    if models and not any("/" not in name for name in models):
        raise _usage(
            f"{path} holds no model itself, but further down, as {models[0]}: "
            f"serve one of these folders, or all of them with --repository {path}"
        )


def _guard_of_many(arguments: argparse.Namespace, folder: Path) -> Guard:
    if arguments.kek:
        _demand_flags(arguments, folder, "holds sealed models, as --kek says", {})
    return _guard_of_flags(arguments)


def _guard_of_flags(arguments: argparse.Namespace) -> Guard:
    if not (arguments.kek or arguments.trust):
        return Guard()
    from modelward_runtime.keyfiles import load_trusted, open_kek  # noqa: PLC0415

    trust = load_trusted(arguments.trust)
    kek = (lambda: open_kek(arguments.kek, arguments.kek_id)) if arguments.kek else None
    return Guard(arguments.tenant or "", kek, "Required", lambda: trust)


def _demand_flags(arguments: argparse.Namespace, path: Path, why: str, named: dict[str, str | None]) -> None:
    given = {
        "--kek FILE": arguments.kek,
        "--trust PUB.pem": arguments.trust,
        "--tenant T": arguments.tenant,
        **named,
    }
    missing = [flag for flag, content in given.items() if not content]
    if missing:
        raise _usage(f"{path} {why}: give {' '.join(missing)} too")


def _usage(message: str) -> LoadError:
    return LoadError(LoadReason.CONFIG_INVALID, message, "load", permanent=True)
