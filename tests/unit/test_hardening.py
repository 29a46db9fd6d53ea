"""What the process demands of the kernel before it decrypts a model."""

from pathlib import Path

import msgspec
import pytest

from modelward_runtime import cli, main
from modelward_runtime.config import Boot
from tests.sealed_models import make_model, sealed_boot


class Kernel:
    """The C library, with a kernel behind it that says `refused` to PR_SET_DUMPABLE, or that does nothing and says it did."""

    def __init__(self, refused: int) -> None:
        self._refused = refused

    def prctl(self, option: int, *_: int) -> int:
        return self._refused if option == 4 else 1


@pytest.fixture(params=[-1, 0], ids=["refused", "without effect"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "CDLL", lambda _: Kernel(request.param))
    monkeypatch.setattr(main.resource, "setrlimit", lambda *_: None)  # type: ignore[attr-defined]
    monkeypatch.setattr(main.log, "configure", lambda **_: None)  # type: ignore[attr-defined]
    monkeypatch.setattr(main, "_live", lambda life: life.close() or 0)
    monkeypatch.setattr(main.os, "chdir", lambda _: None)  # type: ignore[attr-defined]


def run(home: Path, boot: Boot) -> tuple[object, str]:
    """The exit code in a pod, and the termination log."""
    (home / "boot.json").write_bytes(msgspec.json.encode(boot))
    (home / "log").write_bytes(b"")
    told = ["--boot", home / "boot.json", "--policy", home / "policy.json", "--termination-log", home / "log"]
    with pytest.raises(SystemExit) as left:
        cli.main(["run", *map(str, told)])
    return left.value.code, (home / "log").read_text()


@pytest.mark.usefixtures("kernel")
def test_a_pod_whose_memory_others_may_read_decrypts_no_model(tmp_path: Path) -> None:
    boot = sealed_boot(tmp_path, make_model(tmp_path))
    code, told = run(tmp_path, boot)
    assert 78 == code
    failure = msgspec.json.decode(told)
    assert ("ConfigInvalid", True) == (failure["reason"], failure["permanent"])
    assert "PR_SET_DUMPABLE was refused" in failure["message"]
    assert (0, "") == run(
        tmp_path, msgspec.structs.replace(boot, security=None)
    )  # a plain one is served, with a warning


@pytest.mark.usefixtures("kernel")
def test_nor_does_a_laptop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sealed = make_model(tmp_path)
    sealed_boot(tmp_path, sealed)  # writes the keys
    told = [
        "--kek",
        sealed.kek_file,
        "--trust",
        tmp_path / "trust",
        "--tenant",
        "risk",
        "--name",
        "fraud",
        "--model-version",
        "7",
    ]
    with pytest.raises(SystemExit) as left:
        cli.main(["serve", str(sealed.folder), *map(str, told)])
    assert 1 == left.value.code
    assert "PR_SET_DUMPABLE was refused" in capsys.readouterr().err
