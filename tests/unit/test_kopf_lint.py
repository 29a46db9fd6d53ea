"""Kopf stays the doorbell, and no file shadows the standard library."""

import ast
from pathlib import Path

import kopf
import pytest

from modelward_operator.handlers import kopf_settings, registry

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "operator/src").rglob("*.py"))
ALLOWED = {"event", "startup", "cleanup", "probe", "login"}
BANNED = {
    "timer",
    "daemon",
    "index",
    "adopt",
    "create",
    "update",
    "resume",
    "delete",
    "field",
    "subhandler",
    "register",
}


def kopf_names(tree: ast.AST) -> set[str]:
    """Return every name taken from kopf: `on.create` of `kopf.on.create`, `timer` of `kopf.timer` or an import."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if name.startswith("kopf."):
                found.add(name.removeprefix("kopf."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "kopf":
            found |= {f"imported {alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT / "operator/src")))
def test_no_edge_triggered_handler_timer_daemon_or_index(file: Path) -> None:
    names = kopf_names(ast.parse(file.read_text()))
    assert {name for name in names if name.startswith("on.") and name.split(".")[1] not in ALLOWED} == set()
    assert {name for name in names if name.split(".")[0] in BANNED or name.startswith("imported")} == set()


def test_the_lint_sees_what_it_should() -> None:
    source = "import kopf\nfrom kopf import timer\n@kopf.on.create('x')\ndef f(): kopf.daemon"
    assert kopf_names(ast.parse(source)) == {"on", "on.create", "daemon", "imported timer"}


def test_nothing_is_registered_that_writes() -> None:
    async def login() -> dict[str, str]:
        return {}

    handlers = registry(lambda _event, _obj: None, login, started=lambda: None, stopped=lambda: None)
    assert not list(handlers._changing.get_all_handlers())
    assert not list(handlers._spawning.get_all_handlers())
    assert not list(handlers._indexing.get_all_handlers())
    assert not list(handlers._webhooks.get_all_handlers())
    assert len(list(handlers._watching.get_all_handlers())) == 1


def test_kopf_is_told_to_keep_quiet() -> None:
    settings = kopf_settings()
    assert settings.posting.enabled is False
    assert settings.posting.loggers is False
    assert settings.peering.standalone is True
    assert settings.scanning.disabled is True
    assert (settings.watching.server_timeout, settings.watching.inactivity_timeout) == (300, 70)
    assert settings.watching.chunk_size == 100
    body = kopf.Body({"metadata": {"annotations": {"a": "b"}}, "spec": {"x": 1}})
    patch = kopf.Patch()
    settings.persistence.diffbase_storage.store(body=body, patch=patch, essence={"spec": {}})
    settings.persistence.progress_storage.touch(body=body, patch=patch, value="now")
    assert settings.persistence.diffbase_storage.build(body=body) == {}
    assert not patch


@pytest.mark.parametrize("path", ["operator/__init__.py", "tests/operator"])
def test_the_standard_librarys_operator_is_not_shadowed(path: str) -> None:
    assert not (ROOT / path).exists()
