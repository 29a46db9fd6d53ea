"""What a model's own metadata say, that somebody wrote into it: lists of names.

Read by `arguments.py` (`optional_inputs`) and by a privacy policy's compiler (`feature_names`). They are as trusted as the model's bytes.
"""

import json


def names_in(text: str) -> list[str]:
    """A metadata property that lists names: a JSON list of strings, or names with commas between; empty where it is none."""
    text = text.strip()
    if text.startswith("["):
        try:
            names = json.loads(text)
        except (ValueError, RecursionError):
            return []
        return names if all(isinstance(name, str) for name in names) else []
    return [name.strip() for name in text.split(",")] if text else []
