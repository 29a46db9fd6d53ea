"""What a PrivacyPolicy promises holds on the cluster: what is received, returned, written down, and what happens without it."""

import itertools
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from e2e.cases.case import Case
from e2e.cases.clients import HTTP
from e2e.cases.kube import Object, wait
from e2e.cases.manifests import NAME
from e2e.cases.sealing import MODELWARD, Workshop

pytestmark = pytest.mark.core
LIVE = 150
"""Seconds in which the kubelet brings a changed ConfigMap to a running pod: it looks about once a minute."""
AUDIT = "/var/log/modelward/audit"
MAIL, CARD = "ann@example.com", "4111 1111 1111 1111"


def policy(name: str = "standard", **spec: object) -> Object:
    return {
        "apiVersion": "modelward.dev/v1alpha1",
        "kind": "PrivacyPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def under(name: str = "standard") -> Object:
    return {"policyRef": {"name": name}}


def ask(case: Case, *texts: str, outputs: tuple[str, ...] = ()) -> httpx.Response:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}
    body: Object = {"inputs": [tensor]} | ({"outputs": [{"name": name} for name in outputs]} if outputs else {})
    url = f"http://{case.service_address()}:{HTTP}/v2/models/{NAME}/infer"
    return httpx.post(url, json=body, timeout=10, trust_env=False)


def said(answer: httpx.Response) -> dict[str, list[object]]:
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def masking(action: str = "Mask") -> Object:
    return {"pii": [{"kinds": ["Email", "PaymentCard"], "action": action}]}


def test_what_a_caller_may_not_send_or_see_never_passes_and_the_policy_changes_without_a_restart(case: Case) -> None:
    case.apply(policy(input=masking(), output={"tensors": [{"name": "rows", "drop": True}]}))
    case.serve("echo/", privacy=under())
    answered = said(ask(case, f"write to {MAIL}", f"pay with {CARD}", "nothing here"))
    assert list(answered) == ["said"], "the dropped output is not there"
    assert [f"write to {MAIL}", f"pay with {CARD}"] != answered["said"][:2]
    assert not any(secret in str(text) for text in answered["said"] for secret in (MAIL, CARD))
    assert answered["said"][2] == "nothing here"
    refused = ask(case, "x", outputs=("rows",))
    assert refused.status_code in {400, 403}
    assert case.model()["status"]["privacy"] == {"policy": "standard", "generation": 1}

    (pod,) = case.pods()
    case.apply(policy(input=masking("Reject"), output={"tensors": [{"name": "rows", "drop": True}]}))
    case.wait_condition(NAME, "PrivacyEnforced", "True", text="(generation 2)", within=LIVE)
    refused = ask(case, f"write to {MAIL}")
    assert (refused.status_code, MAIL not in refused.text) == (400, True), refused.text
    assert [pod["metadata"]["uid"]] == [one["metadata"]["uid"] for one in case.pods()]

    log = case.kube.logs(pod["metadata"]["name"], case.namespace, lines=5000)
    assert "modelward" in log
    assert not any(secret in log for secret in (MAIL, CARD)), "what callers sent is in no log"


def test_a_policy_that_the_model_cannot_keep_is_found_when_it_is_loaded(case: Case) -> None:
    case.apply(policy(input={"tensors": [{"name": "age", "action": "Zero"}]}))
    case.apply(case.model_service("echo/", privacy=under()))
    case.wait_condition(NAME, "PrivacyEnforced", "False", "PolicyUnsatisfiable", "no input 'age'")
    assert case.condition("Ready")["status"] == "False"
    case.apply(policy(input=masking()))
    case.wait_ready(within=LIVE)


def test_without_its_policy_a_model_does_not_serve(case: Case) -> None:
    case.apply(case.model_service("echo/", privacy=under("later")))
    case.wait_condition(NAME, "PrivacyEnforced", "False", "PrivacyPolicyNotFound", "PrivacyPolicy later")
    assert case.pods() == []
    case.apply(policy("later", input=masking()))
    case.wait_ready()
    case.kube.delete("PrivacyPolicy", "later", case.namespace)
    case.wait_condition(NAME, "Ready", "False", "PrivacyPolicyNotFound")
    case.wait_pods(0)


def test_every_call_leaves_a_record_that_verifies_and_says_nothing_of_what_was_sent(case: Case, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    key = workshop.audit_key()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "audit-key"}}
    case.apply(secret | {"stringData": {"key.pem": key.read_text()}})
    audit = {
        "required": True,
        "durability": "Synchronous",
        "sink": {"type": "File", "file": {"sizeLimit": "16Mi"}},
        "signingKeyRef": {"name": "audit-key", "key": "key.pem"},
        "checkpointRecords": 2,
    }
    case.apply(policy(audit=audit))
    case.serve("echo/", privacy=under())
    for number in range(5):
        assert ask(case, f"{MAIL} {number}").status_code == 200
    assert ask(case, "x", outputs=("nonsense",)).status_code == 400

    told = _evidence(case)
    assert told["gaps"] == []
    assert {"standard", 1} == {told["privacyPolicy"]["name"], told["privacyPolicy"]["generation"]}
    (shown,) = told["pods"]
    assert (case.model()["status"]["model"]["digest"], "Ready") == (shown["model"]["digest"], shown["state"])

    written = _audit_log(case)
    assert shown["audit"]["records"] >= 6
    log = tmp_path / "audit.jsonl"
    log.write_text(written)
    records = [json.loads(line) for line in written.splitlines()]
    calls = [record for record in records if record["type"].endswith("prediction")]
    assert len(calls) == 6
    assert MAIL not in written
    assert _verify(log, key.with_suffix(".pub.pem")) == 0
    log.write_text(written.replace("Allowed", "allowed", 1))
    assert _verify(log, key.with_suffix(".pub.pem")) != 0
    log.write_text("".join(line for line in written.splitlines(True) if json.loads(line) != calls[1]))
    assert _verify(log, key.with_suffix(".pub.pem")) != 0


def test_a_required_log_stops_the_answers_before_the_kubelet_deletes_it(case: Case, tmp_path: Path) -> None:
    """Beyond its sizeLimit the kubelet evicts the pod, and the log goes with it: who calls often enough could have it deleted."""
    key = Workshop(tmp_path).audit_key()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "audit-key"}}
    case.apply(secret | {"stringData": {"key.pem": key.read_text()}})
    sink = {"type": "File", "file": {"sizeLimit": "16Mi", "maxFileBytes": 65536}}
    signed = {"signingKeyRef": {"name": "audit-key", "key": "key.pem"}}
    case.apply(policy(audit={"required": True, "durability": "Synchronous", "sink": sink, **signed}))
    case.serve("echo/", privacy=under())
    assert ask(case, "before").status_code == 200
    (pod,) = case.pods()

    def run(script: str) -> None:
        command = (
            "exec",
            "-n",
            case.namespace,
            pod["metadata"]["name"],
            "--",
            "python3",
            "-c",
            script,
            f"{AUDIT}/filler",
        )
        case.kube.kubectl(*command)

    run("import sys; open(sys.argv[1], 'wb').write(b'x' * 15_000_000)")  # in place of a million calls
    codes = list(itertools.takewhile(lambda code: code == 200, (ask(case, "one more").status_code for _ in range(500))))
    assert 0 < len(codes) < 500
    assert ask(case, "too many").status_code == 503
    case.wait_condition(NAME, "WorkloadAvailable", "False", "PodsNotReady", "its audit log takes no records", within=60)
    time.sleep(75)  # the kubelet measures volumes about once a minute
    assert [pod["metadata"]["uid"]] == [one["metadata"]["uid"] for one in case.pods()], case.told()
    run("import os, sys; os.remove(sys.argv[1])")
    case.wait_ready(within=60)
    assert ask(case, "again").status_code == 200


def _audit_log(case: Case) -> str:
    (pod,) = case.pods()
    script = "import pathlib, sys; [sys.stdout.write(f.read_text()) for f in sorted(pathlib.Path(sys.argv[1]).glob('*.jsonl'))]"
    read: Callable[[], str] = lambda: case.kube.kubectl(  # noqa: E731
        "exec", "-n", case.namespace, pod["metadata"]["name"], "--", "python3", "-c", script, AUDIT
    )
    return wait("the audit log is there", read, within=10)


def _verify(log: Path, trust: Path) -> int:
    command = [str(MODELWARD), "audit", "verify", str(log), "--trust", str(trust)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    print(done.stdout, done.stderr)
    return done.returncode


def _evidence(case: Case) -> Object:
    """`kubectl modelward evidence`, as kubectl finds it on the PATH."""
    path = f"{MODELWARD.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["kubectl", "modelward", "evidence", NAME, "-n", case.namespace, "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PATH": path},
    )
    assert done.stdout, done.stderr
    found: Object = json.loads(done.stdout)
    return found
