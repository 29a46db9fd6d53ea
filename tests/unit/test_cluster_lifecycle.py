"""The cluster's pure parts: what is recognised as ours, what a machine's snapshots differ in, what keys a cache."""

import contextlib
import json
import os
import tomllib
from pathlib import Path

import pytest

from e2e.cluster import binaries, buildah, certificates, chart, configuration, init, packages, paths, progress, snapshot
from e2e.cluster.failures import ClusterError, StepFailed
from e2e.cluster.processes import Unit, start_time
from e2e.cluster.removal import remove_tree

# ── processes ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_process_is_known_by_its_start_time(tmp_path: Path) -> None:
    assert start_time(Path(f"/proc/{os.getpid()}/stat")).isdigit()
    assert start_time(tmp_path / "gone") == ""


def test_a_zombie_is_not_alive(tmp_path: Path) -> None:
    line = "7 (a (strange) name) {} 1 " + " ".join(str(number) for number in range(5, 30))
    for state, expected in (("S", "22"), ("Z", ""), ("X", "")):
        (tmp_path / "stat").write_text(line.format(state))
        assert start_time(tmp_path / "stat") == expected


def test_a_component_is_stale_when_command_environment_or_configuration_changed(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("a")
    unit = Unit("x", ("x", "--flag"), {"KEY": "1"}, (config,))
    before = unit.digest()
    assert Unit("x", ("x", "--flag"), {"KEY": "1"}, (config,)).digest() == before
    assert Unit("x", ("x", "--other"), {"KEY": "1"}, (config,)).digest() != before
    assert Unit("x", ("x", "--flag"), {"KEY": "2"}, (config,)).digest() != before
    config.write_text("b")
    assert unit.digest() != before


def test_the_machines_run_folder_is_hidden_only_after_ours_is_held() -> None:
    commands = [" ".join(command) for command in init.mounts()]
    hold = commands.index(f"mount --bind {paths.RUN} {paths.STATE}/hold")
    hide = commands.index("mount -t tmpfs -o mode=755 modelward-run /run")
    back = commands.index(f"mount --move {paths.STATE}/hold {paths.RUN}")
    assert hold < hide < back < commands.index("mount --make-rshared /")


def test_a_tree_is_removed_whole_and_nothing_that_it_links_to(tmp_path: Path) -> None:
    kept, gone = tmp_path / "kept", tmp_path / "gone"
    (gone / "empty").mkdir(parents=True)
    kept.mkdir()
    (kept / "file").touch()
    for number in range(300):
        (gone / f"{number % 7}" / f"{number}").mkdir(parents=True)
        (gone / f"{number % 7}" / f"{number}" / "file").write_text("x")
    (gone / "folder").symlink_to(kept)
    (gone / "file").symlink_to(kept / "file")
    (gone / "dangling").symlink_to("nowhere")
    (gone / "1").chmod(0o500)
    remove_tree(gone)
    remove_tree(gone)
    assert [kept] == list(tmp_path.iterdir())
    assert [kept / "file"] == list(kept.iterdir())


# ── snapshots ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reason", "before", "after", "expected"),
    [
        ("nothing changed", {"mounts": ["a", "b"]}, {"mounts": ["b", "a"]}, []),
        ("left behind", {"mounts": ["a"]}, {"mounts": ["a", "b"]}, ["mounts: + b"]),
        ("taken away", {"mounts": ["a", "b"]}, {"mounts": ["a"]}, ["mounts: - b"]),
        ("both, in two topics", {"x": ["1"]}, {"x": [], "y": ["2"]}, ["x: - 1", "y: + 2"]),
    ],
)
def test_snapshots_differ_in(
    reason: str, before: snapshot.Snapshot, after: snapshot.Snapshot, expected: list[str]
) -> None:
    assert snapshot.compare(before, after) == expected, reason


@pytest.mark.parametrize(
    ("reason", "cgroup", "expected"),
    [
        ("the cluster's own", "/sys/fs/cgroup/cpu/modelward-cluster", True),
        ("a pod's", "/sys/fs/cgroup/modelward-cluster/kubepods/besteffort/pod1", True),
        ("a pod's, astray", "/sys/fs/cgroup/memory/kubepods/besteffort", True),
        ("a container's under systemd", "/sys/fs/cgroup/system.slice/cri-containerd-0f.scope", True),
        ("the machine's supervisor's", "/sys/fs/cgroup/memory/process_api/71184ee3ee48362b916de082e023dbe8", False),
        ("a service's", "/sys/fs/cgroup/system.slice/apt-daily.service", False),
    ],
)
def test_of_cgroups_only_those_count_that_a_cluster_could_have_made(reason: str, cgroup: str, expected: bool) -> None:
    assert expected == snapshot.could_be_a_clusters(cgroup), reason


def test_a_snapshot_without_its_tools_says_so_and_is_not_empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="ip netns list: ip is not installed"):
        snapshot.TOPICS["ip netns"]()


def test_packets_that_pass_by_change_no_snapshot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "iptables-save"
    tool.write_text("#!/bin/sh\necho '# at noon'\necho ':INPUT ACCEPT [12:3456]'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [":INPUT ACCEPT"] == snapshot.TOPICS["iptables"]()


# ── binaries ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_binary_lives_in_a_folder_of_its_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELWARD_CACHE", str(tmp_path))
    with pytest.raises(ClusterError, match="build etcd"):
        binaries.binary("etcd")
    target = binaries.module_of("etcd").target("etcd")
    assert target.is_relative_to(tmp_path)
    assert target.parent.name == f"etcd-{binaries.module_of('etcd').key()}"
    target.parent.mkdir(parents=True)
    target.touch()
    assert binaries.binary("etcd") == target
    assert binaries.missing(["etcd", "kubectl"]) == ["kubectl"]


@pytest.mark.parametrize(
    ("reason", "printed", "refused"),
    [
        ("new enough", "go1.99.0\nlocal\n", False),
        ("fetches what is needed", "go1.21.0\nauto\n", False),
        ("may not fetch", "go1.21.0\nlocal\n", True),
        ("Debian 12's own, which knows no toolchains", "go1.19.8\n\n", True),
    ],
)
def test_go_must_be_new_enough_or_able_to_fetch_one_that_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reason: str, printed: str, refused: bool
) -> None:
    go = tmp_path / "go"
    go.write_text(f"#!/bin/sh\nprintf '{printed}'\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="too old: install Go") if refused else contextlib.nullcontext():
        binaries._check_go(binaries.MODULES)


def test_an_unknown_program_is_refused_by_name() -> None:
    with pytest.raises(ClusterError, match="no program 'kube-foo'"):
        binaries.binary("kube-foo")


def test_the_staging_modules_match_the_kubernetes_version() -> None:
    text = (binaries.module_of("kubelet").folder / "go.mod").read_text()
    minor = binaries.KUBERNETES_VERSION.removeprefix("1.")
    assert f"k8s.io/kubernetes v{binaries.KUBERNETES_VERSION}" in text
    assert f"k8s.io/api => k8s.io/api v0.{minor}" in text


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"MODELWARD_CACHE": "/a"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/modelward"),
        ({"HOME": "/c"}, "/c/.cache/modelward"),
    ],
)
def test_the_cache_is_where_the_user_says(
    monkeypatch: pytest.MonkeyPatch, setting: dict[str, str], expected: str
) -> None:
    for name in ("MODELWARD_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    assert paths.cache() == Path(expected)


# ── configuration ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_containerd_touches_nothing_of_the_systems_own() -> None:
    text = configuration.render_containerd("registry/pause:1")
    config = tomllib.loads(text)
    for path in (config["root"], config["state"], config["grpc"]["address"]):
        assert Path(path).is_relative_to(paths.STATE) or Path(path).is_relative_to(paths.RUN)
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["sandbox_image"] == "registry/pause:1"
    assert cri["restrict_oom_score_adj"] is True


def test_the_kubelet_evicts_for_memory_only() -> None:
    kubelet = json.loads(configuration.render_kubelet(cgroup_v2=False))
    zero = {name for name, value in kubelet["evictionHard"].items() if value == "0%"}
    assert set(kubelet["evictionHard"]) - zero == {"memory.available"}
    assert kubelet["failCgroupV1"] is False
    assert kubelet["maxPods"] == 250


def test_a_kubeconfig_carries_everything_inside_it() -> None:
    config = json.loads(configuration.render_kubeconfig(b"ca", b"crt", b"key"))
    assert "/" not in config["users"][0]["user"]["client-key-data"]
    assert config["clusters"][0]["cluster"]["server"] == paths.API_URL


def test_certificates_answer_for_the_addresses_that_clients_use() -> None:
    wanted = {one.name: one for one in certificates.CERTIFICATES_WANTED}
    assert f"IP:{paths.NODE_ADDRESS}" in wanted["s3-server"].extensions()
    assert f"IP:{paths.API_SERVICE_ADDRESS}" in wanted["apiserver"].names
    assert wanted["kubelet"].subject() == "/O=system:nodes/CN=system:node:modelward"


def test_the_chart_is_installed_anew_when_a_file_or_a_value_changed(tmp_path: Path) -> None:
    (tmp_path / "Chart.yaml").write_text("a")
    before = chart.fingerprint(tmp_path, {"operator.image": "x"})
    assert chart.fingerprint(tmp_path, {"operator.image": "x"}) == before
    assert chart.fingerprint(tmp_path, {"operator.image": "y"}) != before
    (tmp_path / "Chart.yaml").write_text("b")
    assert chart.fingerprint(tmp_path, {"operator.image": "x"}) != before


def test_ones_own_cluster_without_kubectl_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ClusterError, match="kubectl is not on your PATH"):
        chart.install_on_current(progress.Screen())


# ── packages and images ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reason", "text", "stays"),
    [("ours, of one that was killed", packages.OURS, False), ("the machine's own", "#!/bin/sh\nexit 101\n", True)],
)
def test_a_killed_installation_forbids_no_services_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reason: str, text: str, stays: bool
) -> None:
    monkeypatch.setenv("MODELWARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packages, "POLICY", tmp_path / "policy-rc.d")
    packages.POLICY.write_text(text)
    packages.clear(progress.Screen())
    assert stays == packages.POLICY.exists(), reason


def test_a_policy_of_the_machine_outlives_an_installation_and_ours_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(packages, "POLICY", tmp_path / "policy-rc.d")
    with packages._no_services():
        assert packages.OURS == packages.POLICY.read_text()
    assert not packages.POLICY.exists()
    packages.POLICY.write_text("theirs")
    with packages._no_services():
        pass
    assert "theirs" == packages.POLICY.read_text()


@pytest.mark.parametrize("others", [[], ["storage/overlay"]])
def test_what_buildah_notes_outside_the_cache_goes_unless_others_keep_things_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, others: list[str]
) -> None:
    monkeypatch.setattr(buildah, "BLOBS", tmp_path / "containers/cache/blobs")
    buildah.clear()
    for name in others:
        (tmp_path / "containers" / name).mkdir(parents=True)
    buildah.BLOBS.parent.mkdir(parents=True)
    buildah.BLOBS.touch()
    buildah.clear()
    assert bool(others) == buildah.BLOBS.exists()
    assert bool(others) == (tmp_path / "containers").exists()


# ── what the user sees ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (12.3, "12 s"), (119, "119 s"), (185, "3 min 05 s")]
)
def test_durations_are_spelled_for_people(seconds: float, expected: str) -> None:
    assert progress.spell(seconds) == expected


def test_a_failed_step_shows_the_end_of_its_log_and_what_to_do(tmp_path: Path) -> None:
    log = tmp_path / "etcd.log"
    log.write_text("\n".join(f"line {number}" for number in range(100)))
    report = StepFailed("etcd ended", log=log, hint="try again").report(lines=2)
    assert report == f"etcd ended\nthe end of {log}:\n  | line 98\n  | line 99\nwhat to do: try again"


def test_a_step_that_never_gets_ready_fails_with_its_limit() -> None:
    with pytest.raises(StepFailed, match="not ready after 0 s"):
        progress.Step("etcd", None).wait(lambda: False, limit=0)
