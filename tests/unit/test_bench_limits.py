"""The suite of CPU limits: quotas as the kernel reads them, of both versions, and honesty where none can be set."""

from pathlib import Path

import numpy as np
import pytest

from e2e.bench.limits import cgroup as module
from e2e.bench.limits import suite
from e2e.bench.limits.cgroup import NoCgroup, cgroup
from e2e.bench.limits.load import request


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path


def test_version_2_has_one_file(root: Path) -> None:
    (root / "cgroup.subtree_control").write_text("cpuset cpu memory\n")
    with cgroup() as group:
        (folder,) = (path for path in root.iterdir() if path.is_dir())
        group.limit(0.5)
        assert "50000 100000" == (folder / "cpu.max").read_text()
        assert ["sh", "-c", f"echo $$ >{folder}/cgroup.procs && exec serve 'a b'"] == group.wrap(["serve", "a b"])
        (folder / "cpu.max").unlink()
    assert not folder.exists()


def test_version_1_has_two(root: Path) -> None:
    (root / "cpu").mkdir()
    (root / "cpu/cgroup.procs").touch()
    with cgroup() as group:
        (folder,) = (path for path in (root / "cpu").iterdir() if path.is_dir())
        group.limit(2)
        files = {path.name: path.read_text() for path in folder.iterdir()}
        assert {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "200000"} == files
        for path in folder.iterdir():
            path.unlink()


@pytest.mark.usefixtures("root")
def test_without_a_controller_nothing_is_claimed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoCgroup, match="no CPU controller"), cgroup():
        pass
    assert suite.run(1)
    assert capsys.readouterr().out.startswith("bench limits: nothing was measured: ")


def test_a_request_says_how_long_its_parts_are() -> None:
    rows = np.arange(4, dtype=np.float32).reshape(1, 4)
    head, _, body = request("m", rows).partition(b"\r\n\r\n")
    length = int(head.split(b"inference-header-content-length: ")[1].split(b"\r\n")[0])
    assert rows.tobytes() == body[length:]
    assert f"\r\ncontent-length: {len(body)}".encode() in head
