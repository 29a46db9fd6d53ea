"""The examples of our pages: finds those of the shell and runs them as they are written, in a network of their own with the ports that they
name; finds the manifests, for tests/integration to apply.

A command that serves goes on in the background, once it has said that it is ready; the next ones find it. One that serves after it
takes its ports, as when a reader has ended the first one.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
_PART = re.compile(r"^(?P<heading>#+ [^\n]*)$|^```(?P<kind>\w*)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
_HERE_DOCUMENT = re.compile(r"<<-?'?(?P<word>\w+)'?[^\n]*\n(?P<text>.*?)^(?P=word)$", re.MULTILINE | re.DOTALL)
SECONDS = 240.0  # for one command
Json = dict[str, Any]


@dataclass(frozen=True)
class Block:
    """An example: the page, the heading it stands under, its number there, its text."""

    page: str
    heading: str
    number: int
    text: str

    @property
    def key(self) -> tuple[str, str, int]:
        """By which tests name it."""
        return self.page, self.heading, self.number

    @property
    def commands(self) -> list[str]:
        """Its commands; lines that are continued are one."""
        joined = self.text.replace("\\\n", "\\\0").splitlines()
        return [line.replace("\\\0", "\\\n") for line in joined if line.strip() and not line.startswith("#")]


def blocks(page: str) -> list[Block]:
    """The blocks of a page that say `sh`."""
    found: list[Block] = []
    heading = ""
    for part in _PART.finditer((ROOT / page).read_text(encoding="utf-8")):
        if part["heading"]:
            heading = part["heading"].lstrip("# ")
        elif part["kind"] == "sh":
            number = sum(one.heading == heading for one in found)
            found.append(Block(page, heading, number, part["text"]))
    return found


@dataclass(frozen=True)
class Manifest:
    """What a block of a page has its reader apply: objects, or values of the chart."""

    page: str
    line: int
    objects: list[Json]
    values: Json

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.page}:{self.line}"


def task_pages() -> list[str]:
    """The pages of operator/tasks, each with one task."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "operator" / "tasks").glob("*.md"))


def manifests(page: str) -> list[Manifest]:
    """The YAML of a page, in its order: blocks that say `yaml`, and here-documents of those that say `sh`.

    A block that begins with `spec:` is a part of the ModelDeployment before it, and comes merged into that. One that begins with the
    comment `# values.yaml` holds values of the chart. AssertionError for one that is neither, nor whole objects.
    """
    found: list[Manifest] = []
    text = (ROOT / page).read_text(encoding="utf-8")
    assert not re.search(r"^[ >]+```", text, re.MULTILINE), f"{page}: an example that is indented is read by no test"
    last: Json = {}
    for line, block in _yaml_blocks(text):
        documents = [document for document in yaml.safe_load_all(block) if document is not None]
        if block.startswith("# values.yaml"):
            (values,) = documents
            found.append(Manifest(page, line, [], values))
            continue
        if [*documents[0]] == ["spec"]:
            assert last, f"{page}:{line}: a part of which ModelDeployment?"
            documents = [merged(last, documents[0])]
        for document in documents:
            assert {"apiVersion", "kind", "metadata"} <= document.keys(), (
                f"{page}:{line}: neither a whole object, nor a part that begins with `spec:`, nor `# values.yaml`"
            )
            last = document if document["kind"] == "ModelDeployment" else last
        found.append(Manifest(page, line, documents, {}))
    return found


def _yaml_blocks(text: str) -> Iterator[tuple[int, str]]:
    for part in _PART.finditer(text):
        first = text.count("\n", 0, part.start()) + 1
        if part["kind"] == "yaml":
            yield first, part["text"]
        if part["kind"] == "sh":
            for here in _HERE_DOCUMENT.finditer(part["text"]):
                if re.search(r"^(apiVersion|spec):", here["text"], re.MULTILINE):
                    yield first, here["text"]


def merged(whole: Json, part: Json) -> Json:
    """The object after a merge patch (RFC 7386)."""
    result = {**whole}
    for name, value in part.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            before = result.get(name)
            result[name] = merged(before if isinstance(before, dict) else {}, value)
        else:
            result[name] = value
    return result


@dataclass
class Shell:
    """Runs commands in a folder; `answers` are what they have said so far, by command."""

    folder: Path
    prefix: list[str]
    answers: dict[str, str] = field(default_factory=dict)
    serving: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def run(self, command: str) -> str:
        """What a command says; AssertionError when it fails. One that serves is ready when this returns."""
        if "modelward serve" in command:
            said = self._serve(command)
        else:
            run = [*self.prefix, "bash", "-euo", "pipefail", "-c", command]
            done = subprocess.run(
                run, cwd=self.folder, env=_environment(), capture_output=True, text=True, timeout=SECONDS, check=False
            )
            assert done.returncode == 0, f"{command}\nexit status {done.returncode}\n{done.stdout}{done.stderr}"
            said = done.stdout
        self.answers[command] = said
        return said

    def _serve(self, command: str) -> str:
        self.close()
        run = [*self.prefix, "bash", "-c", "exec " + command.partition("#")[0].strip().removesuffix("&")]
        child = subprocess.Popen(
            run, cwd=self.folder, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.serving.append(child)
        assert child.stdout is not None
        line = child.stdout.readline()
        assert " is ready" in line, f"{command}\n{line}{child.communicate()[1]}"
        return line

    def close(self) -> None:
        """End what serves."""
        while self.serving:
            child = self.serving.pop()
            child.terminate()
            child.communicate(timeout=60)


@contextmanager
def shell(folder: Path) -> Iterator[Shell]:
    """A shell in a network of its own, which has nothing but a loopback: examples name ports that others may have."""
    hold = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"]), "cat"]
    holder = subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write("there\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "there\n", (
        "no network namespace is to be had: run as root, or allow user namespaces"
    )
    prefix = [
        "nsenter",
        f"--target={holder.pid}",
        "--net",
        *([] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]),
    ]
    made = Shell(folder, prefix)
    try:
        made.run("ip link set lo up")
        yield made
    finally:
        made.close()
        holder.communicate(timeout=10)


def _environment() -> Mapping[str, str]:
    """With our commands on the path, as the pages suppose."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
