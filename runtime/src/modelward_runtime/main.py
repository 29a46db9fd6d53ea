"""What the commands of `cli.py` do, once their arguments are known. Each returns an exit code or leaves with one."""

import argparse
import asyncio
import logging
import os
import resource
import sys
import time
from collections.abc import Coroutine
from ctypes import CDLL
from pathlib import Path
from typing import Any

from modelward_runtime import config, log
from modelward_runtime.asked import told
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.exits import EXIT_PERMANENT, EXIT_USAGE, PortTaken, leave, write_termination_log

_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4
_EMPTY = Path(
    "/var/empty"
)  # of the image: nothing can be read from there by a relative path, and nothing be left there


def digest(arguments: argparse.Namespace) -> int:
    """Print the digest of a path."""
    from modelward_runtime.store.verify import digest_of  # noqa: PLC0415

    try:
        sys.stdout.write(f"{digest_of(arguments.path)}\n")
    except (LoadError, OSError) as error:
        sys.stderr.write(f"modelward digest: {error.message if isinstance(error, LoadError) else told(error)}\n")
        return EXIT_USAGE
    return 0


def completion(arguments: argparse.Namespace) -> int:
    """Print a shell's completion script."""
    from modelward_runtime.completion import script  # noqa: PLC0415

    sys.stdout.write(script(arguments.parser, arguments.shell))
    return 0


def keygen(arguments: argparse.Namespace) -> int:
    """Make a key file."""
    from modelward_runtime import keyfiles  # noqa: PLC0415

    return keyfiles.keygen(arguments)


def seal(arguments: argparse.Namespace) -> int:
    """Encrypt and sign a model."""
    from modelward_runtime import sealing  # noqa: PLC0415

    harden()
    return sealing.seal(arguments)


def rewrap(arguments: argparse.Namespace) -> int:
    """Give a sealed model another key-encryption key."""
    from modelward_runtime import sealing  # noqa: PLC0415

    harden()
    return sealing.rewrap(arguments)


def verify(arguments: argparse.Namespace) -> int:
    """Check a model's signature and bytes."""
    from modelward_runtime import inspecting  # noqa: PLC0415

    return inspecting.verify(arguments)


def audit(arguments: argparse.Namespace) -> int:
    """Verify audit logs."""
    from modelward_runtime.audit import commands  # noqa: PLC0415

    return commands.run(arguments)


def inspect(arguments: argparse.Namespace) -> int:
    """Show what a sealed model says about itself."""
    from modelward_runtime import inspecting  # noqa: PLC0415

    return inspecting.inspect(arguments)


def run(arguments: argparse.Namespace) -> int:
    """Serve in a pod."""
    log.configure(human=False)
    hardened = harden()
    try:
        content = arguments.boot.read_bytes()
        boot = config.parse_boot(content, str(arguments.boot))
        if boot.security and boot.security.encryption:
            _demand_hardened(hardened=hardened)
    except (LoadError, OSError) as error:
        return _refuse(arguments, error)
    from modelward_runtime.guard import guard_of  # noqa: PLC0415
    from modelward_runtime.load import Patience  # noqa: PLC0415
    from modelward_runtime.starting import start  # noqa: PLC0415
    from modelward_runtime.surroundings import Surroundings  # noqa: PLC0415

    surroundings = Surroundings(
        cache=Path(os.environ.get("MODELWARD_CACHE_DIR", "/var/lib/modelward")).absolute(),
        guard=guard_of(boot.security),
        policy_file=arguments.policy.absolute(),
        termination_log=arguments.termination_log.absolute(),
        patience=Patience(stall=float(os.environ.get("MODELWARD_FETCH_STALL_SECONDS", "60"))),
    )
    os.chdir(_EMPTY if _EMPTY.is_dir() else "/")
    return _live(start(boot, config.boot_id(content), surroundings))


def serve(arguments: argparse.Namespace) -> int:
    """Serve a path, or a folder of models, on this machine."""
    log.configure()
    from modelward_runtime import laptop  # noqa: PLC0415

    try:
        life = laptop.prepare(arguments)
        if arguments.kek:
            _demand_hardened(hardened=harden())
    except (LoadError, OSError) as error:
        sys.stderr.write(f"modelward serve: {error}\n")
        return EXIT_USAGE
    return _live(life())


def activator(arguments: argparse.Namespace) -> int:
    """Hold the calls of models at zero."""
    log.configure(human=False)
    harden()
    from modelward_runtime.activator.route import ApiPlace  # noqa: PLC0415
    from modelward_runtime.activator.run import Settings  # noqa: PLC0415
    from modelward_runtime.activator.run import run as live  # noqa: PLC0415

    settings = Settings(
        namespace=arguments.namespace,
        api=ApiPlace(arguments.api_server, arguments.token_file, arguments.ca_file),
        ca_directory=arguments.ca_directory,
        watch_namespaces=arguments.watch_namespaces,
        host=arguments.host,
        admin_port=arguments.admin_port,
        pod_admin_port=arguments.pod_admin_port,
        drain=arguments.drain_seconds,
        grace=arguments.grace_seconds,
    )
    return _live(live(settings))


def harden() -> bool:
    """No core dump, no ptrace, no reading of /proc/PID/mem by others: they would hold the model and its callers' data. Is it so?"""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = CDLL(None)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 and libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) == 0:
        return True
    logging.getLogger(__name__).warning("PR_SET_DUMPABLE was refused: others may read this process's memory")
    return False


def _demand_hardened(*, hardened: bool) -> None:
    """A model that is decrypted is not left where others may read it."""
    if not hardened:
        raise LoadError(
            LoadReason.CONFIG_INVALID,
            "PR_SET_DUMPABLE was refused, so that others could read the decrypted model in this process's memory: "
            "allow prctl(2), as the seccomp profile RuntimeDefault does",
            "load",
            permanent=True,
        )


def _live(life: Coroutine[Any, Any, int]) -> int:
    """Run the event loop to its end, and leave without waiting for threads."""
    import uvloop  # noqa: PLC0415

    code = EXIT_USAGE
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(life)
    except PortTaken as error:
        logging.getLogger(__name__).error("%s", error)  # noqa: TRY400  the reason is enough, a traceback helps nobody
    except Exception:
        logging.getLogger(__name__).exception("the process ends: this is a bug")
    leave(code)


def _refuse(arguments: argparse.Namespace, error: LoadError | OSError) -> int:
    """boot.json is not usable: say so where the kubelet looks."""
    if isinstance(error, LoadError):
        reason, message = str(error.reason), error.message
    else:
        reason, message = "ConfigInvalid", f"{arguments.boot}: {error.strerror}"
    logging.getLogger(__name__).error(message, extra={"reason": reason})
    failure = {
        "stage": "load",
        "reason": reason,
        "message": message,
        "permanent": True,
        "time": log.timestamp(time.time()),
    }
    write_termination_log(arguments.termination_log, failure, "")
    return EXIT_PERMANENT
