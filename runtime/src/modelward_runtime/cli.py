"""The command `modelward`. Imports nothing heavy until a command is known: `--help` answers at once.

modelward run     in a pod: boot.json and policy.json say everything
modelward serve   on a laptop: one path, no cluster
modelward digest  what to write into spec.model.digest
modelward completion   a script that completes all this in a shell
modelward keygen, seal, inspect, verify, rewrap   sealed models, see cli_sealing.py
modelward audit verify   audit logs, see cli_audit.py
"""

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from modelward_runtime import __version__, cli_audit, cli_sealing


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; ends the process with its exit code."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy starts a thread per host core otherwise, for nothing
    if chosen.command in {"run", "serve"}:
        gc.disable()  # what is imported stays: looking for garbage in it is a twentieth of a start; starting.py enables it again
    from modelward_runtime import main as commands  # noqa: PLC0415  `--help` and mistakes need none of it

    sys.exit(getattr(commands, chosen.command)(chosen))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modelward", description="Serves one ONNX model by the Open Inference Protocol v2."
    )
    parser.add_argument("--version", action="version", version=f"modelward {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_run(commands)
    digest = commands.add_parser("digest", help="print the digest of a model file or folder, for spec.model.digest")
    digest.add_argument("path", type=Path, metavar="PATH")
    cli_sealing.add(commands)
    cli_audit.add(commands)
    completion = commands.add_parser(
        "completion", help="print a script that completes commands and flags in your shell"
    )
    completion.add_argument("shell", choices=("bash", "zsh"), help="then: source <(modelward completion bash)")
    completion.set_defaults(parser=parser)
    return parser


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    serve = commands.add_parser("serve", help="serve a model from this machine's disk, without a cluster")
    serve.add_argument(
        "path", type=Path, metavar="PATH", help="a .onnx file, a folder with model.onnx, or a sealed folder"
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
        "--threads", type=_threads, default=0, metavar="N", help="threads for the model; 0: all processors"
    )
    sealed = serve.add_argument_group("sealed models", "a sealed folder demands these, --name and --model-version")
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
    run.add_argument("--boot", type=Path, required=True, metavar="FILE")
    run.add_argument("--policy", type=Path, required=True, metavar="FILE")
    run.add_argument("--termination-log", type=Path, default=Path("/dev/termination-log"), metavar="FILE")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port")
    return int(text)


def _threads(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no number of threads")
    return int(text)
