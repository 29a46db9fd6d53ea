"""Image tags follow their inputs: nothing else changes them, and nothing that goes in is left out."""

from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.cluster import buildah, emulation, images
from e2e.cluster.failures import ClusterError


@pytest.fixture
def context(tmp_path: Path) -> dict[str, Path]:
    files = {"Dockerfile": "FROM scratch\n", "src/main.py": "print()\n"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return {name: tmp_path / name for name in files}


def test_same_inputs_have_the_same_tag_whatever_their_order_and_time(context: dict[str, Path]) -> None:
    before = images.digest(context, ["BASE=x"])
    context["src/main.py"].touch()
    assert images.digest(dict(reversed(context.items())), ["BASE=x"]) == before


Change = Callable[[dict[str, Path]], dict[str, Path]]


def change_content(context: dict[str, Path]) -> dict[str, Path]:
    context["src/main.py"].write_text("print(1)\n")
    return context


def make_executable(context: dict[str, Path]) -> dict[str, Path]:
    context["src/main.py"].chmod(0o755)
    return context


def rename(context: dict[str, Path]) -> dict[str, Path]:
    return {"Dockerfile": context["Dockerfile"], "src/other.py": context["src/main.py"]}


def drop(context: dict[str, Path]) -> dict[str, Path]:
    return {"Dockerfile": context["Dockerfile"]}


@pytest.mark.parametrize("change", [change_content, make_executable, rename, drop])
def test_a_changed_input_has_another_tag(context: dict[str, Path], change: Change) -> None:
    before = images.digest(context, [])
    assert images.digest(change(context), []) != before


def test_a_changed_build_argument_has_another_tag(context: dict[str, Path]) -> None:
    assert images.digest(context, ["BASE=a"]) != images.digest(context, ["BASE=b"])


def test_sources_leave_out_caches_and_virtual_environments(tmp_path: Path) -> None:
    for name in ("src/a.py", "src/__pycache__/a.pyc", ".venv/lib/b.py", "x.egg-info/c", "src/stray.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert images.sources(tmp_path) == [tmp_path / "src" / "a.py"]


def test_pruning_keeps_the_newest_tags_the_wanted_one_and_what_is_not_ours() -> None:
    ours = [f"2026-01-0{day}|localhost/modelward/operator:t{day}" for day in range(1, 7)]
    lines = [*ours, *(f"2026-01-0{day}|elsewhere/x:t{day}" for day in range(1, 7))]
    old = buildah.superfluous(lines, keep={"localhost/modelward/operator:t1"})
    assert old == ["localhost/modelward/operator:t3", "localhost/modelward/operator:t2"]


def registered(folder: Path, **entries: str) -> Path:
    for name, text in {"register": "", "status": "enabled\n", **entries}.items():
        (folder / name).write_text(text)
    return folder


ARM = "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: POCF\noffset 0\n"


@pytest.mark.parametrize(
    ("reason", "entry", "runs"),
    [
        ("an interpreter that is held open", ARM, True),
        ("switched off", ARM.replace("enabled", "disabled"), False),
        ("looked for inside the build's root, where it is not", ARM.replace("POCF", "PO"), False),
        ("of another kind", ARM.replace("aarch64", "riscv64"), False),
    ],
)
def test_programs_of_another_kind_run_where_an_interpreter_is_registered(
    reason: str, entry: str, runs: bool, tmp_path: Path
) -> None:
    folder = registered(tmp_path, **{"qemu-aarch64": entry})
    if runs:
        emulation.check("arm64", folder, "x86_64")
        return
    with pytest.raises(ClusterError, match="cannot run programs of arm64: apt-get install qemu-user-static") as refused:
        emulation.check("arm64", folder, "x86_64")
    assert "buildah manifest create" in str(refused.value), reason


def test_its_own_programs_every_machine_runs(tmp_path: Path) -> None:
    emulation.check("amd64", tmp_path / "absent", "x86_64")
    emulation.check("arm64", tmp_path / "absent", "aarch64")
    with pytest.raises(ClusterError):
        emulation.check("amd64", tmp_path / "absent", "aarch64")


def test_an_image_of_another_kind_has_a_base_and_a_name_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODELWARD_CACHE", str(tmp_path))
    monkeypatch.setattr(emulation, "native", lambda: "amd64")
    for architecture in ("", "arm64"):
        tar = images.base_tar(architecture)
        tar.parent.mkdir(exist_ok=True)
        tar.write_text(architecture)
    native, foreign = images.package("operator"), images.package("operator", "arm64")
    assert foreign.local.endswith("-arm64")
    assert images.base("arm64").local in foreign.arguments[0]
    assert native.tag != foreign.tag
    assert "--architectures=arm64" in images.base_command("arm64")
    assert images.base_command() == images.base_command("amd64") == images.BASE_COMMAND
