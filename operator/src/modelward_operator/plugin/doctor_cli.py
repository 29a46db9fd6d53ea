"""`kubectl modelward doctor`: reads what `doctor.py` judges, by the user's own kubectl. Called by `commands.py`.

Every fact is read by itself: what the user may not see is an unknown in the answer, not the end of it. It changes nothing; what it creates
are SubjectAccessReviews, which are questions, and one ConfigMap as a dry run, whose answer tells the API server's time.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from modelward_operator.api.generate import CRDS
from modelward_operator.plan.names import ACTIVATOR
from modelward_operator.plugin.doctor import examine
from modelward_operator.plugin.doctor_text import page
from modelward_operator.plugin.examination import OPERATOR, Clocks, Finding, Replica, Result, Seen
from modelward_operator.plugin.kubectl import MODELS, Kubectl, KubectlError
from modelward_operator.plugin.needs import CLUSTERWIDE, NAMESPACED

Json = dict[str, Any]
T = TypeVar("T")
METRICS_PORT: Final = 9090
AT_ONCE: Final = 4
NAMESPACES_ASKED: Final = 3
"""Of a list of served namespaces those whose rights are asked about; the chart gives each the same."""


def doctor(kubectl: Kubectl, options: argparse.Namespace) -> int:
    """Run the command; return its exit status: 0 nothing has failed, 1 something has."""
    found = examine(Examiner(kubectl, options.operator_namespace).look())
    print(json.dumps(_document(found), indent=2) if options.output == "json" else page(found))
    return 1 if any(finding.result is Result.FAILED for _, finding in found) else 0


def _document(found: Iterable[tuple[str, Finding]]) -> Json:
    checks = [
        {"check": name, "result": str(finding.result), "message": finding.message, "next": finding.next}
        for name, finding in found
    ]
    return {"kind": "Examination", "apiVersion": "modelward.dev/v1alpha1", "checks": checks}


@dataclass
class Examiner:
    """Reads fact by fact, and remembers what could not be read."""

    kubectl: Kubectl
    home: str
    unread: dict[str, str] = field(default_factory=dict)

    def look(self) -> Seen:
        """Read all."""
        version = self._try(
            "server_version",
            lambda: json.loads(self.kubectl.run("version", "-o", "json"))["serverVersion"]["gitVersion"],
            "",
        )
        if not version:
            return Seen(self.home, unread=self.unread)
        operators = self._operators()
        home = self.home or next((one["metadata"]["namespace"] for one in operators), "modelward-system")
        pods = self._list("pods", "pods", "-n", home, "-l", f"app.kubernetes.io/name={OPERATOR}")
        refused, asked = self._try("rights", lambda: self._rights(operators, home), (list[str](), 0))
        lease, clocks = self._lease(home)
        names = [crd["metadata"]["name"] for crd in CRDS]
        return Seen(
            namespace=home,
            server_version=version,
            crds=self._list("crds", "customresourcedefinitions", *names, "--ignore-not-found"),
            operators=operators,
            activators=self._list("activators", "deployments", "-n", home, "-l", f"app.kubernetes.io/name={ACTIVATOR}"),
            lease=lease,
            pods=pods,
            refused=refused,
            asked=asked,
            admission=self._list("admission", "validatingadmissionpolicies,validatingadmissionpolicybindings"),
            models=self._models(operators),
            replicas=self._replicas(home, pods),
            clocks=clocks,
            unread=self.unread,
        )

    def _lease(self, home: str) -> tuple[Json, Clocks | None]:
        """The Lease, and the clocks around the moment at which it was read."""
        local_before = datetime.now(UTC)
        before = self._try("clocks", lambda: self._server_time(home), None)
        local_after = datetime.now(UTC)
        found = self._try(
            "lease", lambda: self.kubectl.read("lease", OPERATOR, "-n", home, "--ignore-not-found"), Json()
        )
        after = self._try("clocks", lambda: self._server_time(home), None) if before else None
        return found, Clocks(before, after, local_before, local_after) if before and after else None

    def _try(self, name: str, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except KubectlError as error:
            self.unread[name] = str(error)
        except (ValueError, KeyError, TypeError) as error:
            self.unread[name] = f"an answer that cannot be understood: {error}"
        return otherwise

    def _list(self, name: str, *arguments: str) -> list[Json]:
        def read() -> list[Json]:
            found = self.kubectl.read(*arguments)
            return list(found["items"]) if "items" in found else [found] if found else []

        return self._try(name, read, [])

    def _operators(self) -> list[Json]:
        """Of every namespace, or of the one that is known where not all may be read."""
        chosen = ("deployments", "-l", f"app.kubernetes.io/name={OPERATOR}")
        found = self._list("operators", *chosen, "-A")
        if "operators" not in self.unread:
            return found
        here = self._list("operators_here", *chosen, "-n", self.home or "modelward-system")
        if "operators_here" not in self.unread:
            del self.unread["operators"]
        return here

    def _models(self, operators: Sequence[Json]) -> list[Json]:
        found = self._list("models", MODELS, "-A")
        if "models" not in self.unread or not (served := _served(operators)):
            return found
        del self.unread["models"]
        return [one for namespace in served for one in self._list("models", MODELS, "-n", namespace)]

    def _rights(self, operators: Sequence[Json], home: str) -> tuple[list[str], int]:
        """What the operator's ServiceAccount lacks, and how much was asked about."""
        if len(operators) != 1:
            return [], 0
        account = operators[0]["spec"]["template"]["spec"].get("serviceAccountName", "default")
        served = _served(operators)
        wanted = [(one, where) for where in served[:NAMESPACES_ASKED] or [""] for one in NAMESPACED]
        wanted += [] if served else [(one, "") for one in CLUSTERWIDE]
        questions = [_question(f"system:serviceaccount:{home}:{account}", *one, where) for one, where in wanted]
        flat = [question for several in questions for question in several]
        given = json.dumps({"apiVersion": "v1", "kind": "List", "items": flat})
        answers = _documents(self.kubectl.run("create", "-f", "-", "-o", "json", given=given))
        refused = [
            _words(answer["spec"]["resourceAttributes"]) for answer in answers if not answer["status"].get("allowed")
        ]
        return refused, len(answers)

    def _replicas(self, home: str, pods: Sequence[Json]) -> list[Replica]:
        running = [pod["metadata"]["name"] for pod in pods if pod.get("status", {}).get("phase") == "Running"]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda name: self._replica(home, name), running))

    def _replica(self, home: str, name: str) -> Replica:
        try:
            return Replica(name, dict(_figures(self.kubectl.fetch(home, name, METRICS_PORT, "/metrics"))))
        except (KubectlError, ValueError) as error:
            return Replica(name, silence=str(error))

    def _server_time(self, home: str) -> datetime:
        """The API server's clock, by what it would write on an object that is not made."""
        asked = ("create", "configmap", "modelward-doctor-asks-the-time", "-n", home, "--dry-run=server", "-o", "json")
        made = json.loads(self.kubectl.run(*asked))["metadata"]["creationTimestamp"]
        return datetime.fromisoformat(made)


def _served(operators: Sequence[Json]) -> list[str]:
    """The namespaces that the operator was told to serve; empty for all."""
    for one in operators:
        for container in one["spec"]["template"]["spec"]["containers"]:
            for env in container.get("env", ()):
                if env["name"] == "WATCH_NAMESPACES":
                    return [name for name in env.get("value", "").split(",") if name]
    return []


def _question(user: str, group: str, resource: str, verbs: Iterable[str], namespace: str) -> Iterator[Json]:
    plural, _, subresource = resource.partition("/")
    home = user.split(":")[2]
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{home}", "system:authenticated"]
    for verb in verbs:
        asked = {"group": group, "resource": plural, "subresource": subresource, "verb": verb, "namespace": namespace}
        spec = {"user": user, "groups": groups, "resourceAttributes": asked}
        yield {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": spec}


def _words(asked: Mapping[str, str]) -> str:
    resource = "/".join(filter(None, (asked["resource"], asked.get("subresource", ""))))
    where = f" in {asked['namespace']}" if asked.get("namespace") else ""
    return f"{asked['verb']} {resource}{'.' + asked['group'] if asked.get('group') else ''}{where}"


def _documents(text: str) -> list[Json]:
    """The objects that kubectl prints one after another, or as a List."""
    decoder, found, at = json.JSONDecoder(), list[Json](), 0
    while at < len(text.rstrip()):
        document, end = decoder.raw_decode(text[at:].lstrip())
        at += len(text[at:]) - len(text[at:].lstrip()) + end
        found += document["items"] if document.get("kind") == "List" else [document]
    return found


def _figures(text: str) -> Iterator[tuple[tuple[str, str], float]]:
    """What the operator's metrics say of its health."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "modelward_watch_age_seconds":
                yield (sample.name, sample.labels["kind"]), sample.value
            elif sample.name in {"modelward_leader", "modelward_queue_oldest_seconds", "modelward_queue_depth"}:
                yield (sample.name, ""), sample.value
            elif sample.name == "modelward_api_requests_total" and sample.labels["code"] == "403":
                yield ("refused", f"{sample.labels['verb']} {sample.labels['kind']}"), sample.value
