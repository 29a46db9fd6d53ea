"""The imports of a start begin when a sealed model on a volume is verified, and do not wait for anything that may take long."""

import asyncio
import gc
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from modelward_runtime import hardware, starting
from modelward_runtime.config import Boot
from modelward_runtime.guard import Guard, guard_of
from modelward_runtime.report import Report, State
from modelward_runtime.surroundings import Surroundings
from tests.sealed_models import make_model, sealed_boot

LONG = 120.0
"""Seconds: more than anything takes that does not wait for its end."""


@pytest.fixture
def boot(tmp_path: Path) -> Boot:
    return sealed_boot(tmp_path, make_model(tmp_path))


async def waited(boot: Boot, guard: Guard, *states: State, loads: float = LONG) -> float:
    """Seconds until imports may begin, when the load enters these states at once and ends after `loads`."""
    report, began = Report(boot, "b"), time.monotonic()
    loading: asyncio.Task[Any] = asyncio.ensure_future(asyncio.sleep(loads))
    begun = starting.Begun(boot, report, hardware.measure(), loading)
    waiting = asyncio.ensure_future(starting.let_verify(begun, Surroundings(Path("cache"), guard)))
    await asyncio.sleep(0)
    for state in states:
        report.enter(state)
    await waiting
    loading.cancel()
    return time.monotonic() - began


async def test_imports_begin_when_a_sealed_model_is_verified(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "_HEAD_START", LONG)
    guard = guard_of(boot.security)
    assert await waited(boot, guard, State.VERIFYING, State.DECRYPTING) < LONG
    assert await waited(boot, guard, State.VERIFYING, loads=0.01) < LONG, "the load has failed"
    assert await waited(boot, Guard()) < LONG, "a plain model is not waited for"


async def test_imports_wait_a_moment_and_no_longer(boot: Boot) -> None:
    assert 0.09 < await waited(boot, guard_of(boot.security), State.VERIFYING) < LONG


def test_a_model_is_on_its_way_before_what_serves_it_is_imported() -> None:
    code = (
        "import sys, modelward_runtime.main, modelward_runtime.starting\n"
        "heavy = ('serve', 'listen', 'admin', 'metrics', 'engine')\n"
        "print([name for name in heavy if f'modelward_runtime.{name}' in sys.modules])"
    )
    assert "[]\n" == subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_what_a_plain_model_does_not_need_is_not_imported() -> None:
    code = (
        "import sys\n"
        "from modelward_runtime import config, serve\n"
        "serve._import(config.Boot('runtime/v1', 'Boot', config.ModelSource('m', '1', 'x')))\n"
        "from modelward_runtime import warming\n"
        "late = ('google', 'grpc', 'prometheus_client', 'cryptography', 'numpy.random', 'modelward_runtime.privacy.compile',\n"
        "        'modelward_runtime.access.client', 'modelward_runtime.openapi', 'simdjson', 'numpy._typing')\n"
        "print([name for name in late if name in sys.modules])"
    )
    assert "[]\n" == subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_numpy_is_whole_but_for_docstrings_of_its_compiled_parts() -> None:
    code = (
        "from modelward_runtime.lean import import_numpy\n"
        "import_numpy()\n"
        "import numpy as np\n"
        "import numpy.typing as npt\n"
        "assert not np.ndarray.sum.__doc__, 'then there is nothing to leave out any more'\n"
        "one = np.random.default_rng(1).normal(size=(4, 4))\n"
        "left, values, right = np.linalg.svd(one)\n"
        "assert np.allclose(left * values @ right, one)\n"
        "print(np.linalg.eigh(one + one.T)._fields)\n"
        "print(getattr(npt.NDArray, '__value__', npt.NDArray)[np.int64])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    real = getattr(npt.NDArray, "__value__", npt.NDArray)[np.int64]  # where it is an alias, its value
    assert done.stdout == f"('eigenvalues', 'eigenvectors')\n{real}\n"


def test_garbage_is_looked_for_again_once_all_is_imported() -> None:
    gc.disable()
    starting.keep_imports()
    assert gc.isenabled()
    gc.unfreeze()
