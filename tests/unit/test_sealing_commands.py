"""The commands about sealed models, run as a person runs them."""

import fcntl
import json
import os
import pty
import resource
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import Certificate
from onnx import numpy_helper

from modelward_runtime import cli
from modelward_runtime.errors import LoadError
from modelward_runtime.store.kek.secret import SecretFile
from modelward_runtime.store.sealed import opening, writing
from modelward_runtime.store.sealed.signature import fingerprint
from modelward_runtime.store.sealed.trust import read_trusted
from tests import onnx_models
from tests.certificates import ca, days_ago, issue, leaf, pem

PROGRAM = [sys.executable, "-c", "import sys; from modelward_runtime import cli; cli.main(sys.argv[1:])"]
BIND = ("--tenant", "risk", "--name", "fraud", "--version", "7")


class Shell:
    """A person's folder with keys in it."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capsys = capsys

    def run(self, *arguments: object, code: int = 0) -> str:
        """What a command says; its exit code must be `code`."""
        with pytest.raises(SystemExit) as left:
            cli.main([str(argument) for argument in arguments])
        out, err = self._capsys.readouterr()
        assert (left.value.code, out, err) == (code, out, err)
        return out + err

    def json(self, *arguments: object, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code))

    def seal(self, source: object, name: str = "sealed", *options: object, code: int = 0) -> str:
        keys = ("--kek", self.home / "kek", "--kek-id", "k1", "--sign-key", self.home / "ci.pem")
        return self.run("seal", source, self.home / name, *BIND, *keys, *options, code=code)

    def rewrap(self, *options: object, old: str = "kek", new: str = "kek2", code: int = 0) -> str:
        keys = ("--kek", self.home / old, "--new-kek", self.home / new, "--new-kek-id", "k2")
        return self.run("rewrap", self.home / "sealed", *keys, "--sign-key", self.home / "ci.pem", *options, code=code)

    def verify(self, *options: object, code: int = 0) -> str:
        return self.run("verify", self.home / "sealed", "--trust", self.home / "ci.pub.pem", *options, code=code)

    def opened(self, kek: str = "kek", name: str = "sealed") -> dict[str, bytes]:
        """The plaintext, as the load path gets it."""
        trust = {"ci": read_trusted(self.home / "ci.pub.pem")}
        checked = opening.check(self.home / name, opening.Expected("risk", "fraud", "7", trust))
        data_key = opening.unwrap(checked, SecretFile(self.home / kek)).data_key
        return {path: bytes(buffer) for path, buffer in opening.decrypt(checked, data_key, 2).items()}


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr("modelward_runtime.main.harden", lambda: None)
    made = Shell(tmp_path, capsys)
    for name in ("kek", "kek2"):
        made.run("keygen", "kek", "--out", tmp_path / name)
    made.run("keygen", "signing", "--out", tmp_path / "ci.pem")
    return made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return onnx_models.save(onnx_models.slow(), tmp_path / "src" / "slow.onnx")


@pytest.mark.parametrize("kind", ["kek", "signing", "audit"])
def test_a_key_file_is_private_and_never_overwritten(shell: Shell, kind: str) -> None:
    file = shell.home / "new.pem"
    shell.run("keygen", kind, "--out", file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (shell.home / "new.pub.pem").exists() == (kind != "kek")
    before = file.read_bytes()
    assert "not overwritten" in shell.run("keygen", kind, "--out", file, code=1)
    assert file.read_bytes() == before
    file.unlink()
    if kind != "kek":
        assert "not overwritten" in shell.run("keygen", kind, "--out", file, code=1)
        assert not file.exists(), "a key pair is made whole or not at all"


@pytest.mark.parametrize(("kind", "written"), [("kek", 0), ("signing", 0), ("signing", 1), ("audit", 0), ("audit", 1)])
def test_a_disk_that_is_full_leaves_no_half_of_a_key(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, kind: str, written: int
) -> None:
    before, done, real = sorted(shell.home.iterdir()), 0, os.fsync

    def full(descriptor: int) -> None:
        nonlocal done
        if done == written:
            raise OSError(28, "No space left on device")
        done += 1
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    assert ": No space left on device" in shell.run("keygen", kind, "--out", shell.home / "new.pem", code=1)
    assert before == sorted(shell.home.iterdir())


def test_a_single_file_is_sealed_as_it_is(shell: Shell, model: Path, tmp_path: Path) -> None:
    """Its weights stay in it: so they load without a second copy."""
    said = shell.seal(model)
    assert {"model.onnx": model.read_bytes()} == shell.opened()
    assert shell.json("verify", tmp_path / "sealed", "--trust", tmp_path / "ci.pub.pem")["digest"] in said


def test_the_folders_above_a_sealed_one_are_made(shell: Shell, model: Path) -> None:
    shell.seal(model, "fraud/7/sealed")
    shell.run("verify", shell.home / "fraud/7/sealed", "--trust", shell.home / "ci.pub.pem")


def test_a_folder_is_sealed_file_by_file(shell: Shell, tmp_path: Path) -> None:
    source = onnx_models.save(onnx_models.external("w.bin"), tmp_path / "src" / "model.onnx").parent
    (source / "w.bin").write_bytes(onnx_models.WEIGHTS.tobytes())
    (source / "labels").mkdir()
    (source / "labels" / "en.txt").write_text("cat\ndog\n")
    shell.seal(source)
    expected = {path.relative_to(source).as_posix(): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    assert shell.opened() == expected


@pytest.mark.parametrize(
    ("reason", "make"),
    [
        ("there is something already", lambda home: (home / "sealed").mkdir()),
        ("holds no model.onnx", lambda home: (home / "src" / "slow.onnx").rename(home / "src" / "slow.bin")),
        ("cannot be in a sealed model", lambda home: (home / "src" / ".hidden").write_bytes(b"")),
        ("symbolic link", lambda home: (home / "src" / "link").symlink_to("slow.onnx")),
        ("is not an ONNX model", lambda home: (home / "src" / "slow.onnx").write_bytes(b"<html>")),
        ("no key file", lambda home: (home / "kek").unlink()),
        ("is no key", lambda home: (home / "kek").write_bytes(b"c2hvcnQ=")),
        ("no private key", lambda home: (home / "ci.pem").write_bytes(b"nothing")),
        ("No such file", lambda home: (home / "ci.pem").unlink()),
    ],
)
def test_what_cannot_be_sealed_leaves_nothing_behind(shell: Shell, model: Path, reason: str, make: Any) -> None:
    make(shell.home)
    before = sorted(path.name for path in shell.home.iterdir())
    assert reason in shell.seal(model.parent, code=1)
    assert sorted(path.name for path in shell.home.iterdir()) == before


def test_an_interrupted_sealing_leaves_nothing_that_passes_for_whole(
    shell: Shell, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("write_file", "_seal_file", "wrap"):
        with monkeypatch.context() as patch:
            patch.setattr(writing, step, interrupt)
            assert "modelward seal: interrupted\n" == shell.seal(model, code=130)
        assert sorted(path.name for path in shell.home.iterdir()) == ["ci.pem", "ci.pub.pem", "kek", "kek2", "src"]


def test_what_is_wrong_with_keys_and_names_is_found_before_anything_is_read(
    shell: Shell, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of 100 GB is not encrypted first, to be thrown away."""
    monkeypatch.setattr("modelward_runtime.sealing._sources", lambda _: pytest.fail("the model was looked at"))
    for option, word, reason in [
        ("--kek", shell.home / "none", "KeyNotFound"),
        ("--kek-id", "no id", "ConfigInvalid"),
        ("--tenant", "two words", "the tenant 'two words' cannot be in a sealed model"),
        ("--name", "", "the model '' cannot be"),
        ("--version", "\udcff", "the version '\\udcff' cannot be"),
    ]:
        assert reason in shell.seal(model, "sealed", option, word, code=1)


@pytest.mark.parametrize(
    ("where", "options", "code", "reason"),
    [
        ("pvc://models/fraud", (), 1, "or into a folder, and bring that to a web server or a volume"),
        ("https://models.example/fraud/", (), 1, "or into a folder, and bring that to a web server or a volume"),
        ("ftp://models.example/fraud/", (), 1, "the scheme 'ftp' is not supported"),
        ("s3://models/fraud/", ("--s3-endpoint", "store"), 2, "'store' is no endpoint"),
        ("s3://models/fraud/", ("--s3-endpoint", "http://"), 2, "'http://' is no endpoint"),
        ("s3://models/fraud/", ("--s3-endpoint", "http://user:word@store"), 2, "is no endpoint"),
        ("s3://models/fraud/", ("--s3-endpoint", "http://a b"), 2, "'http://a b' is no endpoint"),
    ],
)
def test_a_place_that_nothing_can_be_sealed_into(
    shell: Shell, model: Path, where: str, options: tuple[str, ...], code: int, reason: str
) -> None:
    keys = ("--kek", shell.home / "kek", "--kek-id", "k1", "--sign-key", shell.home / "ci.pem")
    assert reason in shell.run("seal", model, where, *BIND, *keys, *options, code=code)


def test_verify_says_whether_and_why_not(shell: Shell, model: Path) -> None:
    shell.seal(model)
    assert "whole, sealed for tenant risk, model fraud, version 7" in shell.verify()
    assert "whole" in shell.verify("--tenant", "risk", "--name", "fraud", "--model-version", "7")
    assert "SealMismatch" in shell.verify("--tenant", "other", code=1)
    shell.run("keygen", "signing", "--out", shell.home / "other.pem")
    folder = shell.home / "sealed"
    untrusted = shell.json("verify", folder, "--trust", shell.home / "other.pub.pem", code=1)
    assert (False, "SignerUntrusted") == (untrusted["valid"], untrusted["reason"])
    assert "CERTIFICATE" not in shell.run("verify", folder, "--trust", shell.home / "kek", code=2)
    assert "No such file" in shell.run("verify", shell.home / "nothing", "--trust", shell.home / "ci.pub.pem", code=2)
    shell.run("verify", folder, code=2)
    with (folder / "data" / "0").open("r+b") as file:
        file.write(b"?")
    assert "SealInvalid: data/0" in shell.verify(code=1)


def test_verify_takes_a_plain_folder_and_one_that_is_not_signed(shell: Shell, model: Path) -> None:
    said = shell.run("verify", model.parent, "--trust", shell.home / "ci.pub.pem", code=1)
    assert "SignatureMissing" in said


def test_inspect_shows_what_is_said_and_that_it_is_not_verified(shell: Shell, model: Path) -> None:
    shell.seal(model)
    told = shell.json("inspect", shell.home / "sealed")
    assert (False, "risk", "fraud", "7", 1) == (
        told["verified"],
        told["tenant"],
        told["model"],
        told["version"],
        told["files"],
    )
    assert [("Secret", "k1")] == [(key["provider"], key["kekId"]) for key in told["keys"]]
    assert "not verified" in shell.run("inspect", shell.home / "sealed")


def test_inspect_of_what_is_not_sealed_says_so(shell: Shell, model: Path) -> None:
    assert "is no sealed model: it holds no manifest.json" in shell.run("inspect", model.parent, code=1)
    assert "nothing: No such file" in shell.run("inspect", shell.home / "nothing", code=2)


def others(folder: Path) -> dict[str, bytes]:
    """Everything but keys.*."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("keys.")]
    return {str(path): path.read_bytes() for path in files}


def test_rewrap_changes_keys_alone(shell: Shell, model: Path) -> None:
    shell.seal(model)
    before, expected = others(shell.home / "sealed"), shell.opened()
    shell.rewrap("--keep-old")
    assert shell.opened("kek") == shell.opened("kek2") == expected, "both, while keys are exchanged"
    shell.rewrap(old="kek2")
    assert shell.opened("kek2") == expected
    with pytest.raises(LoadError, match="does not open"):
        shell.opened("kek")
    assert "KeyWrong" in shell.rewrap(old="kek", code=1)
    assert others(shell.home / "sealed") == before
    assert "whole" in shell.verify()


def test_two_rewraps_of_a_folder_take_turns(shell: Shell, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first look to the last rename: else one's keys.json stands beside the other's keys.sig, and nobody opens the model again."""
    shell.seal(model)
    held = []

    def look(function: Any) -> Any:
        def looked(*arguments: Any) -> Any:
            descriptor = os.open(shell.home / "sealed", os.O_RDONLY)
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(descriptor)
            held.append(function.__name__)
            return function(*arguments)

        return looked

    for name in ("finish_replacing", "replace_keys"):
        monkeypatch.setattr(writing, name, look(getattr(writing, name)))
    shell.rewrap()
    assert ["finish_replacing", "replace_keys"] == held


def test_rewraps_at_the_same_time_lose_no_key(shell: Shell, model: Path) -> None:
    shell.seal(model)
    words = (
        "rewrap",
        shell.home / "sealed",
        "--keep-old",
        "--kek",
        shell.home / "kek",
        "--new-kek",
        shell.home / "kek",
    )
    ends = ("--sign-key", shell.home / "ci.pem", "--new-kek-id")
    running = [subprocess.Popen([*PROGRAM, *map(str, (*words, *ends, f"n{number}"))]) for number in range(4)]
    assert [0] * 4 == [child.wait(120) for child in running]
    told = shell.json("inspect", shell.home / "sealed")
    assert {"k1", "n0", "n1", "n2", "n3"} == {key["kekId"] for key in told["keys"]}
    shell.verify()


def test_rewrap_says_how_many_keys_there_can_be(shell: Shell, model: Path) -> None:
    shell.seal(model)
    for number in range(15):
        shell.rewrap("--keep-old", "--new-kek-id", f"more{number}")
    before = (shell.home / "sealed" / "keys.json").read_bytes()
    assert "ConfigInvalid: " in (said := shell.rewrap("--keep-old", "--new-kek-id", "one-more", code=1))
    assert "wrapped for 16 keys, and more than 16 are not possible" in said
    assert before == (shell.home / "sealed" / "keys.json").read_bytes()


def test_a_key_file_without_an_id_is_told_what_to_give(shell: Shell, model: Path) -> None:
    keys = ("--kek", shell.home / "kek", "--sign-key", shell.home / "ci.pem")
    said = shell.run("seal", model, shell.home / "sealed", *BIND, *keys, code=1)
    assert "a key file needs an id" in said
    assert not (shell.home / "sealed").exists()


def test_rewrap_trusts_no_stranger_keys(shell: Shell, model: Path) -> None:
    shell.seal(model)
    shell.run("keygen", "signing", "--out", shell.home / "ops.pem")
    keys = ("--kek", shell.home / "kek", "--new-kek", shell.home / "kek2", "--new-kek-id", "k2")
    sign = ("--sign-key", shell.home / "ops.pem")
    assert "SignerUntrusted" in shell.run("rewrap", shell.home / "sealed", *keys, *sign, code=1)
    shell.run("rewrap", shell.home / "sealed", *keys, *sign, "--trust", shell.home / "ci.pub.pem")
    assert "SignerUntrusted" in shell.verify(code=1), "whoever signs keys must be trusted too"
    told = shell.json(
        "verify", shell.home / "sealed", "--trust", shell.home / "ci.pub.pem", "--trust", shell.home / "ops.pub.pem"
    )
    assert ("ci", "ops") == (told["signer"]["name"], told["keysSigner"]["name"])


@pytest.mark.parametrize("renames", [0, 1])
def test_a_rewrap_that_was_cut_is_refused_or_still_valid_and_the_next_one_mends_it(
    shell: Shell, model: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    shell.seal(model)
    expected = shell.opened()
    done = 0
    rename = Path.rename

    def crash(self: Path, target: Path) -> Path:
        nonlocal done
        if done == renames:
            raise KeyboardInterrupt
        done += 1
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", crash)
        assert "modelward rewrap: interrupted\n" == shell.rewrap(code=130)
    if renames:
        assert "SignatureInvalid: keys.json" in shell.verify(code=1)
        shell.rewrap(old="kek2")  # the new key is in effect once the second rename was made up for
    else:
        assert shell.opened("kek") == expected
        shell.rewrap()
    assert shell.opened("kek2") == expected
    assert not (shell.home / ".sealed.rewrap").exists()


def test_sealing_keeps_memory_flat(tmp_path: Path, shell: Shell) -> None:
    """A model of 160 MB is sealed by a process that may have 150 MB of memory of its own: no copy of it fits."""
    big = onnx_models.linear()
    big.graph.initializer.append(numpy_helper.from_array(np.zeros(40_000_000, np.float32), "big"))
    source = onnx_models.save(big, tmp_path / "big.onnx")
    keys = ("--kek", tmp_path / "kek", "--kek-id", "k1", "--sign-key", tmp_path / "ci.pem")
    command = [*PROGRAM, "seal", source, tmp_path / "sealed", *BIND, *keys]
    limit = 150_000_000
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
    )
    assert done.returncode == 0, done.stderr


def test_a_terminal_sees_progress(shell: Shell, model: Path) -> None:
    keys = ("--kek", shell.home / "kek", "--kek-id", "k1", "--sign-key", shell.home / "ci.pem")
    command = [*PROGRAM, "seal", model, shell.home / "sealed", *BIND, *keys]
    ours, theirs = pty.openpty()
    done = subprocess.run([str(part) for part in command], stderr=theirs, stdout=subprocess.PIPE, check=True)
    os.close(theirs)
    shown = os.read(ours, 4096)
    os.close(ours)
    assert b"sealing [" in shown
    assert b"spec.model.digest" in done.stdout


# ── certificates ──────────────────────────────────────────────────────────────────────────────────────────────────────


class Certified(Shell):
    """A shell whose signing key a CA has certified, by way of another CA, for now; CA in root.pem."""

    def __init__(self, made: Shell) -> None:
        super().__init__(made.home, made._capsys)
        self.now: dict[str, Any] = {"first": days_ago(2), "last": days_ago(-2)}
        key = load_pem_private_key((self.home / "ci.pem").read_bytes(), None)
        self.root, self.between = ca("root", **self.now), ca("between", **self.now)
        self.leaf = leaf(**self.now, key=key)
        self.write("root", issue(self.root))
        self.write("between", issue(self.between, self.root))
        self.write("leaf", issue(self.leaf, self.between))
        self.chain = ("--certificate", self.home / "leaf.pem", "--chain", self.home / "between.pem")

    def write(self, name: str, certificate: Certificate) -> None:
        (self.home / f"{name}.pem").write_bytes(pem(certificate))

    def verified(self, code: int = 0) -> Any:
        return self.json("verify", self.home / "sealed", "--trust", self.home / "root.pem", code=code)


@pytest.fixture
def certified(shell: Shell) -> Certified:
    return Certified(shell)


def test_a_model_sealed_with_a_certificate_verifies_by_the_ca(certified: Certified, model: Path) -> None:
    certified.seal(model, "sealed", *certified.chain)
    told = certified.verified()
    assert ("root", "root") == (told["signer"]["name"], told["keysSigner"]["name"])
    assert told["signer"]["fingerprint"] == fingerprint(read_trusted(certified.home / "ci.pub.pem"))
    assert told["signer"]["authority"] == fingerprint(certified.root.key.public_key())
    certified.verify()  # whoever trusts the key itself needs no CA
    certified.rewrap(*certified.chain)
    assert certified.verified()["keys"] == [{"provider": "Secret", "kekId": "k2", "kekVersion": ANY}]
    certified.rewrap(old="kek2")
    assert certified.verified(code=1)["reason"] == "SignerUntrusted"
    assert certified.verify()


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("CN=ci was not issued by the next one, CN=root", ("--certificate", "leaf.pem", "--chain", "root.pem")),
        ("stranger.pem is not the certificate of", ("--certificate", "stranger.pem")),
        ("CN=ci expired on", ("--certificate", "old.pem")),
        ("CN=ci is a CA's", ("--certificate", "ca.pem")),
        ("kek is no certificate in PEM form", ("--certificate", "kek")),
        ("give --certificate too", ("--chain", "root.pem")),
    ],
)
def test_a_certificate_that_nobody_could_trust_seals_nothing(
    certified: Certified, model: Path, words: str, options: tuple[str, ...]
) -> None:
    certified.write("stranger", issue(leaf("stranger"), certified.root))
    certified.write("old", issue(replace(certified.leaf, last=days_ago(1)), certified.root))
    certified.write("ca", issue(replace(certified.leaf, is_ca=True), certified.root))
    given = [one if one.startswith("--") else certified.home / one for one in options]
    assert words in certified.seal(model, "sealed", *given, code=1)
    assert not (certified.home / "sealed").exists()
