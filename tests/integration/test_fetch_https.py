"""Fetching from a web server with TLS: what comes whole, who may read, where a redirect may lead, what a broken network costs."""

import base64
import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelward_runtime.config import Boot, Https, ModelSource
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.guard import Guard
from modelward_runtime.hardware import Hardware
from modelward_runtime.load import Patience, load
from modelward_runtime.report import Report
from modelward_runtime.store import lanes, resuming
from modelward_runtime.store.cache import Cache
from modelward_runtime.store.fetch import fetch
from modelward_runtime.store.found import Fetched
from modelward_runtime.store.receiving import Progress
from modelward_runtime.store.verify import digest_of
from tests.integration.objectstore import Certificates, certificates
from tests.integration.webserver import Manner, Request, Site, page, redirecting, web_server
from tests.onnx_models import WEIGHTS, external, linear
from tests.pages import blocks
from tests.processes import run
from tests.sealed_folders import make_sealed

LINEAR = linear().SerializeToString()
DEEP = {"model.onnx": external("data/w.bin", offset=0, length=48).SerializeToString(), "data/w.bin": WEIGHTS.tobytes()}
BIG = os.urandom(5 << 20)
SECRET = "sesame-open"
QUICK = Patience(first_pause=0.01, longest_pause=0.02, tick=0.02)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def site(made: Certificates) -> Iterator[Site]:
    with web_server(made) as running:
        running.files = {"/iris/model.onnx": LINEAR, "/big.onnx": BIG, "/empty.onnx": b""}
        put(running, "/deep/", DEEP)
        yield running


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a model of a few megabytes comes in parts, and pauses are short."""
    monkeypatch.setattr(lanes, "PART", 1 << 20)
    monkeypatch.setattr(resuming, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(resuming, "_PROGRESS", 1 << 17)


def put(site: Site, folder: str, files: Mapping[str, bytes]) -> None:
    """A folder with its list."""
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items())]
    site.files |= {folder + name: content for name, content in files.items()}
    site.files[f"{folder}SHA256SUMS"] = "".join(lines).encode()


def source(site: Site, path: str, made: Certificates, secrets: Path | None = None, **more: Any) -> ModelSource:
    known = Https(credentials_directory=str(secrets) if secrets else None)
    uri = f"https://{site.host}{path}"
    return ModelSource(name="m", version="1", uri=uri, https=known, **{"ca_bundle_file": str(made.ca), **more})


def fetched(site: Site, path: str, made: Certificates, folder: Path, **more: Any) -> Fetched:
    return fetch(source(site, path, made, **more), Cache(folder), Progress(), 60)


def refusal(site: Site, path: str, made: Certificates, folder: Path, **more: Any) -> LoadError:
    with pytest.raises(LoadError) as caught:
        fetched(site, path, made, folder, **more)
    assert not list(folder.rglob("*.onnx"))
    assert SECRET not in caught.value.message
    assert "X-Signature" not in caught.value.message
    return caught.value


def secret(folder: Path, **keys: str) -> Path:
    folder.mkdir(parents=True)
    for name, content in keys.items():
        (folder / name).write_text(content)
    return folder


# ── what comes whole ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_single_file(site: Site, made: Certificates, tmp_path: Path) -> None:
    got = fetched(site, "/iris/model.onnx", made, tmp_path)
    assert got.file.read_bytes() == LINEAR
    assert (digest_of(got.file), len(LINEAR)) == (got.digest, got.size)


@pytest.mark.parametrize("path", ["/deep/", "/deep"])
def test_a_folder_is_what_its_list_says(site: Site, made: Certificates, tmp_path: Path, path: str) -> None:
    """And the digest of the folder is that of the list: `sha256sum SHA256SUMS` prints it."""
    got = fetched(site, path, made, tmp_path)
    assert got.folder is not None
    assert (got.folder / "data/w.bin").read_bytes() == WEIGHTS.tobytes()
    assert digest_of(got.folder) == got.digest
    assert f"sha256:{hashlib.sha256(site.files['/deep/SHA256SUMS']).hexdigest()}" == got.digest


def test_a_list_as_find_and_sha256sum_make_it_without_care(site: Site, made: Certificates, tmp_path: Path) -> None:
    """Unsorted, with ./ before each name, in binary mode, and with a line for the list itself."""
    lines = [f"{hashlib.sha256(content).hexdigest()} *./{name}" for name, content in DEEP.items()]
    site.files["/deep/SHA256SUMS"] = "\n".join(["# of fraud 7", f"{'0' * 64}  ./SHA256SUMS", *lines[::-1]]).encode()
    got = fetched(site, "/deep/", made, tmp_path)
    assert got.folder is not None
    assert digest_of(got.folder) == got.digest


def test_the_lines_of_the_page_make_a_list_and_its_digest(site: Site, made: Certificates, tmp_path: Path) -> None:
    """operator/tasks/private-stores.md, as it is written."""
    (lines,) = [block.text for block in blocks("operator/tasks/private-stores.md") if "find ." in block.text]
    (tmp_path / "m/a b").mkdir(parents=True)
    for name, content in {**DEEP, "a b/c": b"x"}.items():
        (tmp_path / "m" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "m" / name).write_bytes(content)
    told = subprocess.run(["bash", "-c", lines], cwd=tmp_path / "m", capture_output=True, text=True, check=True).stdout
    for file in (tmp_path / "m").rglob("*"):
        if file.is_file():
            site.files[f"/page/{file.relative_to(tmp_path / 'm')}"] = file.read_bytes()
    got = fetched(site, "/page/", made, tmp_path / "c", digest=f"sha256:{told.partition(' ')[0]}")
    assert got.folder is not None
    assert (got.folder / "a b/c").read_bytes() == b"x"
    assert f"sha256:{told.partition(' ')[0]}" == got.digest


def test_names_that_a_url_must_write_otherwise(site: Site, made: Certificates, tmp_path: Path) -> None:
    put(site, "/odd/", {"model.onnx": LINEAR, "a b/100%#?.bin": b"x"})
    got = fetched(site, "/odd/", made, tmp_path)
    assert got.folder is not None
    assert (got.folder / "a b/100%#?.bin").read_bytes() == b"x"


def test_a_sealed_folder_needs_no_list(site: Site, made: Certificates, tmp_path: Path) -> None:
    folder = make_sealed(tmp_path, DEEP).folder
    names = [path for path in folder.rglob("*") if path.is_file()]
    site.files |= {f"/sealed/{path.relative_to(folder)}": path.read_bytes() for path in names}
    got = fetched(site, "/sealed/", made, tmp_path / "c")
    assert got.sealed
    assert digest_of(folder) == got.digest


def test_a_large_file_comes_in_parts_over_several_connections(site: Site, made: Certificates, tmp_path: Path) -> None:
    progress = Progress()
    got = fetch(source(site, "/big.onnx", made), Cache(tmp_path), progress, 60)
    assert got.file.read_bytes() == BIG
    assert f"sha256:{hashlib.sha256(BIG).hexdigest()}" == got.digest
    assert (len(BIG), len(BIG)) == (progress.received, progress.total)
    assert {f"bytes={at}-{at + (1 << 20) - 1}" for at in range(0, len(BIG), 1 << 20)} <= {r for _, r, _ in site.asked}


@pytest.mark.parametrize(("ranges_too", "etag"), [(False, '"1"'), (True, 'W/"1"'), (True, None)])
def test_what_cannot_be_had_in_parts_comes_in_one(
    site: Site, made: Certificates, tmp_path: Path, ranges_too: bool, etag: str | None
) -> None:
    site.ranges, site.etag = ranges_too, etag
    assert fetched(site, "/big.onnx", made, tmp_path).file.read_bytes() == BIG
    assert [""] == [asked for _, asked, _ in site.asked[1:]], "one request after the first look"


def test_a_declared_digest_lets_parts_be_asked_for_without_an_etag(
    site: Site, made: Certificates, tmp_path: Path
) -> None:
    site.etag = None
    got = fetched(site, "/big.onnx", made, tmp_path, digest=f"sha256:{hashlib.sha256(BIG).hexdigest()}")
    assert got.file.read_bytes() == BIG
    assert len(site.asked) > 5


# ── who may read ──────────────────────────────────────────────────────────────────────────────────────────────────────

BASIC = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [({"token": SECRET}, f"Bearer {SECRET}"), ({"username": "me", "password": SECRET}, BASIC)],
)
def test_credentials_open(site: Site, made: Certificates, tmp_path: Path, keys: dict[str, str], wanted: str) -> None:
    site.authorization = wanted
    assert fetched(site, "/deep/", made, tmp_path / "c", secrets=secret(tmp_path / "s", **keys)).file.exists()
    error = refusal(site, "/deep/", made, tmp_path / "d")
    assert (LoadReason.ACCESS_DENIED, True) == (error.reason, error.permanent)
    assert "none were sent" in error.message
    error = refusal(site, "/deep/", made, tmp_path / "e", secrets=secret(tmp_path / "t", token="wrong"))
    assert "the credentials of model.storage.secretRef were sent" in error.message


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({}, "holds neither token nor username and password"),
        ({"password": SECRET}, "holds neither token nor username"),
        ({"token": SECRET, "username": "me"}, "holds both token and username"),
        ({"token": f"{SECRET}\n"}, "begins or ends with white space"),
        ({"token": f"{SECRET}\r\nX: y"}, "holds signs that no header can carry"),
        ({"username": "me:too", "password": SECRET}, "a username with a colon"),
    ],
)
def test_a_secret_that_cannot_be_used_is_named_and_not_shown(
    site: Site, made: Certificates, tmp_path: Path, keys: dict[str, str], text: str
) -> None:
    error = refusal(site, "/deep/", made, tmp_path / "c", secrets=secret(tmp_path / "s", **keys))
    assert (LoadReason.ACCESS_DENIED, True) == (error.reason, error.permanent)
    assert text in error.message
    assert site.asked == []


def test_a_private_ca_is_trusted_when_it_is_given_and_not_otherwise(
    site: Site, made: Certificates, tmp_path: Path
) -> None:
    other = certificates(tmp_path / "other")
    for bundle in (None, str(other.ca)):
        error = refusal(site, "/deep/", made, tmp_path / "c", ca_bundle_file=bundle)
        assert (LoadReason.CERTIFICATE_INVALID, True) == (error.reason, error.permanent)
        assert "caBundleRef" in error.message


@pytest.mark.parametrize(
    ("made_for", "days", "text"),
    [("127.0.0.2", 1, "IP address mismatch"), ("127.0.0.1", -1, "certificate has expired")],
)
def test_a_certificate_that_does_not_hold(tmp_path: Path, made_for: str, days: int, text: str) -> None:
    bad = certificates(tmp_path / "tls", address=made_for, days=days)
    with web_server(bad) as running:
        error = refusal(running, "/deep/", bad, tmp_path / "c")
    assert (LoadReason.CERTIFICATE_INVALID, True) == (error.reason, error.permanent)
    assert text in error.message


# ── where a redirect leads ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_redirect_is_followed_without_the_credentials(site: Site, made: Certificates, tmp_path: Path) -> None:
    known = secret(tmp_path / "s", token=SECRET)
    with web_server(made) as mirror:
        mirror.files = {f"{path}?X-Signature=1": content for path, content in site.files.items()}
        site.manners = [redirecting(f"https://{mirror.host}{{path}}?X-Signature=1", 307)]
        assert fetched(site, "/deep/", made, tmp_path / "c", secrets=known).file.exists()
        assert fetched(site, "/big.onnx", made, tmp_path / "d", secrets=known).file.read_bytes() == BIG
        assert {""} == {sent for *_, sent in mirror.asked}
    assert {f"Bearer {SECRET}"} == {sent for *_, sent in site.asked}


def test_within_the_place_itself_the_credentials_go_along(site: Site, made: Certificates, tmp_path: Path) -> None:
    site.authorization = f"Bearer {SECRET}"
    site.manners = [redirecting("/iris/model.onnx", only="/latest.onnx")]
    known = secret(tmp_path / "s", token=SECRET)
    assert fetched(site, "/latest.onnx", made, tmp_path / "c", secrets=known).file.read_bytes() == LINEAR


def test_a_circle_is_given_up(site: Site, made: Certificates, tmp_path: Path) -> None:
    site.manners = [redirecting("/again.onnx")]
    error = refusal(site, "/deep.onnx", made, tmp_path)
    assert (LoadReason.SOURCE_UNREACHABLE, True, 6) == (error.reason, error.permanent, len(site.asked))
    assert "redirects more than 5 times" in error.message


@pytest.mark.parametrize("where", ["http://127.0.0.1:1/deep.onnx?X-Signature=1", "ftp://127.0.0.1/deep.onnx"])
def test_a_redirect_out_of_tls_is_refused(site: Site, made: Certificates, tmp_path: Path, where: str) -> None:
    site.manners = [redirecting(where)]
    error = refusal(site, "/deep.onnx", made, tmp_path, secrets=secret(tmp_path / "s", token=SECRET))
    assert (LoadReason.ACCESS_DENIED, True) == (error.reason, error.permanent)
    assert "a place without TLS" in error.message


def test_the_host_that_cannot_be_reached_after_a_redirect_is_named(
    site: Site, made: Certificates, tmp_path: Path
) -> None:
    """For it is another than the URI's, and the network policy opens the URI's."""
    site.manners = [redirecting("https://127.0.0.1:9/x.onnx?X-Signature=1")]
    error = refusal(site, "/deep.onnx", made, tmp_path)
    assert (LoadReason.SOURCE_UNREACHABLE, False) == (error.reason, error.permanent)
    assert "redirects to https://127.0.0.1:9; if its address is not open" in error.message


# ── what is no model ──────────────────────────────────────────────────────────────────────────────────────────────────


def packed(request: Request) -> bool:
    request.tell(200, b"\x1f\x8b", Content_Encoding="gzip")
    return True


def endless(request: Request) -> bool:
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"0\r\n\r\n")
    return True


def longer(request: Request) -> bool:
    request.send_response(200)
    request.send_header("Content-Length", "9" * 5000)
    request.end_headers()
    return True


def listed(content: bytes) -> Callable[[Request], bool]:
    def manner(request: Request) -> bool:
        if request.path.endswith("SHA256SUMS"):
            request.tell(200, content)
            return True
        return False

    return manner


LINE = hashlib.sha256(b"x").hexdigest()
REFUSED: list[tuple[str, str, Manner | None, LoadReason, str]] = [
    ("no such file", "/none.onnx", None, LoadReason.MODEL_NOT_FOUND, "HTTP 404: there is no such file"),
    ("no list", "/iris/", None, LoadReason.MODEL_NOT_FOUND, "neither a SHA256SUMS nor the manifest.json"),
    ("a page for a file", "/a.onnx", page, LoadReason.INVALID_MODEL, "a web page came in place of the file"),
    ("a page for a list", "/a/", page, LoadReason.INVALID_MODEL, "a web page came in place of the list"),
    ("packed", "/a.onnx", packed, LoadReason.INVALID_MODEL, "sends it packed"),
    ("no length", "/a.onnx", endless, LoadReason.INVALID_MODEL, "does not say how long it is"),
    ("a length of 5000 digits", "/a.onnx", longer, LoadReason.INVALID_MODEL, "does not say how long it is"),
    ("off to nowhere", "/a.onnx", redirecting("https://[bad/"), LoadReason.SOURCE_UNREACHABLE, "no address of the web"),
    ("its list is nowhere", "/a/", redirecting("//[::1"), LoadReason.SOURCE_UNREACHABLE, "no address of the web"),
    ("a list of nothing", "/a/", listed(b"\n"), LoadReason.INVALID_MODEL, "lists 0 files"),
    ("a list that is none", "/a/", listed(b"model.onnx\n"), LoadReason.INVALID_MODEL, "has a line 1 that sha256sum"),
    ("a list in no text", "/a/", listed(b"\xff"), LoadReason.INVALID_MODEL, "is no text"),
    ("a file twice", "/a/", listed(f"{LINE}  a\n{LINE}  a\n".encode()), LoadReason.INVALID_MODEL, "two lines of the"),
    ("a file and below", "/a/", listed(f"{LINE}  a\n{LINE}  a/b\n".encode()), LoadReason.INVALID_MODEL, "a line 'a'"),
    ("no model in it", "/a/", listed(f"{LINE}  a.bin\n".encode()), LoadReason.MODEL_NOT_FOUND, "no such file"),
    ("a list too long", "/a/", listed(b"#" * ((8 << 20) + 1)), LoadReason.INVALID_MODEL, "larger than 8388608"),
    ("other bytes than listed", "/deep/", listed(f"{LINE}  model.onnx\n".encode()), LoadReason.DIGEST_MISMATCH, "came"),
]


@pytest.mark.parametrize(("case", "path", "manner", "reason", "text"), REFUSED, ids=[case for case, *_ in REFUSED])
def test_what_is_no_model(
    site: Site,
    made: Certificates,
    tmp_path: Path,
    case: str,
    path: str,
    manner: Manner | None,
    reason: LoadReason,
    text: str,
) -> None:
    site.manners = [manner] if manner else []
    error = refusal(site, path, made, tmp_path)
    assert (reason, True) == (error.reason, error.permanent), f"{case}: {error.message}"
    assert text in error.message


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../evil", "a//b", ".", "a/./b"])
def test_a_path_that_would_leave_the_folder_is_refused(
    site: Site, made: Certificates, tmp_path: Path, name: str
) -> None:
    put(site, "/evil/", {"model.onnx": LINEAR})
    site.files["/evil/SHA256SUMS"] += f"{LINE}  {name}\n".encode()
    site.files[f"/evil/{name}"] = b"x"
    error = refusal(site, "/evil/", made, tmp_path / "cache")
    assert (LoadReason.INVALID_MODEL, True) == (error.reason, error.permanent)
    assert not list(tmp_path.rglob("*evil*"))


# ── a network that misbehaves ─────────────────────────────────────────────────────────────────────────────────────────


def test_connections_that_break_are_taken_up_where_they_broke(site: Site, made: Certificates, tmp_path: Path) -> None:
    site.allowance = [300_000, 10, 700_000, 1]
    progress = Progress()
    got = fetch(source(site, "/big.onnx", made), Cache(tmp_path), progress, 60)
    assert got.file.read_bytes() == BIG
    assert progress.received == len(BIG)
    assert any(asked and int(asked[6:].split("-")[0]) % (1 << 20) for _, asked, _ in site.asked)


def test_a_file_that_changes_while_it_comes_is_never_a_mixture(site: Site, made: Certificates, tmp_path: Path) -> None:
    """After some parts another file lies there: it is fetched anew, from its start."""
    other = BIG[::-1]

    def change(request: Request) -> bool:
        if site.etag == '"1"' and len(site.asked) >= 4:  # parts are asked for side by side
            site.etag, site.files["/big.onnx"] = '"2"', other
        return False

    site.manners = [change]
    assert fetched(site, "/big.onnx", made, tmp_path).file.read_bytes() == other


def test_fewer_bytes_than_announced_time_and_again_is_transient_and_leaves_nothing(
    site: Site, made: Certificates, tmp_path: Path
) -> None:
    site.allowance = [1000] * 100
    error = refusal(site, "/big.onnx", made, tmp_path)
    assert (LoadReason.SOURCE_UNREACHABLE, False) == (error.reason, error.permanent)


def test_more_bytes_than_announced_do_not_come_in(site: Site, made: Certificates, tmp_path: Path) -> None:
    """A part with a longer answer than was asked for is refused; what follows a length on the line is not read."""

    def generous(request: Request) -> bool:
        if request.path != "/big.onnx" or request.headers.get("range") == "bytes=0-0":
            return False
        request.tell(206, BIG, ETag='"1"', Content_Range=f"bytes {request.headers['range'][6:]}/{len(BIG)}")
        return True

    site.manners = [generous]
    error = refusal(site, "/big.onnx", made, tmp_path)
    assert (LoadReason.DIGEST_MISMATCH, True) == (error.reason, error.permanent)
    assert "more bytes came" in error.message


def busy(times: int, **headers: Any) -> Manner:
    left = [times]

    def manner(request: Request) -> bool:
        if request.headers.get("range") == "bytes=0-0" or left[0] == 0:
            return False
        left[0] -= 1
        request.tell(503, **headers)
        return True

    return manner


def test_a_server_that_asks_for_a_moment_gets_it(site: Site, made: Certificates, tmp_path: Path) -> None:
    site.manners = [busy(1, Retry_After="1")]
    began = time.monotonic()
    assert fetched(site, "/iris/model.onnx", made, tmp_path).file.read_bytes() == LINEAR
    assert 1.0 <= time.monotonic() - began < 20


def test_a_date_counts_beside_the_servers_own_clock(site: Site, made: Certificates, tmp_path: Path) -> None:
    site.manners = [busy(1, Date="Thu, 26 Nov 2020 10:00:00 GMT", Retry_After="Thu, 26 Nov 2020 10:01:40 GMT")]
    error = refusal(site, "/iris/model.onnx", made, tmp_path)
    assert (LoadReason.SOURCE_UNREACHABLE, False, 100.0) == (error.reason, error.permanent, error.retry_after)
    assert "asks to be left alone for 100 s" in error.message


async def test_who_asks_for_long_is_left_alone_for_long_and_the_report_says_so(
    site: Site, made: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        site.manners = []

    monkeypatch.setattr("modelward_runtime.load.asyncio.sleep", sleep)
    site.manners = [busy(99, Retry_After="3000")]
    boot = Boot(api_version="runtime/v1", kind="Boot", model=source(site, "/iris/model.onnx", made))
    await load(boot, Guard(), Cache(tmp_path), Report(boot, "b"), Hardware(1, 1.0), QUICK)
    assert [600.0] == slept, "ten minutes at most, however long it asks"


async def test_a_server_that_falls_silent_is_a_stall(site: Site, made: Certificates, tmp_path: Path) -> None:
    def silent(request: Request) -> bool:
        return request.headers.get("range") != "bytes=0-0" and over.wait(60)

    over = threading.Event()
    boot = Boot(api_version="runtime/v1", kind="Boot", model=source(site, "/big.onnx", made))
    site.manners = [silent]
    with pytest.raises(LoadError, match="no byte came for 3 s") as caught:
        await load(boot, Guard(), Cache(tmp_path), Report(boot, "b"), Hardware(1, 1.0), patient(3))
    over.set()
    assert (LoadReason.FETCH_STALLED, False) == (caught.value.reason, caught.value.permanent)


def patient(stall: float) -> Patience:
    return Patience(first_pause=0.01, longest_pause=0.02, tick=0.02, stall=stall)


# ── the whole process ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_process_serves_from_a_web_server_and_after_a_restart_without_it(made: Certificates, tmp_path: Path) -> None:
    known = secret(tmp_path / "s", token=SECRET)
    with web_server(made) as site:
        put(site, "/deep/", DEEP)
        site.authorization = f"Bearer {SECRET}"
        where = {
            "uri": f"https://{site.host}/deep/",
            "digest": f"sha256:{hashlib.sha256(site.files['/deep/SHA256SUMS']).hexdigest()}",
            "https": {"credentialsDirectory": str(known)},
            "caBundleFile": str(made.ca),
        }
        with run(tmp_path, where) as process:
            process.until_ready()
            assert not process.report()["model"]["cached"]
            (known / "token").write_text("rotated meanwhile")
            assert process.infer("m", [[1.0, 0.0, 0.0, 0.0]])[2]["outputs"][0]["data"] == WEIGHTS[0].tolist()
    with run(tmp_path, where) as process:
        process.until_ready()
        assert process.report()["model"]["cached"]
        assert process.infer("m", [[1.0, 0.0, 0.0, 0.0]])[2]["outputs"][0]["data"] == WEIGHTS[0].tolist()
        assert SECRET not in process.log()
