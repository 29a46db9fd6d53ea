"""What a manifest may say, whose credentials count, and where an answer of a registry may lead."""

import base64
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from modelward_runtime.config import Oci
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store import artifact, dockerconfig
from modelward_runtime.store.dockerconfig import Credentials
from modelward_runtime.store.locate import OciLocation
from modelward_runtime.store.oci import Repository
from modelward_runtime.store.registry import Registry
from modelward_runtime.store.remote import RemoteFile

HEX = "ab" * 32
HERE = OciLocation("r.example", "risk/fraud", "7")
TITLE = "org.opencontainers.image.title"


def layer(name: str = "model.onnx", **more: Any) -> dict[str, Any]:
    known = {
        "mediaType": "application/octet-stream",
        "digest": f"sha256:{HEX}",
        "size": 3,
        "annotations": {TITLE: name},
    }
    return {**known, **more}


def manifest(*layers: dict[str, Any], **more: Any) -> bytes:
    known = {"schemaVersion": 2, "mediaType": artifact.MANIFEST_TYPE, "config": layer(), "layers": layers}
    return json.dumps({**known, **more}).encode()


def test_a_layer_is_a_file() -> None:
    files = artifact.parse(manifest(layer(), layer("data/w", size=0), unknown=[1]), "here")
    key = f"sha256:{HEX}"
    assert [RemoteFile(key, "model.onnx", 3, HEX), RemoteFile(key, "data/w", 0, HEX)] == files


def test_what_is_written_is_read() -> None:
    layers = [artifact.describe(HEX, 3, "data/0"), artifact.describe(HEX, 4, "manifest.json")]
    content = artifact.encode(layers, artifact.describe(HEX, 2))
    assert [file.name for file in artifact.parse(content, "here")] == ["data/0", "manifest.json"]
    assert json.loads(content)["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"


IMAGE = "application/vnd.oci.image.layer.v1.tar+gzip"
BAD: list[tuple[str, bytes, str]] = [
    ("no JSON", b"<html>", "is no OCI image manifest"),
    ("no text", b"\xff", "is no OCI image manifest"),
    ("a field of another type", manifest(layer(size="3")), "is no OCI image manifest"),
    ("an index", manifest(mediaType=artifact.INDEX_TYPE), "not an index of several"),
    ("Docker's own", manifest(layer(), mediaType="application/vnd.docker.distribution.manifest.v2+json"), "only app"),
    ("the first schema", manifest(layer(), schemaVersion=1), "and only"),
    ("nothing in it", manifest(), "has 0 layers"),
    ("too much in it", manifest(*[layer()] * 10_001), "has 10001 layers"),
    ("a container image", manifest(layer(mediaType=IMAGE)), "is an archive"),
    ("a folder that ORAS packed", manifest(layer(mediaType="application/vnd.x.tar")), "is an archive"),
    ("ModelPack's archive", manifest(layer(mediaType="application/vnd.cncf.model.weight.v1.tar")), "is an archive"),
    ("no path", manifest(layer(annotations={})), "has no annotation"),
    ("another hash", manifest(layer(digest="sha512:" + "a" * 128)), "a digest must be sha256"),
    ("a digest that is a path", manifest(layer(digest=f"sha256:{HEX}/../x")), "a digest must be sha256"),
    ("less than nothing", manifest(layer(size=-1)), "has the digest"),
    ("two of a path", manifest(layer(), layer()), "two layers of the same path"),
    (
        "a file that is a folder",
        manifest(layer("a"), layer("a/b/model.onnx"), layer("a/c")),
        "a layer 'a' that is a file",
    ),
]


@pytest.mark.parametrize(("reason", "content", "text"), BAD, ids=[reason for reason, *_ in BAD])
def test_what_is_no_model(reason: str, content: bytes, text: str) -> None:
    with pytest.raises(LoadError, match=text) as caught:
        artifact.parse(content, "oci://r.example/a:7")
    assert (LoadReason.INVALID_MODEL, True) == (caught.value.reason, caught.value.permanent), reason


# ── credentials ───────────────────────────────────────────────────────────────────────────────────────────────────────


def auth(word: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"u:{word}".encode()).decode()}


AUTHS: list[tuple[str, dict[str, Any], OciLocation, str]] = [
    ("by host", {"r.example": auth("1"), "x.example": auth("2")}, HERE, "1"),
    ("as old clients write it", {"https://r.example/v1/": auth("1")}, HERE, "1"),
    ("a colon in the password", {"r.example": auth("a:b")}, HERE, "a:b"),
    ("in clear", {"r.example": {"username": "u", "password": "1"}}, HERE, "1"),
    ("the longest path", {"r.example": auth("1"), "r.example/risk": auth("2"), "r.example/ri": auth("3")}, HERE, "2"),
    ("another port is another host", {"r.example:5000": auth("1")}, HERE, ""),
    ("Docker Hub", {"https://index.docker.io/v1/": auth("1")}, OciLocation("docker.io", "a/b", "7"), "1"),
    ("none at all", {}, HERE, ""),
]


@pytest.mark.parametrize(("reason", "auths", "location", "expected"), AUTHS, ids=[reason for reason, *_ in AUTHS])
def test_whose_credentials_count(
    tmp_path: Path, reason: str, auths: dict[str, Any], location: OciLocation, expected: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths, "psFormat": "x"}))
    assert expected == dockerconfig.read(tmp_path / "config.json", location).password, reason


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (
            {"auths": {"r.example": {}}, "credsStore": "desktop"},
            "docker-credential-desktop, and helpers are not supported",
        ),
        ({"credHelpers": {"r.example": "ecr-login"}}, "docker-credential-ecr-login"),
        ({"auths": {"r.example": {"identitytoken": "t"}}}, "identity token"),
        ({"auths": {}}, "holds none for r.example"),
    ],
)
def test_why_there_are_none_is_told(tmp_path: Path, config: dict[str, Any], text: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = dockerconfig.read(tmp_path / "config.json", HERE)
    assert not found
    assert text in found.lacking


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, "cannot be read"), (b"sesame", "is no Docker"), (b'{"auths":{"r.example":{"auth":"sesame!"}}}', "base64")],
)
def test_a_useless_configuration_is_named_and_not_shown(tmp_path: Path, content: bytes | None, text: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(LoadError, match=text) as caught:
        dockerconfig.read(tmp_path / "config.json", HERE)
    assert caught.value.reason is LoadReason.ACCESS_DENIED
    assert "sesame" not in caught.value.message
    assert "sesame" not in repr(Credentials("u", "sesame"))


# ── where an answer may lead ──────────────────────────────────────────────────────────────────────────────────────────

Answer = Callable[[http.server.BaseHTTPRequestHandler], tuple[int, dict[str, str], bytes]]


@contextmanager
def server(answer: Answer) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A server of one answer; with each request's path and authorisation."""
    asked: list[tuple[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("authorization", "")))
            status, headers, body = answer(self)
            self.send_response(status)
            for name, content in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, content)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}", asked
        running.shutdown()


def client(base: str) -> Registry:
    return Registry(base, "repository:a:pull", Credentials("u", "sesame", ""), None, 60)


def test_credentials_do_not_follow_a_redirect_to_another_place() -> None:
    def bucket(_: object) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, b"bytes"

    with server(bucket) as (elsewhere, there):

        def locked(request: http.server.BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
            if not request.headers.get("authorization"):
                return 401, {"www-authenticate": 'Basic realm="x"'}, b"{}"
            return 307, {"location": f"{elsewhere}/blob?signature=1"}, b""

        with server(locked) as (base, here):
            ours = client(base)
            assert ours.content(ours.ask("GET", "v2/a/blobs/b", "reading"), "reading") == b"bytes"
    assert [("/blob?signature=1", "")] == there
    assert ["", Credentials("u", "sesame").basic] == [authorisation for _, authorisation in here]


def test_a_stranger_that_a_redirect_leads_to_cannot_ask_for_credentials() -> None:
    def greedy(_: object) -> tuple[int, dict[str, str], bytes]:
        return 401, {"www-authenticate": 'Basic realm="x"'}, b"{}"

    with server(greedy) as (elsewhere, there):
        with server(lambda _: (307, {"location": elsewhere}, b"")) as (base, _), pytest.raises(LoadError) as caught:
            client(base).ask("GET", "v2/", "reading")
        assert [("/", "")] == there
    assert caught.value.reason is LoadReason.ACCESS_DENIED


@pytest.mark.parametrize("target", ["http://other.example/x", "//other.example:80/../x"])
def test_from_tls_nothing_leads_to_plain_http(target: str) -> None:
    ours = client("https://r.example")
    if target.startswith("http:"):
        with pytest.raises(LoadError, match="a place without TLS"):
            ours.resolve("https://r.example/v2/", target, "reading")
    else:
        assert ours.resolve("https://r.example/v2/", target, "reading").startswith("https://other.example")


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (302, {"location": "https://[bad/x"}),
        (302, {"location": "//[::1"}),
        (401, {"www-authenticate": 'Bearer realm="https://[bad"'}),
    ],
)
def test_what_leads_to_no_address_is_refused(status: int, headers: dict[str, str]) -> None:
    with (
        server(lambda _: (status, headers, b"")) as (base, _),
        pytest.raises(LoadError, match="leads to what is no address of the web") as caught,
    ):
        client(base).ask("GET", "v2/", "reading")
    assert LoadReason.SOURCE_UNREACHABLE is caught.value.reason


def test_redirects_without_end_are_given_up() -> None:
    with server(lambda _: (302, {"location": "/again"}, b"")) as (base, asked), pytest.raises(LoadError) as caught:
        client(base).ask("GET", "v2/", "reading")
    assert (LoadReason.SOURCE_UNREACHABLE, 6) == (caught.value.reason, len(asked))


@pytest.mark.parametrize(
    ("status", "body", "reason", "permanent", "text"),
    [
        (
            403,
            b'{"errors":[{"code":"DENIED","message":"not\\nyou"}]}',
            LoadReason.ACCESS_DENIED,
            True,
            "DENIED: not you",
        ),
        (404, b"", LoadReason.MODEL_NOT_FOUND, True, "HTTP 404"),
        (429, b'{"errors":[{"code":"TOOMANYREQUESTS"}]}', LoadReason.SOURCE_UNREACHABLE, False, "TOOMANYREQUESTS"),
        (503, b"<html>", LoadReason.SOURCE_UNREACHABLE, False, "HTTP 503"),
        (401, b"{}", LoadReason.ACCESS_DENIED, True, "HTTP 401"),
    ],
)
def test_what_an_answer_means(status: int, body: bytes, reason: LoadReason, permanent: bool, text: str) -> None:
    with (
        server(lambda _: (status, {"www-authenticate": "Basic"}, body)) as (base, _),
        pytest.raises(LoadError) as caught,
    ):
        client(base).ask("GET", "v2/a/manifests/7", "reading")
    assert (reason, permanent) == (caught.value.reason, caught.value.permanent)
    assert text in caught.value.message
    assert "sesame" not in caught.value.message


def test_a_manifest_without_end_is_refused_before_it_fills_the_memory() -> None:
    with server(lambda _: (200, {}, b" " * (artifact.MOST_BYTES + 1))) as (base, _), pytest.raises(LoadError) as caught:
        Repository(HERE, Oci(endpoint=base), None, 60).files()
    assert "larger than 4194304 bytes" in caught.value.message


def test_a_page_in_place_of_a_manifest_is_told_from_a_broken_one() -> None:
    def login(_: object) -> tuple[int, dict[str, str], bytes]:
        return 200, {"content-type": "text/html; charset=utf-8"}, b"<html>log in</html>"

    with server(login) as (base, _), pytest.raises(LoadError, match="a web page came in place of a manifest") as caught:
        Repository(HERE, Oci(endpoint=base), None, 60).files()
    assert (LoadReason.INVALID_MODEL, True) == (caught.value.reason, caught.value.permanent)


def test_a_registry_says_when_it_wants_to_be_asked_again() -> None:
    with server(lambda _: (429, {"retry-after": "40"}, b"")) as (base, _), pytest.raises(LoadError) as caught:
        Repository(HERE, Oci(endpoint=base), None, 60).files()
    assert (LoadReason.SOURCE_UNREACHABLE, False, 40.0) == (
        caught.value.reason,
        caught.value.permanent,
        caught.value.retry_after,
    )


def test_an_answer_that_was_cut_before_its_body_is_asked_for_again() -> None:
    with server(lambda _: (200, {}, b"")) as (base, _), pytest.raises(LoadError) as caught:
        Repository(HERE, Oci(endpoint=base), None, 60).files()
    assert (LoadReason.TRUNCATED, False) == (caught.value.reason, caught.value.permanent)


def test_a_manifest_that_is_not_the_one_of_the_digest_is_refused() -> None:
    pinned = OciLocation("r.example", "a", "", f"sha256:{HEX}")
    with server(lambda _: (200, {}, manifest(layer()))) as (base, _), pytest.raises(LoadError) as caught:
        Repository(pinned, Oci(endpoint=base), None, 60).files()
    assert (LoadReason.DIGEST_MISMATCH, True) == (caught.value.reason, caught.value.permanent)


def test_a_proxy_is_used_where_the_environment_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(lambda _: (200, {}, b"through")) as (proxy, asked):
        monkeypatch.setenv("http_proxy", proxy)
        ours = client("http://r.example")
        assert ours.content(ours.ask("GET", "v2/", "reading"), "reading") == b"through"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with server(lambda _: (200, {}, b"direct")) as (base, _):
            beside = client(base)
            assert beside.content(beside.ask("GET", "v2/", "reading"), "reading") == b"direct"
    assert [("http://r.example/v2/", "")] == asked
