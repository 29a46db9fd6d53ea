"""The quick ring's share: seeds, kept inputs and a fixed number of mutations of them, the same each time."""

import random

from e2e.fuzz import corpus
from e2e.fuzz.bounds import Bounds
from e2e.fuzz.mutate import mutate
from e2e.fuzz.target import Target


class Found(Exception):
    """An input that broke a target; the text has all that is needed to see it again."""


def replay(target: Target, *, runs: int | None = None, seed: int = 0) -> int:
    """Run them; return how many. Raises `Found`."""
    pool = [*target.seeds, *corpus.load(target.name)]
    chance = random.Random(f"{target.name} {seed}")
    count = target.runs if runs is None else runs
    for number in range(len(pool) + count):
        data = pool[number] if number < len(pool) else mutate(chance, pool, target.words, target.longest)
        try_one(target, data)
    return len(pool) + count


def try_one(target: Target, data: bytes) -> None:
    """Run a target on one input, within bounds."""
    try:
        with Bounds():
            target.run(data)
    except Exception as error:
        raise Found(f"{target.name}, {data!r}: {type(error).__name__}: {error}") from error
