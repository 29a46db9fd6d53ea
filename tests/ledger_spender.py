"""A process that spends from a real ledger until it is killed, and says of each spending that it was done.

Started by tests/integration/test_epsilon_crash.py, as `python -m tests.ledger_spender PLACE BUDGET QUOTA SEED`. A line is written when the
cost is spent, which is when the runtime would answer: what was read from the pipe was answered for certain. Who has spent QUOTA waits to
be killed: what is spent in all is the test's to say, and not the machine's.
"""

import asyncio
import os
import random
import sys

import msgspec

from modelward_runtime.epsilon.account import Terms
from modelward_runtime.epsilon.config import LedgerPlace
from modelward_runtime.epsilon.ledger import Ledger
from modelward_runtime.epsilon.shards import Shards
from modelward_runtime.epsilon.subjects import Everybody
from modelward_runtime.errors import ApiError


async def spend(ledger: Ledger, dice: random.Random, costs: list[int], quota: int) -> None:
    """Until all of them together have spent the quota."""
    while sum(costs) < quota:
        try:
            receipt = await ledger.take("", dice.randint(1, 50))
        except ApiError as refused:
            os.write(2, f"{refused.message}\n".encode())
            await asyncio.sleep(0.05)
        else:
            os.write(1, f"{receipt.reset} {receipt.cost}\n".encode())
            costs.append(receipt.cost)
            await asyncio.sleep(dice.random() / 200)


async def main(place: str, budget: str, quota: str, seed: str) -> None:
    """Four callers at once, of one process."""
    where, costs = msgspec.json.decode(place, type=LedgerPlace), list[int]()
    ledger = Ledger(Shards(where), Everybody(), Terms(int(budget), "Month"))
    callers = (spend(ledger, random.Random(f"{seed}-{number}"), costs, int(quota)) for number in range(4))
    await asyncio.gather(*callers)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
