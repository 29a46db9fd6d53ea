"""A Git repository served over HTTP, and a clone in which a test commits as a team would. Used by the cases of Flux.

Git's own `git http-backend` answers; here is only the CGI around it, because Flux speaks the smart protocol.
"""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

NAME = "models.git"
_WHO = ("-c", "user.name=team", "-c", "user.email=team@example.com", "-c", "init.defaultBranch=main")


@dataclass(frozen=True)
class Repository:
    """A bare repository that is served at `url`, and a clone of it."""

    url: str
    clone: Path

    def commit(self, says: str, **files: Mapping[str, Any] | None) -> str:
        """Write each object to a file of its name, or remove the file where there is none, and push; the new revision."""
        for name, body in files.items():
            path = self.clone / f"{name.replace('_', '-')}.yaml"
            if body is None:
                path.unlink()
            else:
                path.write_text(yaml.safe_dump(dict(body), sort_keys=False))
        _git(self.clone, "add", "--all")
        _git(self.clone, "commit", "--quiet", "--allow-empty", f"--message={says}")
        _git(self.clone, "push", "--quiet", "origin", "main")
        return _git(self.clone, "rev-parse", "HEAD")

    @property
    def files(self) -> list[Path]:
        """What is committed."""
        return sorted(self.clone.glob("*.yaml"))


@contextmanager
def repository(folder: Path) -> Iterator[Repository]:
    """An empty repository on a free port of the loopback, for as long as the block lasts."""
    bare, clone = folder / NAME, folder / "clone"
    folder.mkdir(parents=True)
    _git(folder, "init", "--quiet", "--bare", str(bare))
    _git(bare, "config", "http.receivepack", "true")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(folder))
    url = f"http://127.0.0.1:{server.server_port}/{NAME}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        _git(folder, "clone", "--quiet", url, str(clone))
        yield Repository(url, clone)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _git(where: Path, *arguments: str) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(where),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    command = ["git", *_WHO, "-C", str(where), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


def _handler(root: Path) -> type[BaseHTTPRequestHandler]:
    git = shutil.which("git") or "git"

    class Handler(BaseHTTPRequestHandler):
        """One request, answered by `git http-backend`."""

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def _answer(self, body: bytes) -> None:
            asked = urlsplit(self.path)
            environment = {
                "PATH": os.environ["PATH"],
                "HOME": str(root),
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": asked.path,
                "QUERY_STRING": asked.query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "REMOTE_USER": "team",
            }
            done = subprocess.run([git, "http-backend"], input=body, env=environment, capture_output=True, check=True)
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = [line.split(": ", 1) for line in head.decode().split("\r\n")]
            status = next((value for name, value in headers if name.lower() == "status"), "200 OK")
            self.send_response(int(status.split()[0]))
            for name, value in headers:
                if name.lower() != "status":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Flux asks every few seconds."""

    return Handler
