"""`modelward completion bash|zsh`: a script that completes the commands and their flags, made from the parser itself.

    source <(modelward completion bash)

Called by `main.py` with `cli.py`'s parser, so that a new command or flag completes without a line here. Everything that is no flag
and no fixed choice completes to files.
"""

import argparse
import shlex

_BASH = """\
_modelward() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} command=${{COMP_WORDS[1]}} words= switches=
  if [ "$COMP_CWORD" -eq 1 ]; then words={commands}; else
    case $command in
{cases}
    esac
  fi
  case $previous in --*) [[ " $switches " == *" $previous "* ]] || words= ;; esac
  if [ -n "$words" ] && {{ [ "$COMP_CWORD" -eq 1 ] || [[ $word == -* ]] || [[ $words != -* ]]; }}; then
    COMPREPLY=($(compgen -W "$words" -- "$word"))
  fi
  [ ${{#COMPREPLY[@]}} -gt 0 ] || COMPREPLY=($(compgen -f -- "$word"))
}}
complete -o filenames -F _modelward modelward
"""


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell; zsh runs bash's through its own compatibility layer."""
    commands = _commands(parser)
    cases = "\n".join(
        f"      {name}) words={shlex.quote(' '.join(_words(command)))}; switches={shlex.quote(' '.join(_switches(command)))} ;;"
        for name, command in commands.items()
    )
    told = _BASH.format(commands=shlex.quote(" ".join(commands)), cases=cases)
    return "autoload -U +X bashcompinit && bashcompinit\n" + told if shell == "zsh" else told


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # noqa: SLF001  argparse tells what it has parsed, not what it could
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  as above
            found.update(action.choices)
    return found


def _words(command: argparse.ArgumentParser) -> list[str]:
    """Fixed choices of the positional arguments, then the flags."""
    actions = _actions(command)
    choices = [str(choice) for action in actions if not action.option_strings for choice in action.choices or ()]
    flags = [flag for action in actions for flag in action.option_strings if flag.startswith("--")]
    return [*choices, *dict.fromkeys(flags)]


def _switches(command: argparse.ArgumentParser) -> list[str]:
    return [flag for action in _actions(command) if action.nargs == 0 for flag in action.option_strings]


def _actions(command: argparse.ArgumentParser) -> list[argparse.Action]:
    """A command's own, and those of the commands below it, as of `audit verify`."""
    below = (action for each in _commands(command).values() for action in _actions(each))
    return [*command._actions, *below]  # noqa: SLF001  as above
