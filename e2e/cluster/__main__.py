"""The embedded cluster's commands: `python3 e2e/cluster up|down|status|build [PROGRAM…]|images`.

Standard library only: this runs on the system's python3, before any virtual environment exists.
"""

import argparse
import os
import pwd
import signal
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])  # the repository: modules are e2e.cluster.X in every setting

from e2e.cluster import chart, emulation, lifecycle, packages, processes, snapshot  # noqa: E402
from e2e.cluster.binaries import PROGRAMS, binary, build  # noqa: E402
from e2e.cluster.failures import ClusterError, StepFailed  # noqa: E402
from e2e.cluster.progress import Screen  # noqa: E402

CURRENT = os.environ.get("CLUSTER") == "current"  # the user's own cluster, by their kubeconfig


def _build(arguments: argparse.Namespace, screen: Screen) -> None:
    programs = arguments.programs or list(PROGRAMS)
    build(programs, screen)
    for program in programs:
        print(binary(program))


def _packages(_: argparse.Namespace, screen: Screen) -> None:
    packages.install(screen)
    processes.load_kernel_modules()


def _up(_: argparse.Namespace, screen: Screen) -> None:
    if CURRENT:
        chart.install_on_current(screen)
    else:
        lifecycle.up(screen)


def _down(arguments: argparse.Namespace, screen: Screen) -> None:
    if CURRENT:
        chart.remove_from_current(screen)
    else:
        lifecycle.down(screen, cache_too=arguments.cache)


def _status(_: argparse.Namespace, screen: Screen) -> None:
    if not lifecycle.status(screen):
        raise SystemExit(1)


def _images(arguments: argparse.Namespace, screen: Screen) -> None:
    if arguments.platform:
        for name, found in lifecycle.build_images_for(arguments.platform, screen).items():
            screen.say(f"{name}: {', '.join(f'linux/{image.architecture}' for image in found)}")
        return
    for image in lifecycle.build_images(screen):
        screen.say(image.reference)


def _platforms(text: str) -> list[str]:
    """Read linux/amd64,linux/arm64; the architectures, each once."""
    known = {f"linux/{name}": name for name in emulation.INTERPRETERS}
    if unknown := [name for name in text.split(",") if name not in known]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: must be of {', '.join(known)}")
    return list(dict.fromkeys(known[name] for name in text.split(",")))


def _snapshot(_: argparse.Namespace, screen: Screen) -> None:
    for topic, lines in snapshot.take().items():
        for line in lines:
            screen.say(f"{topic}: {line}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="e2e/cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("build", help="build the cluster's programs (all, or those named) and print their paths")
    one.add_argument("programs", nargs="*", metavar="PROGRAM", help=", ".join(PROGRAMS))
    one.set_defaults(run=_build)
    for name, run, text in (
        ("up", _up, "from whatever is there to a running cluster with the operator installed"),
        ("status", _status, "what runs; exit 1 when something does not"),
        ("packages", _packages, "install the Debian packages that are missing, load kernel modules"),
        ("snapshot", _snapshot, "what the machine looks like from outside: to compare before and after"),
    ):
        commands.add_parser(name, help=text).set_defaults(run=run)
    one = commands.add_parser("images", help="build the images and print their references")
    one.add_argument(
        "--platform", type=_platforms, metavar="linux/amd64,linux/arm64", help="for these, as one manifest list each"
    )
    one.set_defaults(run=_images)
    one = commands.add_parser("down", help="leave nothing of the cluster")
    one.add_argument("--cache", action="store_true", help="remove the built programs and images as well")
    one.set_defaults(run=_down)
    return parser


def _settle() -> None:
    """Make up for what a bare shell, cron or a supervisor may lack; a polite kill cleans up as Ctrl-C does."""
    os.environ["HOME"] = os.environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin".lstrip(":")
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def main() -> int:
    """Run one command; 0 done, 1 failed with a message, 130 interrupted."""
    arguments = _parser().parse_args()
    _settle()
    try:
        arguments.run(arguments, Screen())
    except KeyboardInterrupt:
        print("\ninterrupted; the next run goes on from here", file=sys.stderr)
        return 130
    except ClusterError as error:
        print(error.report() if isinstance(error, StepFailed) else error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
