"""The command: `models`, `rules`, `pages`, `check`.

Exit status of `check`: 0 every rule that was asked holds, 1 one does not, 2 nobody can be asked: no server answers, or another model.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import e2e.conformance.levels  # noqa: F401  -- registers the rules
from e2e.conformance.models import ROLES, model_name, write_models
from e2e.conformance.pages import write_pages
from e2e.conformance.report import Verdict, as_json, as_text, ask
from e2e.conformance.rule import RULES, Level
from e2e.conformance.target import Endpoint, Target


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    if not __debug__:
        raise SystemExit("rules are assertions: run Python without -O")
    options = _parser().parse_args(arguments)
    if options.command == "models":
        for folder in write_models(options.folder):
            print(folder)
        return 0
    if options.command == "pages":
        write_pages()
        return 0
    if options.command == "rules":
        for one in RULES.values():
            print(f"{one.level:<16}{one.id:<20}{one.title}")
        return 0
    return _check(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m e2e.conformance", description="Conformance to the Open Inference Protocol v2."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    models = commands.add_parser("models", help="write the models that the server under test shall serve")
    models.add_argument("folder", type=Path, metavar="DIR")
    commands.add_parser("rules", help="list the rules")
    commands.add_parser("pages", help="write a page for each rule into e2e/conformance/rules/")
    check = commands.add_parser("check", help="ask a server all the rules")
    check.add_argument("--rest", required=True, metavar="URL", help="for example http://127.0.0.1:8080")
    check.add_argument("--grpc", required=True, metavar="HOST:PORT")
    check.add_argument(
        "--model", default=model_name("numbers"), metavar="NAME", help="name of the model `numbers` there"
    )
    check.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="ROLE=URL,HOST:PORT,NAME",
        help="where a server of one model serves another one; without it, models are looked for beside the first",
    )
    check.add_argument("--level", action="append", choices=[str(level) for level in Level], help="absent: all")
    check.add_argument("--token", default="", help="bearer token that goes with each request")
    check.add_argument("--server", default="", help="what the report calls the server; absent: as it calls itself")
    check.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON as well")
    check.add_argument("--timeout", type=float, default=30.0, metavar="S", help="seconds to wait for an answer")
    return parser


def _check(options: argparse.Namespace) -> int:
    first = Endpoint(options.rest.rstrip("/"), options.grpc, options.model)
    try:
        assert options.rest.startswith("http://"), (
            "rules look at plain sockets: http:// it must be, past what speaks TLS"
        )
        named = _name(first, options.token)
        _check_model(first, options.token)
    except AssertionError as error:
        print(f"{options.rest}: {error}", file=sys.stderr)
        return 2
    endpoints = {"numbers": first, **_beside(first, options.token), **dict(_also(text) for text in options.also)}
    levels = [Level(level) for level in options.level or Level]
    server = options.server or named
    results = ask(endpoints, levels, options.token, options.timeout)
    if options.json:
        options.json.write_text(json.dumps(as_json(server, results), indent=1) + "\n", encoding="utf-8")
    print(as_text(server, results), end="")
    return int(any(result.verdict == Verdict.FAIL for result in results))


def _name(endpoint: Endpoint, token: str) -> str:
    answer = Target(endpoint, token).get("/v2")
    content = answer.json if answer.status == 200 else {}
    return f"{content.get('name', 'server')} {content.get('version', '')}".strip()


def _check_model(endpoint: Endpoint, token: str) -> None:
    """AssertionError where the metadata are another model's than the suite's: each rule would fail, and say nothing of the server."""
    answer = Target(endpoint, token).get(f"/v2/models/{endpoint.model}")
    content = answer.json if answer.status == 200 else {}
    listed = content.get("outputs") if isinstance(content, dict) else None
    names = [one.get("name") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    assert not names or "double" in names, (
        f"{endpoint.model} gives {', '.join(map(str, names))} and so is not this suite's model `numbers`, which gives double and total: "
        "serve what `python -m e2e.conformance models DIR` writes"
    )


def _beside(first: Endpoint, token: str) -> dict[str, Endpoint]:
    """The other models, where the same server serves them."""
    found = {}
    for role in ROLES:
        endpoint = Endpoint(first.rest, first.grpc, model_name(role))
        if role != "numbers" and Target(endpoint, token).get(f"/v2/models/{endpoint.model}/ready").status == 200:
            found[role] = endpoint
    return found


def _also(text: str) -> tuple[str, Endpoint]:
    role, _, where = text.partition("=")
    parts = where.split(",")
    if role not in ROLES or len(parts) != 3:
        raise SystemExit(f"--also {text}: write ROLE=URL,HOST:PORT,NAME with a role of {', '.join(ROLES)}")
    return role, Endpoint(parts[0].rstrip("/"), parts[1], parts[2])


if __name__ == "__main__":
    sys.exit(main())
