"""The command `kubectl_complete-modelward`, which kubectl's own completion calls for this plugin, in bash, zsh, fish and PowerShell alike.

    kubectl_complete-modelward WORD …    prints what the last word may become, one a line, and last `:4`, cobra's "no file names"

It must be quick and silent: what cannot be read is no candidate.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from modelward_operator.plugin.cli import make_parser
from modelward_operator.plugin.kubectl import MODELS, Kubectl, KubectlError

NO_FILES = ":4"
FILES = ":0"
FILE_OPTIONS = frozenset({"-f", "--filename", "--token-file", "--ca-file", "--kubeconfig"})


def candidates(parser: argparse.ArgumentParser, words: Sequence[str], kubectl: Kubectl) -> Iterator[str]:
    """Yield what the last of the words may become."""
    *before, _ = words or [""]
    commands = _commands(parser)
    command = next((word for word in before if word in commands), "")
    if not command:
        yield from commands
        return
    last = before[-1]
    if words[-1].startswith("-"):
        yield from sorted(option for action in commands[command]._actions for option in action.option_strings)  # noqa: SLF001  argparse has no other way
        return
    for action in commands[command]._actions:  # noqa: SLF001  likewise
        if last in action.option_strings and action.nargs != 0:
            yield from action.choices or _values(last, before, kubectl)
            return
    if not any(
        word for word in before[before.index(command) + 1 :] if not word.startswith("-") and not _is_value(word, before)
    ):
        yield from _models(before, kubectl)


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (found,) = (action.choices for action in parser._actions if isinstance(action.choices, dict))  # noqa: SLF001  likewise
    return dict(found)


def _is_value(word: str, before: Sequence[str]) -> bool:
    at = before.index(word)
    return before[at - 1].startswith("-")


def _values(option: str, before: Sequence[str], kubectl: Kubectl) -> Iterable[str]:
    if option in {"-n", "--namespace", "--operator-namespace"}:
        return _names(kubectl, "namespaces")
    if option == "--context":
        return _lines(kubectl, "config", "get-contexts", "-o", "name")
    if option in {"--to", "--revision"}:
        from modelward_operator.plan.names import selector  # noqa: PLC0415  it imports the kinds, for this one alone

        name = next((word for word in reversed(before) if not word.startswith("-") and not _is_value(word, before)), "")
        labels = ",".join(f"{key}={value}" for key, value in selector(name).items())
        shown = "jsonpath={range .items[*]}{.revision}{'\\n'}{end}"
        return _lines(kubectl, "get", "controllerrevisions.apps", *_namespace(before), "-l", labels, "-o", shown)
    return ()


def _models(before: Sequence[str], kubectl: Kubectl) -> Iterable[str]:
    return _names(kubectl, MODELS, *_namespace(before))


def _namespace(before: Sequence[str]) -> Sequence[str]:
    for option, value in pairwise(before):
        if option in {"-n", "--namespace"}:
            return "-n", value
    return ()


def _names(kubectl: Kubectl, *what: str) -> list[str]:
    return [line.rpartition("/")[2] for line in _lines(kubectl, "get", *what, "-o", "name", "--request-timeout=3s")]


def _lines(kubectl: Kubectl, *arguments: str) -> list[str]:
    try:
        return kubectl.run(*arguments).split()
    except KubectlError:
        return []


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; always ends with 0."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    pairs = pairwise(words)
    chosen = [
        part for option, value in pairs if option in {"--context", "--kubeconfig"} and value for part in (option, value)
    ]
    for found in candidates(make_parser(), words, Kubectl(chosen)):
        if found.startswith(words[-1] if words else ""):
            print(found)
    print(FILES if len(words) > 1 and words[-2] in FILE_OPTIONS else NO_FILES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
