"""The command `modelward`. Imports nothing heavy until a command is known: `--help` answers at once.

modelward run     in a pod: boot.json and policy.json say everything
modelward serve   on a laptop: one path or a folder of models, no cluster
modelward digest  what to write into spec.model.digest
modelward completion   a script that completes all this in a shell
modelward keygen, seal, inspect, verify, rewrap   sealed models, see cli_sealing.py
modelward audit verify   audit logs, see cli_audit.py
modelward activator   holds the calls of models at zero, see cli_activator.py
"""

import argparse
import gc
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from modelward_runtime import __version__

EXAMPLES: Final[Mapping[str, Sequence[str]]] = {
    "serve": (
        "serve iris.onnx",
        "serve iris.onnx --name iris --http-port 9000 --reload",
        "serve --repository models",
        "serve sealed/7 --name fraud --model-version 7 --kek fraud.kek --trust ci.pub.pem --tenant risk",
    ),
    "digest": ("digest iris.onnx", "digest sealed/7"),
    "keygen": ("keygen kek --out fraud.kek", "keygen signing --out ci.pem", "keygen audit --out audit.pem"),
    "seal": (
        "seal fraud.onnx sealed/7 --tenant risk --name fraud --version 7 --kek fraud.kek --kek-id k1 --sign-key ci.pem",
        "seal fraud/ s3://models/fraud/7/ --tenant risk --name fraud --version 7 --kek awskms:ARN --sign-key ci.pem",
    ),
    "inspect": ("inspect sealed/7",),
    "verify": ("verify sealed/7 --trust ci.pub.pem --tenant risk --name fraud --model-version 7",),
    "rewrap": ("rewrap sealed/7 --kek old.kek --new-kek new.kek --new-kek-id k2 --keep-old --sign-key ci.pem",),
}
"""What a command's own --help ends with."""

_SERVE: Final = frozenset({"run", "serve"})
_LIVE: Final = _SERVE | {"activator"}  # they serve until they are told to end, and see to their own end


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; ends the process with its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    chosen = _parser(others=list(words[:1]) != ["run"]).parse_args(words)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy starts a thread per host core otherwise, for nothing
    if chosen.command in _SERVE:
        gc.disable()  # what is imported stays: looking for garbage in it is a twentieth of a start; starting.py enables it again
    from modelward_runtime import asked  # noqa: PLC0415  `--help` and mistakes need none of it
    from modelward_runtime import main as commands  # noqa: PLC0415

    run = partial(getattr(commands, chosen.command), chosen)
    sys.exit(run() if chosen.command in _LIVE else asked.answer(run, chosen.command))


def _parser(*, others: bool = True) -> argparse.ArgumentParser:
    """All commands; without the `others` only `run`, so that a pod's start does not wait for flags that it does not take."""
    parser = argparse.ArgumentParser(
        prog="modelward",
        description="Serves ONNX models by the Open Inference Protocol v2, and seals, signs and verifies them.",
        epilog="To begin: modelward serve model.onnx. modelward COMMAND --help says more.",
    )
    parser.add_argument("--version", action="version", version=f"modelward {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    if others:
        _add_serve(commands)
    _add_run(commands)
    if others:
        _add_others(commands, parser)
    _describe(commands)
    return parser


def _add_others(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", parser: argparse.ArgumentParser
) -> None:
    from modelward_runtime import cli_activator, cli_audit, cli_sealing  # noqa: PLC0415  a pod needs none of them

    digest = commands.add_parser("digest", help="print the digest of a model file or folder, for spec.model.digest")
    digest.add_argument("path", type=Path, metavar="PATH", help="a .onnx file, or a folder; sealed or plain")
    cli_sealing.add(commands)
    cli_audit.add(commands)
    cli_activator.add(commands)
    completion = commands.add_parser(
        "completion", help="print a script that completes commands and flags in your shell"
    )
    completion.add_argument("shell", choices=("bash", "zsh"), help="then: source <(modelward completion bash)")
    completion.set_defaults(parser=parser)


def _describe(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Let each command's own --help begin with what the list of commands says of it, and end with examples."""
    for entry in commands._get_subactions():  # noqa: SLF001  argparse keeps the words for the list alone
        command = commands.choices[entry.dest]
        command.description = command.description or f"{str(entry.help)[:1].upper()}{str(entry.help)[1:]}."
        if lines := EXAMPLES.get(entry.dest):
            command.formatter_class = argparse.RawDescriptionHelpFormatter
            command.epilog = "\n".join(["examples:", *(f"  modelward {line}" for line in lines)])


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    serve = commands.add_parser(
        "serve", help="serve a model, or a folder of models, from this machine's disk, without a cluster"
    )
    serve.add_argument(
        "path", type=Path, nargs="?", metavar="PATH", help="a .onnx file, a folder with model.onnx, or a sealed folder"
    )
    serve.add_argument("--name", help="the model's name; default: the folder's or file's name")
    serve.add_argument("--model-version", metavar="V", help="the model's version (default 1)")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s; :: for all)")
    serve.add_argument(
        "--http-port", type=_port, default=8080, metavar="N", help="REST (default %(default)s; 0: any free port)"
    )
    serve.add_argument("--grpc-port", type=_port, default=8081, metavar="N", help="gRPC (default %(default)s)")
    serve.add_argument(
        "--admin-port", type=_port, default=8082, metavar="N", help="probes, metrics (default %(default)s)"
    )
    serve.add_argument(
        "--threads",
        type=_threads,
        default=0,
        metavar="N",
        help="threads for the model (default 0: all that it may use)",
    )
    serve.add_argument(
        "--reload", action="store_true", help="serve what comes to lie at the path, without dropping a request"
    )
    serve.add_argument(
        "--slow-ms", type=_milliseconds, metavar="N", help="log requests that take N milliseconds or longer, by stage"
    )
    many = serve.add_argument_group(
        "many models",
        "DIR/NAME.onnx, DIR/NAME/model.onnx or DIR/NAME/VERSION/model.onnx; load and unload by REST and gRPC",
    )
    many.add_argument("--repository", type=Path, metavar="DIR", help="a folder of models, in place of PATH")
    many.add_argument(
        "--load", action="append", default=[], metavar="NAME", help="load only this one at the start; may be repeated"
    )
    many.add_argument("--explicit", action="store_true", help="load none at the start but those of --load")
    sealed = serve.add_argument_group(
        "sealed models", "a sealed folder demands these and, with PATH, --name and --model-version"
    )
    sealed.add_argument(
        "--kek", metavar="FILE", help="the key-encryption key that opens it; also vault:URL or awskms:ARN"
    )
    sealed.add_argument("--kek-id", default="", metavar="ID", help="its id, where it must be just this one")
    sealed.add_argument(
        "--trust",
        type=Path,
        action="append",
        default=[],
        metavar="PUB.pem",
        help="a trusted signer's public key, or the certificate of a signer or a CA, or a directory of them; "
        "a plain model must be signed then, too",
    )
    sealed.add_argument("--tenant", metavar="T", help="the tenant that it was sealed for")


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = commands.add_parser("run", help="serve what boot.json says; the command of the serving pods")
    run.add_argument("--boot", type=Path, required=True, metavar="FILE", help="boot.json: what is served, and how")
    run.add_argument(
        "--policy", type=Path, required=True, metavar="FILE", help="policy.json, read again whenever it changes"
    )
    run.add_argument(
        "--termination-log",
        type=Path,
        default=Path("/dev/termination-log"),
        metavar="FILE",
        help="where to say why it ended (default %(default)s)",
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return int(text)


def _milliseconds(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number of milliseconds")
    return int(text)


def _threads(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no number of threads")
    return int(text)
